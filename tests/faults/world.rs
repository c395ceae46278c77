//! What a row stands on: a log and a store that the program reaches by one way and the oracle by another, so that a
//! proxy or a fail point troubles the program alone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tillflow::store::{Progress, StoreAddress};
use tillflow_dataflows::records::Topic;

use crate::support::cluster::{free_hosts, process};
use crate::support::oracle::{Documents, compare, documents_of};
use crate::support::program::{Ended, Running, Tillflow};
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
    /// The least time between two checkpoints: so short that most starts find a recent one.
    pub checkpoints: &'static str,
    state: tempfile::TempDir,
}

/// How many processes run as one, and with how many workers each.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub processes: usize,
    pub workers: usize,
}

/// Where records come from.
#[derive(Clone)]
pub struct Log {
    /// The program's way; the oracle's is that of the environment unless [`Log::direct`] is another.
    pub through: String,
    pub direct: String,
    pub prefix: String,
}

impl Store {
    pub fn at(place: Place) -> Store {
        let state = tempfile::tempdir().expect("a temporary folder");
        Store { place, guarded: false, checkpoints: "200ms", state }
    }

    pub fn sqlite() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("shop.sqlite");
        Store::at(Place::Sqlite { file, _folder: Some(folder) })
    }

    pub fn mongodb(name: &str) -> Store {
        Store::mongodb_at(name, &mongodb(), &mongodb())
    }

    /// A database whose program goes by `through`.
    pub fn mongodb_at(name: &str, direct: &str, through: &str) -> Store {
        let (direct, through) = (direct.to_owned(), through.to_owned());
        Store::at(Place::Mongodb { direct, through, database: unique(name) })
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
        self.run_with_pages(log, flags).flags(["--no-dashboard"])
    }

    pub fn run_with_pages(&self, log: &Log, flags: &str) -> Tillflow {
        let run = Tillflow::new(["run"]).flags(log.program_flags()).flags(self.flags(true));
        self.prepared(run).flags(flags.split_whitespace())
    }

    /// `tillflow run` from files with envelopes.
    pub fn run_files(&self, folder: &std::path::Path, flags: &str) -> Tillflow {
        let source = format!("ndjson:{}", folder.display());
        let run = Tillflow::new(["run", "--no-dashboard", "--envelope", "--source", &source]).flags(self.flags(true));
        self.prepared(run).flags(flags.split_whitespace())
    }

    /// The same as several processes, or as one.
    pub fn start(&self, log: &Log, shape: Shape, flags: &str) -> Vec<Running> {
        let command = || self.run(log, &format!("--workers {} {flags}", shape.workers));
        if shape.processes == 1 {
            return vec![command().start()];
        }
        let hosts = free_hosts(shape.processes);
        (0..shape.processes).map(|index| process(command(), &hosts, index)).collect()
    }

    /// Where its checkpoints are.
    pub fn state(&self) -> PathBuf {
        self.state.path().join("state")
    }

    /// Lets the next run begin without a checkpoint.
    pub fn forget_state(&self) {
        match std::fs::remove_dir_all(self.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", self.state().display()),
            _ => {}
        }
    }

    fn prepared(&self, run: Tillflow) -> Tillflow {
        let state = self.state().display().to_string();
        let run = run.flags(["--state", &state, "--checkpoint-interval", self.checkpoints]);
        let run = match crate::mutants::current() {
            Some(mutant) => run.env("TILLFLOW_MUTANT", &mutant),
            None => run,
        };
        if self.guarded { run.env("TILLFLOW_LIMITS", &self.limits("")) } else { run }
    }

    /// The value of `TILLFLOW_LIMITS` for these limits, which replaces the one that a run of this store has without.
    pub fn limits(&self, limits: &str) -> String {
        let guarded = if self.guarded { "guarded_writes=1" } else { "" };
        [limits, guarded].join(",")
    }

    /// The value of `TILLFLOW_LIMITS` for small commits.
    pub fn small_commits(&self) -> String {
        self.limits("tick_records=4,merge_rows=1,batch_documents=20,raw_documents=1")
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
        compare([log.oracle_flags(), from.into()].concat(), &self.flags(false), flags);
    }

    /// The same for files with envelopes.
    pub fn assert_exact_files(&self, folder: &std::path::Path, flags: &str) {
        if self.progress().is_none() {
            return;
        }
        let from = [String::from("--envelope"), String::from("--from"), format!("ndjson:{}", folder.display())];
        compare(from.into(), &self.flags(false), flags);
    }

    /// Every document.
    pub fn documents(&self) -> Documents {
        documents_of(&self.flags(false))
    }

    /// A document of `pipeline_state`.
    pub fn state_of(&self, id: &str) -> Value {
        let document = self.documents().remove(&(String::from("pipeline_state"), String::from(id)));
        document.unwrap_or_else(|| panic!("no document {id} in pipeline_state"))
    }

    /// Waits until there is a checkpoint of all that is counted.
    pub fn wait_for_checkpoint(&self) {
        let counted = self.progress().expect("progress").offsets;
        wait_for(SOON, "a checkpoint of what is counted", || {
            self.manifests().into_iter().find(|path| {
                // One may go while it is looked at.
                let Ok(text) = std::fs::read_to_string(path) else { return false };
                let Ok(manifest) = serde_json::from_str::<Value>(&text) else { return false };
                let offsets = manifest["offsets"].as_array().expect("offsets");
                offsets.len() == counted.len()
                    && offsets.iter().all(|place| {
                        let topic = place[0].as_str().and_then(Topic::from_name).expect("a topic");
                        let partition = place[1].as_i64().and_then(|number| i32::try_from(number).ok());
                        counted.get(&(topic, partition.expect("a partition"))).copied() == place[2].as_i64()
                    })
            })
        });
    }

    /// The manifest of every whole checkpoint.
    pub fn manifests(&self) -> Vec<PathBuf> {
        let entries = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            entries.filter_map(|entry| Some(entry.ok()?.path()))
        };
        let objects = entries(self.state().join("checkpoints")).flat_map(entries);
        objects
            .filter(|it| it.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest-")))
            .collect()
    }

    /// Every document but raw_data and the account that the pipeline keeps of itself.
    pub fn results(&self) -> Documents {
        let mut documents = self.documents();
        documents.retain(|(collection, _), _| collection != "pipeline_state" && collection != "raw_data");
        documents
    }

    /// That the [results](Store::results) are those of `before`; `after` says what may have changed none of them.
    pub fn assert_unchanged(&self, before: &Documents, after: &str) {
        let now = self.results();
        let differing = |(key, document): (&(String, String), &Value), other: &Documents| {
            (other.get(key) != Some(document)).then(|| format!("{}/{} {document}", key.0, key.1))
        };
        let was: Vec<_> = before.iter().filter_map(|it| differing(it, &now)).take(10).collect();
        let is: Vec<_> = now.iter().filter_map(|it| differing(it, before)).take(10).collect();
        assert!(was.is_empty() && is.is_empty(), "{after} changed documents.\nwas: {was:#?}\nis: {is:#?}");
    }

    /// Waits until more than `before` records are counted while all of `runs` go on; returns how long it took.
    pub fn wait_for_more(&self, runs: &mut impl AsMut<[Running]>, before: i64) -> Duration {
        self.wait_for_count(runs, SOON, before + 1)
    }

    /// Waits until `records` are counted while all of `runs` go on.
    pub fn wait_for_all(&self, runs: &mut impl AsMut<[Running]>, records: i64) {
        self.wait_for_count(runs, 3 * SOON, records);
    }

    fn wait_for_count(&self, runs: &mut impl AsMut<[Running]>, limit: Duration, records: i64) -> Duration {
        let begun = Instant::now();
        wait_for(limit, &format!("{records} records counted"), || {
            for run in runs.as_mut() {
                assert!(run.is_running(), "a run ended by itself: {}", run.stderr());
            }
            (self.counted() >= records).then_some(())
        });
        begun.elapsed()
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
