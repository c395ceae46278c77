//! The program as a process: started with flags, watched, sent signals.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wait_for;

/// Names of the environment that would change what the program does.
const SETTINGS: [&str; 9] = [
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_GROUP_ID",
    "KAFKA_TOPIC_PREFIX",
    "MONGO_URI",
    "MONGO_DATABASE",
    "DASHBOARD_REFRESH_INTERVAL",
    "TILLFLOW_STORE",
    "TILLFLOW_WORKERS",
    "TILLFLOW_LISTEN",
];

/// A command of the program, run in an empty folder and with none of the settings of whoever runs the tests.
pub struct Tillflow {
    command: Command,
    flags: Vec<String>,
}

/// A command that ended.
pub struct Ended {
    flags: Vec<String>,
    /// Absent when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// A command that runs; killed if it is still there when the test lets go of it.
pub struct Running {
    child: Child,
    flags: Vec<String>,
    begun: Instant,
    said: [Arc<Mutex<String>>; 2],
    listeners: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Tillflow {
    pub fn new<Flag: Into<String>>(flags: impl IntoIterator<Item = Flag>) -> Tillflow {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillflow"));
        for name in SETTINGS.into_iter().chain(["RUST_LOG", "RUST_BACKTRACE"]) {
            command.env_remove(name);
        }
        Tillflow { command, flags: flags.into_iter().map(Into::into).collect() }
    }

    pub fn flags<Flag: Into<String>>(mut self, flags: impl IntoIterator<Item = Flag>) -> Tillflow {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Tillflow {
        self.command.env(name, value);
        self
    }

    /// Has another program start it, which limits what it may use. To be said before anything of the environment.
    // The fault matrix alone does so.
    #[allow(dead_code)]
    pub fn under(mut self, wrapper: &[&str]) -> Tillflow {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    pub fn start(self) -> Running {
        self.start_with(|_| ())
    }

    /// Starts it after `prepare` has filled the folder it runs in.
    pub fn start_with(mut self, prepare: impl FnOnce(&Path)) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prepare(folder.path());
        self.command.args(&self.flags).current_dir(folder.path());
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the program starts");
        let said = [Arc::default(), Arc::default()];
        let listeners = vec![
            listen(child.stdout.take().expect("standard output"), Arc::clone(&said[0])),
            listen(child.stderr.take().expect("standard error"), Arc::clone(&said[1])),
        ];
        Running { child, flags: self.flags, begun: Instant::now(), said, listeners, _folder: folder }
    }

    /// Runs it to its end.
    pub fn run(self, limit: Duration) -> Ended {
        self.start().wait(limit)
    }

    /// Runs it to its end, which has to be a good one.
    pub fn succeed(self, limit: Duration) -> Ended {
        let ended = self.run(limit);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

/// Keeps what a process says, so that it never waits for a reader.
fn listen(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            lock(&said).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

fn lock(said: &Mutex<String>) -> MutexGuard<'_, String> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    pub fn stderr(&self) -> String {
        lock(&self.said[1]).clone()
    }

    /// Its process.
    // The fault matrix alone asks.
    #[allow(dead_code)]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is a program").success(), "SIG{name} to {:?}", self.flags);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for a line that begins so on standard error, and returns what follows on it.
    pub fn wait_for_line(&mut self, begin: &str) -> String {
        let said = Arc::clone(&self.said[1]);
        wait_for(super::SOON, begin, || {
            let rest = lock(&said).lines().find_map(|line| line.strip_prefix(begin).map(str::to_owned));
            assert!(rest.is_some() || self.is_running(), "ended without saying {begin:?}: {}", self.stderr());
            rest
        })
    }

    /// Waits for its end; kills it and fails when it does not come in time.
    pub fn wait(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("{:?} did not end within {limit:?}; it said: {}", self.flags, self.stderr());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.begun.elapsed();
        for listener in self.listeners.drain(..) {
            listener.join().expect("a listener");
        }
        let [stdout, stderr] = self.said.each_ref().map(|said| lock(said).clone());
        Ended { flags: std::mem::take(&mut self.flags), code: status.code(), stdout, stderr, took }
    }

    /// Sends a signal and waits for the end that follows.
    pub fn end(self, signal: &str, limit: Duration) -> Ended {
        let sent = Instant::now();
        self.signal(signal);
        Ended { took: sent.elapsed(), ..self.wait(limit) }.since(sent)
    }
}

/// For the words of a test that failed.
impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ended { flags, code, stdout, stderr, took } = self;
        write!(f, "`tillflow {}` ended with {code:?} after {took:?}; it said:\n{stdout}{stderr}", flags.join(" "))
    }
}

impl Ended {
    fn since(self, sent: Instant) -> Ended {
        Ended { took: sent.elapsed(), ..self }
    }

    /// The last line of what it said on standard error.
    pub fn last_line(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    /// All it said.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// One process is a crew, too.
impl AsMut<[Running]> for Running {
    fn as_mut(&mut self) -> &mut [Running] {
        std::slice::from_mut(self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a Python script of the tests to its end, which has to be a good one, and returns what it printed.
pub fn script(path: &str, arguments: &[String]) -> String {
    let output = start_script(path, arguments).wait_with_output().expect("a script");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{path} {arguments:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// Starts a Python script of the tests.
pub fn start_script(path: &str, arguments: &[String]) -> Child {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Command::new(super::python())
        .arg(root.join("tests").join(path))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("TILLFLOW_TEST_PYTHON={}: {error}", super::python()))
}

/// A file that is there and holds `content`.
pub fn write(path: &Path, content: &[u8]) {
    use std::io::Write as _;
    File::create(path).and_then(|mut file| file.write_all(content)).expect("a file is written");
}
