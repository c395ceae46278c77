//! What a row stands on: a log and a store that the program reaches by one way and the oracle by another, so that a
//! proxy or a fail point troubles the program alone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tillflow::store::{Progress, StoreAddress};

use crate::support::oracle::{Documents, documents_of};
use crate::support::program::{Ended, Running, Tillflow, script};
use crate::support::world::counted;
use crate::support::{SOON, kafka, mongodb, unique, wait_for};

/// Where a store is.
pub enum Place {
    Sqlite {
        file: PathBuf,
        _folder: Option<tempfile::TempDir>,
    },
    /// `direct` is the oracle's way, `through` the program's.
    Mongodb {
        direct: String,
        through: String,
        database: String,
    },
}

/// A store, and how the program is started over it.
pub struct Store {
    pub place: Place,
    /// Commits are guarded writes, as on a standalone server.
    pub guarded: bool,
}

/// Where records come from.
pub struct Log {
    /// The program's way; the oracle's is that of the environment unless [`Log::direct`] is another.
    pub through: String,
    pub direct: String,
    pub prefix: String,
}

impl Store {
    pub fn sqlite() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("shop.sqlite");
        Store { place: Place::Sqlite { file, _folder: Some(folder) }, guarded: false }
    }

    pub fn mongodb(name: &str) -> Store {
        Store::mongodb_at(name, &mongodb(), &mongodb())
    }

    /// A database whose program goes by `through`.
    pub fn mongodb_at(name: &str, direct: &str, through: &str) -> Store {
        let (direct, through) = (direct.to_owned(), through.to_owned());
        Store { place: Place::Mongodb { direct, through, database: unique(name) }, guarded: false }
    }

    pub fn guarded(name: &str) -> Store {
        Store { guarded: true, ..Store::mongodb(name) }
    }

    fn flags(&self, program: bool) -> Vec<String> {
        match &self.place {
            Place::Sqlite { file, .. } => vec![String::from("--store"), format!("sqlite:{}", file.display())],
            Place::Mongodb { direct, through, database } => {
                let uri = if program { through } else { direct };
                ["--store", "mongodb", "--mongo-uri", uri, "--database", database].map(String::from).into()
            }
        }
    }

    /// `tillflow run` from `log` into it, without pages.
    pub fn run(&self, log: &Log, flags: &str) -> Tillflow {
        let run = Tillflow::new(["run", "--no-dashboard"]).flags(log.program_flags()).flags(self.flags(true));
        self.prepared(run).flags(flags.split_whitespace())
    }

    /// `tillflow run` from files with envelopes.
    pub fn run_files(&self, folder: &std::path::Path, flags: &str) -> Tillflow {
        let source = format!("ndjson:{}", folder.display());
        let run = Tillflow::new(["run", "--no-dashboard", "--envelope", "--source", &source]).flags(self.flags(true));
        self.prepared(run).flags(flags.split_whitespace())
    }

    fn prepared(&self, run: Tillflow) -> Tillflow {
        let run = match crate::mutants::current() {
            Some(mutant) => run.env("TILLFLOW_MUTANT", &mutant),
            None => run,
        };
        if self.guarded { run.env("TILLFLOW_LIMITS", "guarded_writes=1") } else { run }
    }

    /// The value of `TILLFLOW_LIMITS` for small commits.
    pub fn small_commits(&self) -> String {
        let guarded = if self.guarded { ",guarded_writes=1" } else { "" };
        format!("tick_records=4,merge_rows=1,batch_documents=20{guarded}")
    }

    /// Runs until everything that is there is committed.
    pub fn catch_up(&self, log: &Log, flags: &str) -> Ended {
        self.run(log, flags).flags(["--until-caught-up"]).succeed(2 * SOON)
    }

    /// How far it is; absent before the first commit.
    pub fn progress(&self) -> Option<Progress> {
        let address = match &self.place {
            Place::Mongodb { direct, database, .. } => StoreAddress::parse("mongodb", direct, database),
            Place::Sqlite { file, .. } if !file.exists() => return None,
            Place::Sqlite { file, .. } => StoreAddress::parse(&format!("sqlite:{}", file.display()), "", ""),
        };
        // A file in which no tables are yet has no progress either.
        let mut reader = address.expect("an address").open_reader().ok()?;
        reader.read(&[]).ok()?.0.filter(|progress| progress.epoch > 0)
    }

    pub fn counted(&self) -> i64 {
        self.progress().as_ref().map_or(0, counted)
    }

    /// Fails unless every document is what the oracle makes of the records below the committed offsets.
    pub fn assert_exact(&self, log: &Log, flags: &str) {
        if self.progress().is_none() {
            return;
        }
        let from = [String::from("--from"), String::from("kafka")];
        self.compare([log.oracle_flags(), from.into()].concat(), flags);
    }

    /// The same for files with envelopes.
    pub fn assert_exact_files(&self, folder: &std::path::Path, flags: &str) {
        if self.progress().is_none() {
            return;
        }
        let from = [String::from("--envelope"), String::from("--from"), format!("ndjson:{}", folder.display())];
        self.compare(from.into(), flags);
    }

    fn compare(&self, mut arguments: Vec<String>, flags: &str) {
        arguments.extend(self.flags(false));
        let added = tillflow_dataflows::views::added();
        let added: Vec<&str> = added.iter().map(|view| view.layout.name.as_str()).collect();
        arguments.push(format!("--added={}", added.join(",")));
        arguments.extend("--final".split(' ').chain(flags.split_whitespace()).map(String::from));
        let said = script("oracle/compare.py", &arguments);
        assert!(said.ends_with("equal\n"), "{said}");
    }

    /// Every document but raw_data and the account that the pipeline keeps of itself.
    pub fn results(&self) -> Documents {
        let mut documents = documents_of(&self.flags(false));
        documents.retain(|(collection, _), _| collection != "pipeline_state" && collection != "raw_data");
        documents
    }

    /// Waits until more than `before` records are counted while `run` goes on; returns how long it took.
    pub fn wait_for_more(&self, run: &mut Running, before: i64) -> Duration {
        let begun = Instant::now();
        wait_for(SOON, "more commits", || {
            assert!(run.is_running(), "the run ended by itself: {}", run.stderr());
            (self.counted() > before).then_some(())
        });
        begun.elapsed()
    }

    /// Waits until `records` are counted while `run` goes on.
    pub fn wait_for_all(&self, run: &mut Running, records: i64) {
        wait_for(3 * SOON, &format!("{records} records counted"), || {
            assert!(run.is_running(), "the run ended by itself: {}", run.stderr());
            (self.counted() >= records).then_some(())
        });
    }
}

impl Log {
    /// Topics of their own on the broker of the environment.
    pub fn of(prefix: &str) -> Log {
        Log { through: kafka(), direct: kafka(), prefix: prefix.to_owned() }
    }

    pub fn through(prefix: &str, through: &str) -> Log {
        Log { through: through.to_owned(), ..Log::of(prefix) }
    }

    fn program_flags(&self) -> [String; 4] {
        [String::from("--bootstrap-servers"), self.through.clone(), String::from("--topic-prefix"), self.prefix.clone()]
    }

    pub fn oracle_flags(&self) -> Vec<String> {
        let flags = ["--bootstrap-servers", &self.direct, "--topic-prefix", &self.prefix];
        flags.map(String::from).into()
    }
}

/// What must never go back: epoch, fence and every offset.
#[derive(Default)]
pub struct Watermark(Option<Progress>);

impl Watermark {
    pub fn look(&mut self, store: &Store) {
        let Some(now) = store.progress() else {
            assert!(self.0.is_none(), "progress is gone, it was {:?}", self.0);
            return;
        };
        if let Some(before) = &self.0 {
            assert!(now.epoch >= before.epoch && now.fence >= before.fence, "{now:?} after {before:?}");
            for (place, next) in &before.offsets {
                assert!(now.offsets.get(place).is_some_and(|now| now >= next), "{place:?}: {now:?} after {before:?}");
            }
        }
        self.0 = Some(now);
    }

    pub fn fence(&self) -> i64 {
        self.0.as_ref().map_or(0, |progress| progress.fence)
    }
}
