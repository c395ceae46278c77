//! Topics and stores of one test, gone when it ends.

use std::path::PathBuf;
use std::process::Child;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tillflow::store::{Progress, StoreAddress};
use tillflow_dataflows::records::Topic;

use super::program::{Ended, Tillflow, script, start_script};
use super::{SOON, kafka, mongodb, unique};

/// The three topics under a prefix of their own.
pub struct Topics {
    pub prefix: String,
}

/// A history that only hostile minds send, `count` records or a few more, by an independent client with partitions and timestamps of its choice.
#[derive(Clone, Copy)]
pub struct Hostile {
    pub seed: u64,
    pub count: u32,
}

/// Waits for an answer of a service.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

impl Topics {
    /// A prefix; there are no topics yet.
    pub fn named(name: &str) -> Topics {
        Topics { prefix: format!("{}.", unique(name)) }
    }

    /// Topics as `tillflow init` makes them.
    pub fn init(name: &str, partitions: u32) -> Topics {
        let topics = Topics::named(name);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite:{}", folder.path().join("unused.db").display());
        let flags = ["init", "--store", store.as_str(), "--partitions", &partitions.to_string()].map(String::from);
        Tillflow::new(flags).flags(topics.flags()).succeed(SOON);
        topics
    }

    /// Topics that hold a whole hostile history, and how many records that is.
    pub fn hostile(name: &str, history: Hostile) -> (Topics, i64) {
        let topics = Topics::named(name);
        let records = topics.send(history, 0.0, 1.0);
        (topics, records)
    }

    pub fn flags(&self) -> Vec<String> {
        [String::from("--bootstrap-servers"), kafka(), String::from("--topic-prefix"), self.prefix.clone()].into()
    }

    /// Fills them with the shop's records, all kinds of trouble among them.
    pub fn generate(&self, seed: u64, count: u32) {
        self.generate_command(seed).flags(["--rate", "0", "--count", &count.to_string()]).succeed(SOON);
    }

    /// `tillflow generate` into them, its rate and count yet to be said.
    pub fn generate_command(&self, seed: u64) -> Tillflow {
        let shares = "--duplicates 0.06 --corrections 0.08 --cancellations 0.04 --late 0.04 --corrupt 0.06";
        Tillflow::new(["generate", "--seed", &seed.to_string()]).flags(self.flags()).flags(shares.split(' '))
    }

    fn part(&self, history: Hostile, first: f64, last: f64, rate: u32) -> Vec<String> {
        let mut arguments = self.flags();
        let Hostile { seed, count } = history;
        arguments.extend([format!("--seed={seed}"), format!("--count={count}"), format!("--rate={rate}")]);
        arguments.extend([format!("--first={first}"), format!("--last={last}")]);
        arguments
    }

    /// Sends the part of a history that lies between two shares of it; returns how many records that is.
    pub fn send(&self, history: Hostile, first: f64, last: f64) -> i64 {
        sent(&script("pipeline/send.py", &self.part(history, first, last, 0)))
    }

    /// Begins to send a whole history, so many records a second.
    pub fn start_sending(&self, history: Hostile, rate: u32) -> Sending {
        Sending(Some(start_script("pipeline/send.py", &self.part(history, 0.0, 1.0, rate))))
    }

    pub fn delete(&self) -> Result<(), String> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", kafka())
            .create()
            .map_err(|error| format!("a client for {}: {error}", kafka()))?;
        let names = Topic::ALL.map(|topic| format!("{}{}", self.prefix, topic.name()));
        let deleted = admin.delete_topics(&names.each_ref().map(String::as_str), &AdminOptions::new());
        wait(deleted).map(|_| ()).map_err(|error| format!("deleting {names:?}: {error}"))
    }
}

fn sent(said: &str) -> i64 {
    said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in {said:?}"))
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Err(problem) = self.delete() {
            eprintln!("{problem}");
        }
    }
}

/// A client that sends, ended with the test.
pub struct Sending(Option<Child>);

impl Sending {
    pub fn is_over(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some())
    }

    /// Waits until all is sent; returns how many records that is.
    pub fn finish(mut self) -> i64 {
        let output = self.0.take().expect("sending").wait_with_output().expect("a script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        sent(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A store of its own.
pub enum Store {
    Mongodb { database: String, state: tempfile::TempDir },
    Sqlite { file: PathBuf, _folder: tempfile::TempDir },
}

impl Store {
    pub fn mongodb(name: &str) -> Store {
        Store::Mongodb { database: unique(name), state: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn sqlite() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Store::Sqlite { file: folder.path().join("shop.sqlite"), _folder: folder }
    }

    /// The flags by which the program and the oracle find it.
    pub fn flags(&self) -> Vec<String> {
        match self {
            Store::Mongodb { database, .. } => {
                ["--store", "mongodb", "--mongo-uri", &mongodb(), "--database", database].map(String::from).into()
            }
            Store::Sqlite { file, .. } => vec![String::from("--store"), format!("sqlite:{}", file.display())],
        }
    }

    /// Where its checkpoints are.
    pub fn state(&self) -> PathBuf {
        match self {
            Store::Mongodb { state, .. } => state.path().join("state"),
            // Where the program looks by itself.
            Store::Sqlite { file, .. } => file.with_extension("sqlite.state"),
        }
    }

    /// Copies a file and its checkpoints into another store that is not there yet.
    pub fn copy_to(&self, other: &Store) {
        let (Store::Sqlite { file, .. }, Store::Sqlite { file: copy, .. }) = (self, other) else {
            panic!("only files are copied")
        };
        std::fs::copy(file, copy).expect("a copy");
        let copied = std::process::Command::new("cp").arg("-r").arg(self.state()).arg(other.state()).status();
        assert!(copied.expect("cp is a program").success());
    }

    /// Lets the next run begin without a checkpoint.
    pub fn forget_state(&self) {
        match std::fs::remove_dir_all(self.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", self.state().display()),
            _ => {}
        }
    }

    /// `tillflow run` from these topics into it, without pages.
    pub fn run(&self, topics: &Topics, flags: &str) -> Tillflow {
        self.run_with_pages(topics, flags).flags(["--no-dashboard"])
    }

    pub fn run_with_pages(&self, topics: &Topics, flags: &str) -> Tillflow {
        let run = Tillflow::new(["run", "--checkpoint-interval", "300ms"]).flags(topics.flags()).flags(self.flags());
        let state = match self {
            Store::Mongodb { .. } => vec![String::from("--state"), self.state().display().to_string()],
            Store::Sqlite { .. } => Vec::new(),
        };
        run.flags(state).flags(flags.split_whitespace())
    }

    /// Runs until everything that is there is committed.
    pub fn catch_up(&self, topics: &Topics, flags: &str) -> Ended {
        self.run(topics, flags).flags(["--until-caught-up"]).succeed(2 * SOON)
    }

    /// `tillflow verify` from its own raw_data, and from the topics: fails unless both find everything equal.
    pub fn verify(&self, topics: &Topics) {
        let verify = Tillflow::new(["verify"]).flags(self.flags());
        verify.succeed(2 * SOON);
        let verify = Tillflow::new(["verify", "--from", "kafka"]).flags(topics.flags()).flags(self.flags());
        let ended = verify.succeed(2 * SOON);
        assert!(ended.stdout.ends_with("; equal\n"), "{ended:?}");
    }

    /// How far it is; absent before the first commit.
    pub fn progress(&self) -> Option<Progress> {
        let address = match self {
            Store::Mongodb { database, .. } => StoreAddress::parse("mongodb", &mongodb(), database),
            // No run has got as far as making it.
            Store::Sqlite { file, .. } if !file.exists() => return None,
            Store::Sqlite { file, .. } => StoreAddress::parse(&format!("sqlite:{}", file.display()), "", ""),
        };
        let mut reader = address.expect("an address").open_reader().expect("a reader");
        reader.read(&[]).expect("progress").0.filter(|progress| progress.epoch > 0)
    }
}

/// Records that a store counts.
pub fn counted(progress: &Progress) -> i64 {
    progress.offsets.values().sum()
}

impl Drop for Store {
    fn drop(&mut self) {
        // A server that is thrown away needs no cleaning, and SecantusDB can drop a database without end while somebody
        // has left a transaction open.
        if std::env::var_os("TILLFLOW_TEST_SERVICES_END").is_some() {
            return;
        }
        if let Store::Mongodb { database, .. } = self {
            let dropped = wait(async {
                let client = mongodb::Client::with_uri_str(mongodb()).await?;
                client.database(database).drop().await
            });
            if let Err(error) = dropped {
                eprintln!("dropping {database}: {error}");
            }
        }
    }
}
