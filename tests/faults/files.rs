//! Files with envelopes that grow between two starts of the program, as a topic does.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::support::program::script;

const NAMES: [&str; 3] = ["user_activity.ndjson", "sales.ndjson", "inventory.ndjson"];

/// A hostile history of which the program sees a growing part.
pub struct Files {
    _kept: tempfile::TempDir,
    folder: PathBuf,
    rest: [std::vec::IntoIter<String>; 3],
}

impl Files {
    pub fn hostile(seed: u64, count: u32) -> Files {
        let kept = tempfile::tempdir().expect("a temporary folder");
        let all = kept.path().join("all");
        let arguments =
            [format!("--seed={seed}"), format!("--count={count}"), format!("--to=ndjson:{}", all.display())];
        script("oracle/hostile.py", &arguments);
        let folder = kept.path().join("seen");
        std::fs::create_dir(&folder).expect("a folder");
        let rest = NAMES.map(|name| {
            let text = std::fs::read_to_string(all.join(name)).expect("a file of the history");
            text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
        });
        let mut files = Files { _kept: kept, folder, rest };
        files.grow(0);
        files
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets so many more records of each topic be seen, as long as there are some.
    pub fn grow(&mut self, records: usize) {
        for (name, rest) in NAMES.iter().zip(&mut self.rest) {
            let path = self.folder.join(name);
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file to grow");
            for line in rest.take(records) {
                writeln!(file, "{line}").expect("a line is written");
            }
        }
    }
}
