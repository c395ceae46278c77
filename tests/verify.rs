//! `tillflow verify` finds what is wrong in a store, and nothing where nothing is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use rusqlite::types::Value;

const ENVELOPES: [&str; 2] = ["", "--envelope"];

fn tillflow(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillflow"));
    for name in ["TILLFLOW_STORE", "TILLFLOW_WORKERS", "MONGO_URI", "KAFKA_BOOTSTRAP_SERVERS", "RUST_LOG"] {
        command.env_remove(name);
    }
    let arguments = arguments.iter().filter(|argument| !argument.is_empty());
    command.args(arguments).output().expect("the program starts")
}

fn succeed(arguments: &[&str]) -> String {
    let output = tillflow(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Files with all kinds of trouble, and the store that a run made of them.
struct Shop {
    folder: tempfile::TempDir,
    envelope: &'static str,
}

impl Shop {
    fn new(envelope: &'static str) -> Shop {
        let shop = Shop { folder: tempfile::tempdir().expect("a temporary folder"), envelope };
        let to = shop.source();
        // Sparse enough for days to become final, and for whole hours to be judged.
        let shares = "--duplicates 0.06 --corrections 0.08 --cancellations 0.04 --late 0.04 --corrupt 0.06";
        let mut generate =
            vec!["generate", "--to", &to, envelope, "--rate", "0", "--count", "20000", "--density", "0.05"];
        generate.extend("--seed 5 --start 2026-01-05T10:00:00Z".split(' ').chain(shares.split(' ')));
        succeed(&generate);
        let store = shop.address();
        let run = ["run", "--source", &to, envelope, "--store", &store, "--until-caught-up", "--no-dashboard"];
        succeed(&run);
        shop
    }

    fn source(&self) -> String {
        format!("ndjson:{}", self.folder.path().join("records").display())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shop.sqlite")
    }

    fn address(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    /// Runs `verify` over a copy of the store that `change` has been made to; from raw_data, then from the files.
    fn verify_changed(&self, change: &dyn Fn(&Connection)) -> [Output; 2] {
        let copy = self.folder.path().join("copy.sqlite");
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", copy.display()));
        }
        let connection = Connection::open(self.file()).expect("the store");
        connection.execute("VACUUM INTO ?1", [copy.display().to_string()]).expect("a copy");
        change(&Connection::open(&copy).expect("the copy"));
        self.verify(&copy)
    }

    fn verify(&self, file: &Path) -> [Output; 2] {
        let (store, source) = (format!("sqlite:{}", file.display()), self.source());
        [
            tillflow(&["verify", "--store", &store]),
            tillflow(&["verify", "--store", &store, "--from", &source, self.envelope]),
        ]
    }

    /// Makes a change, and expects that both ways of verifying find it: a line that begins so, with these words in it.
    fn finds(&self, change: &dyn Fn(&Connection), begin: &str, words: &[&str]) {
        for output in self.verify_changed(change) {
            found(&output, begin, words);
        }
    }
}

fn found(output: &Output, begin: &str, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{begin}: {output:?}");
    let line = said.lines().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begin:?}: {said}"));
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    assert!(said.lines().last().is_some_and(|last| last.contains("difference")), "{said}");
}

fn execute(sql: impl Into<String>) -> impl Fn(&Connection) {
    let sql = sql.into();
    move |connection: &Connection| {
        let changed = connection.execute(&sql, []).expect(&sql);
        assert!(changed > 0, "nothing was changed by {sql}");
    }
}

fn one(connection: &Connection, sql: &str) -> String {
    connection.query_row(sql, [], |row| row.get(0)).expect(sql)
}

#[test]
fn a_right_store_is_found_right() {
    for envelope in ENVELOPES {
        let shop = Shop::new(envelope);
        let connection = Connection::open(shop.file()).expect("the store");
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
        // The history has what it should have, or equality would say little.
        assert!(count("SELECT count(*) FROM aggregated_data WHERE final = 1") > 100);
        assert!(count("SELECT count(*) FROM aggregated_data WHERE final = 0") > 100);
        assert!(count("SELECT count(DISTINCT outcome) FROM raw_data") >= if envelope.is_empty() { 4 } else { 7 });
        assert!(count("SELECT count(*) FROM real_time_metrics WHERE type = 'alert'") > 0);
        for output in shop.verify(&shop.file()) {
            assert_eq!(output.status.code(), Some(0), "{envelope}: {output:?}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.ends_with("; equal\n") && said.lines().count() == 1, "{said}");
        }
        let json = succeed(&["verify", "--store", &shop.address(), "--json"]);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((value["total"].as_u64(), value["differences"].as_array().map(Vec::len)), (Some(0), Some(0)));
    }
}

#[test]
fn every_seeded_fault_is_found() {
    let shop = Shop::new("--envelope");
    let store = Connection::open(shop.file()).expect("the store");
    let day =
        one(&store, "SELECT _id FROM aggregated_data WHERE type = 'sales_total' AND granularity = 'day' ORDER BY _id");
    let hour =
        one(&store, "SELECT _id FROM aggregated_data WHERE type = 'sessions' AND granularity = 'hour' ORDER BY _id");

    // A changed number, as text, as a number of another kind, and as a flag.
    let line = format!("differs aggregated_data {day}");
    let change = format!("UPDATE aggregated_data SET units = units + 1 WHERE _id = '{day}'");
    shop.finds(&execute(change.as_str()), &line, &["units stored", "expected"]);
    let change = format!("UPDATE aggregated_data SET revenue = revenue + 1 WHERE _id = '{day}'");
    shop.finds(&execute(change.as_str()), &line, &["revenue stored (the binary fraction"]);
    let change = format!("UPDATE aggregated_data SET final = 1 - final WHERE _id = '{day}'");
    shop.finds(&execute(change.as_str()), &line, &["final stored"]);
    let change = format!("UPDATE aggregated_data SET epoch = 999999 WHERE _id = '{day}'");
    shop.finds(&execute(change.as_str()), &line, &["epoch stored 999999"]);
    let change = format!("UPDATE aggregated_data SET as_of = as_of + 1 WHERE _id = '{day}'");
    shop.finds(&execute(change.as_str()), "differs aggregated_data", &["as_of stored"]);

    // A missing document, and an extra one.
    let change = format!("DELETE FROM aggregated_data WHERE _id = '{hour}'");
    shop.finds(&execute(change.as_str()), &format!("missing aggregated_data {hour}"), &[]);
    let extra = "INSERT INTO aggregated_data (_id, type, granularity, timestamp, window_end, key, final, epoch, as_of, users) \
                 SELECT 'active_users|hour|1999-01-01T00:00:00Z', type, granularity, timestamp, window_end, key, final, epoch, \
                 as_of, users FROM aggregated_data WHERE type = 'active_users' LIMIT 1";
    shop.finds(&execute(extra), "unexpected aggregated_data active_users|hour|1999-01-01T00:00:00Z", &[]);
    shop.finds(
        &execute("DELETE FROM real_time_metrics WHERE _id = 'metric|sales_all'"),
        "missing real_time_metrics metric|sales_all",
        &[],
    );

    // A sale that is counted twice: in one window, and in raw_data.
    let twice = |store: &Connection| {
        // Of a sale, its window and its amount in 1/10,000.
        let sql = "SELECT a._id, CAST(round(json_extract(r.value, '$.total_amount') * 10000) AS INTEGER) FROM raw_data r \
                   JOIN aggregated_data a ON a.type = 'sales_total' AND a.granularity = 'minute' \
                   AND a.timestamp = r.timestamp - r.timestamp % 60000 \
                   WHERE r.topic = 'sales' AND r.outcome = 'accepted' ORDER BY a._id LIMIT 1";
        let (id, amount): (String, i64) =
            store.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a sale");
        let sql = "UPDATE aggregated_data SET transactions = transactions + 1, units = units + 1, \
                   revenue = printf('%d.%04d', (CAST(replace(revenue, '.', '') AS INTEGER) + ?2) / 10000, \
                   (CAST(replace(revenue, '.', '') AS INTEGER) + ?2) % 10000) WHERE _id = ?1";
        assert_eq!(store.execute(sql, (id, amount)).expect("a change"), 1);
    };
    shop.finds(
        &twice,
        "differs aggregated_data sales_total|minute|",
        &["transactions stored", "revenue stored", "units stored"],
    );
    let sale = one(
        &store,
        "SELECT a._id FROM raw_data a JOIN raw_data b ON b.topic = 'sales' AND b.partition = a.partition AND \
                            b.offset = a.offset + 1 AND b.outcome = 'accepted' WHERE a.topic = 'sales' AND a.outcome = \
                            'accepted' LIMIT 1",
    );
    let next = {
        let (head, offset) = sale.rsplit_once('|').expect("an _id");
        format!("{head}|{}", offset.parse::<i64>().expect("an offset") + 1)
    };
    let doubled =
        format!("UPDATE raw_data SET value = (SELECT value FROM raw_data WHERE _id = '{sale}') WHERE _id = '{next}'");
    let [from_raw, from_files] = shop.verify_changed(&execute(doubled.as_str()));
    found(&from_raw, &format!("differs raw_data {next}"), &["outcome stored accepted, expected duplicate"]);
    found(&from_raw, "differs real_time_metrics metric|data_quality", &["duplicate"]);
    found(&from_files, &format!("differs raw_data {next}"), &["value stored"]);
    // A row beside the one of its offset, which no look-up by offset would meet.
    let beside = format!(
        "INSERT INTO raw_data SELECT 'x' || _id, topic, partition, offset, key, kafka_timestamp, timestamp, outcome, reason, value \
         FROM raw_data WHERE _id = '{sale}'"
    );
    shop.finds(&execute(beside.as_str()), "differs raw_data (all): rows below", &[]);
    // A record that is gone.
    let gone = format!("DELETE FROM raw_data WHERE _id = '{sale}'");
    shop.finds(&execute(gone.as_str()), &format!("missing raw_data {sale}"), &[]);

    // Dead letters.
    let letter =
        one(&store, "SELECT _id FROM dead_letters WHERE value IS NOT NULL AND reason = 'missing_field' ORDER BY _id");
    let line = format!("differs dead_letters {letter}");
    let change = format!("UPDATE dead_letters SET value = x'00' WHERE _id = '{letter}'");
    shop.finds(&execute(change.as_str()), &line, &["value stored"]);
    let change = format!("UPDATE dead_letters SET reason = 'late' WHERE _id = '{letter}'");
    shop.finds(&execute(change.as_str()), &line, &["reason stored late"]);
    let change = format!("DELETE FROM dead_letters WHERE _id = '{letter}'");
    shop.finds(&execute(change.as_str()), &format!("missing dead_letters {letter}"), &[]);

    // The progress.
    let change = "UPDATE pipeline_state SET as_of = as_of + 86400000 WHERE _id = 'progress'";
    shop.finds(&execute(change), "differs pipeline_state progress", &["as_of stored"]);

    // Alerts: one that should be open, and one that should not.
    let open = one(&store, "SELECT _id FROM real_time_metrics WHERE type = 'alert' AND state = 'open' ORDER BY _id");
    let line = format!("differs real_time_metrics {open}");
    let change = format!("UPDATE real_time_metrics SET state = 'resolved', resolved_at = as_of WHERE _id = '{open}'");
    shop.finds(&execute(change.as_str()), &line, &["state stored resolved, expected open"]);
    let change = format!("UPDATE real_time_metrics SET times_opened = 0 WHERE _id = '{open}'");
    shop.finds(&execute(change.as_str()), &line, &["times_opened stored 0"]);
    let change =
        format!("UPDATE real_time_metrics SET _id = _id || 'x', product_id = product_id || 'x' WHERE _id = '{open}'");
    let line = format!("unexpected real_time_metrics {open}x");
    shop.finds(&execute(change.as_str()), &line, &[]);
}

#[test]
fn the_list_has_an_end() {
    let shop = Shop::new("");
    let change = execute("UPDATE aggregated_data SET as_of = as_of, users = users + 1 WHERE type = 'active_users'");
    for output in shop.verify_changed(&change) {
        found(&output, "differs aggregated_data active_users|", &["users stored"]);
    }
    let copy = format!("sqlite:{}", shop.folder.path().join("copy.sqlite").display());
    let output = tillflow(&["verify", "--store", &copy, "--limit", "3"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert!(lines[..3].is_sorted() && lines[3].starts_with("... and ") && lines[3].ends_with(" more"), "{said}");
}

#[test]
fn what_cannot_be_verified_is_said() {
    let shop = Shop::new("");
    let (store, source) = (shop.address(), shop.source());
    let code = |arguments: &[&str]| {
        let output = tillflow(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (exit, said) = code(&["verify", "--store", &store, "--correction-window", "1h", "--timezone", "Europe/Berlin"]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(
        said.contains("--correction-window") && said.contains("--timezone") && !said.contains("--max-future"),
        "{said}"
    );
    let (exit, said) = code(&["verify", "--store", "sqlite:/nowhere/at/all"]);
    assert_eq!(exit, Some(3), "{said}");
    let (exit, said) = code(&["verify", "--store", &store, "--envelope"]);
    assert_eq!(exit, Some(2), "{said}");

    // A source that no longer has what was counted.
    let sales = shop.folder.path().join("records/sales.ndjson");
    let bytes = std::fs::read(&sales).expect("sales");
    let half = bytes[..bytes.len() / 2].iter().rposition(|byte| *byte == b'\n').expect("a line") + 1;
    std::fs::write(&sales, &bytes[..half]).expect("a file");
    let (exit, said) = code(&["verify", "--store", &store, "--from", &source]);
    assert_eq!(exit, Some(4), "{said}");
    assert!(said.contains("sales partition") && said.contains("ends before offset"), "{said}");

    // A store that keeps no records, and one that nobody has written to.
    Connection::open(shop.file()).expect("the store").execute("DELETE FROM raw_data", []).expect("a change");
    let (exit, said) = code(&["verify", "--store", &store]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("--from kafka"), "{said}");
    let empty = shop.folder.path().join("empty.sqlite");
    let made = Connection::open(&empty).expect("a file");
    made.execute("CREATE TABLE t (a)", []).expect("a table");
    let output = tillflow(&["verify", "--store", &format!("sqlite:{}", empty.display())]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing is committed yet"), "{output:?}");
}

#[test]
fn a_signal_ends_it_at_once() {
    let shop = Shop::new("");
    // A file that never begins: nobody writes into the pipe.
    let sales = shop.folder.path().join("records/sales.ndjson");
    std::fs::remove_file(&sales).expect("a file");
    assert!(Command::new("mkfifo").arg(&sales).status().expect("mkfifo is a program").success());
    let (store, source) = (shop.address(), shop.source());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_tillflow"));
    verify.args(["verify", "--store", &store, "--from", &source]).stderr(std::process::Stdio::piped());
    let mut verify = verify.spawn().expect("the program starts");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(verify.try_wait().expect("a child").is_none(), "it did not wait");
    let killed = Command::new("kill").args(["-s", "TERM", &verify.id().to_string()]).status();
    assert!(killed.expect("kill is a program").success());
    let ended = verify.wait_with_output().expect("a child");
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert_eq!(
        String::from_utf8_lossy(&ended.stderr),
        "error: stopped by a signal; the verification is not complete\n"
    );
}

#[test]
fn foreign_text_does_nothing_to_a_terminal() {
    let shop = Shop::new("");
    let change = |store: &Connection| {
        let sql = "INSERT INTO real_time_metrics (_id, type, epoch, as_of, timestamp) SELECT ?1, 'stock', epoch, as_of, as_of \
                   FROM real_time_metrics LIMIT 1";
        store.execute(sql, [Value::Text(String::from("stock|\u{1b}[2J\n\u{202e}|w"))]).expect("a change");
    };
    for output in shop.verify_changed(&change) {
        found(&output, "unexpected real_time_metrics stock|\\u{1b}[2J\\n\\u{202e}|w", &[]);
    }
}
