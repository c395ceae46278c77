//! Servers of a test's own, to be killed and started again on the same port and data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One server; stopped when the test lets go of it.
pub struct Server {
    name: &'static str,
    folder: tempfile::TempDir,
    /// `host:port`, the same after each start.
    pub address: String,
}

fn script(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services.sh");
    let output =
        Command::new("bash").arg(script).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "services.sh {arguments:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Server {
    pub fn kafka() -> Server {
        Server::start("kafka")
    }

    pub fn mongodb() -> Server {
        Server::start("mongo")
    }

    fn start(name: &'static str) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = script(&["one", name, &folder.path().to_string_lossy()]);
        Server { name, folder, address }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    fn pid(&self) -> String {
        let file = self.folder.path().join(self.name).join("pid");
        std::fs::read_to_string(file).expect("the server's process").trim().to_owned()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.pid()]).status();
        assert!(sent.expect("kill is a program").success(), "SIG{signal} to {}", self.name);
    }

    /// Lets it write no file beyond so many bytes, until it is started again.
    pub fn limit_files(&self, bytes: u64) {
        let limited =
            Command::new("prlimit").args(["--pid", &self.pid(), &format!("--fsize={bytes}:{bytes}")]).status();
        assert!(limited.expect("prlimit is a program").success(), "a limit for {}", self.name);
    }

    /// Ends it as it wants to end.
    pub fn stop(&self) {
        self.signal("TERM");
        self.wait_for_end();
    }

    /// Ends it as a loss of power would end the process, and waits until it is gone.
    pub fn kill(&self) {
        self.signal("KILL");
        self.wait_for_end();
    }

    fn wait_for_end(&self) {
        crate::support::wait_for(crate::support::SOON, "the server's end", || (!self.is_running()).then_some(()));
    }

    pub fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // A zombie whose parent has not looked yet is gone, too.
        !stat.is_empty() && !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Starts it again.
    pub fn again(&self) {
        script(&["one", self.name, &self.folder.path().to_string_lossy()]);
    }

    /// Where its data are.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join(self.name).join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services.sh");
        let _ = Command::new("bash").arg(script).arg("stop").arg(self.folder.path()).stdin(Stdio::null()).status();
    }
}

/// Copies a folder and all that is in it over what is there.
pub fn copy_folder(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}
