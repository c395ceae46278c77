//! F18, F28, F30, F31 and F34: great commits, a full disk, few descriptors, a bad clock, other settings.

use std::collections::BTreeSet;
use std::process::Command;

use crate::files::Files;
use crate::row::{Row, times};
use crate::sink::named;
use crate::support::program::Tillflow;
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, mongodb};
use crate::world::{Log, Place, Store};

/// One commit with more documents than a transaction should have, and with dead letters of megabytes.
#[test]
fn f18_great_commits() {
    let mut row = Row::begin("F18", "one commit of more than 10,000 documents, and of many megabytes");
    for round in 0..times(1, 10) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let count = 4_000;
        let mut sales = String::new();
        for number in 0..count {
            sales.push_str(&format!(
                "{{\"partition\":{},\"timestamp_ms\":1705312800000,\"key\":\"t{number}\",\"value\":{{\"transaction_id\":\
                 \"t{number}\",\"user_id\":\"u{number}\",\"product_id\":\"p{round}-{number}\",\"quantity\":1,\"unit_price\":\
                 \"2.50\",\"total_amount\":\"2.50\",\"payment_method\":\"cash\",\"timestamp\":\"2024-01-15T10:00:00Z\",\
                 \"store_id\":\"s{}\",\"category\":\"c\"}}}}\n",
                number % 3,
                number % 10
            ));
        }
        let great = "x".repeat(3 << 20);
        for _ in 0..6 {
            sales.push_str(&format!("{{\"partition\":0,\"timestamp_ms\":1705312800000,\"value\":\"{great}\"}}\n"));
        }
        std::fs::write(folder.path().join("sales.ndjson"), sales).expect("a file");
        let stores = [Store::mongodb("great"), Store::guarded("great")];
        // The server is slow at this.
        for store in stores.into_iter().take(times(1, 2) as usize) {
            let run = store.run_files(folder.path(), "--workers 1 --tick-ms 10000 --until-caught-up");
            run.env("TILLFLOW_LIMITS", &store.limits(&format!("tick_records={}", 2 * count))).succeed(3 * SOON);
            let documents = store.documents();
            let windows = documents.iter().filter(|((collection, _), _)| collection == "aggregated_data");
            let epochs: BTreeSet<String> = windows.map(|(_, document)| document["epoch"].to_string()).collect();
            assert_eq!(epochs.len(), 1, "it was not one commit: {epochs:?}");
            store.assert_exact_files(folder.path(), "--complete");
            row.count("commits", 1);
        }
    }
}

/// A folder of 16 MiB; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn f28_disk_full() {
    let mut row =
        Row::begin("F28", "the disk of a SQLite store is full (a tmpfs of 16 MiB; else a limit of file size)");
    for _ in 0..times(1, 10) {
        let mut files = Files::hostile(row.dice.below(1 << 30), 4_000);
        let disk = SmallDisk::mount();
        let folder = match &disk {
            Some(disk) => disk.0.path().to_path_buf(),
            None => std::env::temp_dir().join(crate::support::unique("quota")),
        };
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Store::at(Place::Sqlite { file: folder.join("shop.sqlite"), _folder: None });
        files.grow(50);
        store.run_files(files.folder(), "--workers 1 --until-caught-up").succeed(SOON);
        let ballast = folder.join("ballast");
        if disk.is_some() {
            let _ = std::fs::write(&ballast, vec![0_u8; 14 << 20]);
        }
        files.grow(1_200);
        let run = store.run_files(files.folder(), "--workers 1 --tick-ms 1 --until-caught-up");
        let run = if disk.is_some() { run } else { run.under(&["prlimit", "--fsize=1000000:1000000"]) };
        let ended = run.env("TILLFLOW_LIMITS", "tick_records=50,merge_rows=1").run(SOON);
        if disk.is_some() {
            assert_eq!(ended.code, Some(3), "{ended:?}");
            let last = ended.last_line();
            assert!(last.starts_with("error: "), "{last}");
            std::fs::remove_file(&ballast).expect("the ballast is gone");
        } else {
            assert_ne!(ended.code, Some(0), "{ended:?}");
        }
        store.assert_exact_files(files.folder(), "");
        store.run_files(files.folder(), "--workers 2 --until-caught-up").succeed(SOON);
        store.assert_exact_files(files.folder(), "--complete");
        row.count("full disks", 1);
        if disk.is_none() {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

#[test]
fn f30_few_descriptors_little_memory_one_core() {
    let mut row = Row::begin("F30", "128 descriptors, one core, little address space");
    let topics = Topics::named("f30");
    let log = Log::of(&topics.prefix);
    topics.send(Hostile { seed: row.dice.below(1 << 30), count: 600 }, 0.0, 1.0);
    for _ in 0..times(1, 6) {
        for limits in [vec!["prlimit", "--nofile=128:128"], vec!["taskset", "-c", "0"]] {
            let store = Store::sqlite();
            let run = store.run(&log, "--workers 4 --until-caught-up").under(&limits);
            run.succeed(2 * SOON);
            store.assert_exact(&log, "--complete");
            row.count("runs", 1);
        }
        // Too little for anything: it has to end, whatever it says.
        for limits in [vec!["prlimit", "--nofile=8:8"], vec!["prlimit", "--as=300000000:300000000"]] {
            let store = Store::sqlite();
            let ended = store.run(&log, "--workers 4 --until-caught-up").under(&limits).run(2 * SOON);
            if ended.code == Some(0) {
                store.assert_exact(&log, "--complete");
            } else {
                store.assert_exact(&log, "");
            }
            store.catch_up(&log, "--workers 2");
            store.assert_exact(&log, "--complete");
            row.count("runs", 1);
        }
    }
}

#[test]
fn f31_a_bad_clock() {
    let mut row = Row::begin("F31", "the clock jumps by an hour to and fro, and stands still");
    for clock in ["jumps", "frozen"] {
        for _ in 0..times(1, 10) {
            let topics = Topics::named("f31");
            let log = Log::of(&topics.prefix);
            let store = Store::sqlite();
            let first = topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
            let sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count: 500 }, 200);
            let mut run = store.run(&log, "--workers 2 --tick-ms 20").env("TILLFLOW_CLOCK", clock).start();
            let sent = first + sending.finish();
            store.wait_for_all(&mut run, sent);
            let ended = run.end("TERM", SOON);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            store.assert_exact(&log, "--complete");
            row.count("runs", 1);
        }
    }
}

#[test]
fn f34_other_settings() {
    let mut row = Row::begin("F34", "other settings, another source, other views, another database user's address");
    let mut files = Files::hostile(row.dice.below(1 << 30), 400);
    files.grow(80);
    let other = Files::hostile(1, 10);
    for store in [Store::sqlite(), Store::mongodb_at("settings", &mongodb(), &named(&mongodb(), "f34"))] {
        store.run_files(files.folder(), "--workers 1 --until-caught-up").succeed(SOON);
        let before = (store.results(), store.progress());
        let view_file = concat!("--view-file ", env!("CARGO_MANIFEST_DIR"), "/tests/views.toml");
        for flags in
            ["--correction-window 1h", "--max-future 1s", "--timezone Europe/Rome", "--views sales_total", view_file]
        {
            let ended = store.run_files(files.folder(), flags).flags(["--until-caught-up"]).run(SOON);
            assert_eq!(ended.code, Some(4), "{flags}: {ended:?}");
            row.count("refusals", 1);
        }
        let ended = store.run_files(other.folder(), "--until-caught-up").run(SOON);
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!((store.results(), store.progress()) == before, "a refused run changed the store");
        files.grow(20);
        store.run_files(files.folder(), "--workers 2 --until-caught-up").succeed(SOON);
        store.assert_exact_files(files.folder(), "--complete");
    }
    // The same check from outside: `verify` agrees.
    let store = Store::sqlite();
    store.run_files(files.folder(), "--workers 1 --until-caught-up").succeed(SOON);
    let Place::Sqlite { file, .. } = &store.place else { unreachable!("a SQLite store") };
    Tillflow::new(["verify", "--store", &format!("sqlite:{}", file.display())]).succeed(SOON);
}
