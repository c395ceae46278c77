//! `--view-file` and `--views`, through the whole program: files of records in, documents and pages out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;

const VIEWS: &str = include_str!("views.toml");

fn tillflow(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillflow"));
    for name in ["TILLFLOW_STORE", "TILLFLOW_WORKERS", "MONGO_URI", "KAFKA_BOOTSTRAP_SERVERS", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(arguments).output().expect("the program starts")
}

/// A folder with records of all kinds, and what is made of them.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new(count: &str) -> Shop {
        let shop = Shop { folder: tempfile::tempdir().expect("a temporary folder") };
        let shares = "--duplicates 0.06 --corrections 0.12 --cancellations 0.06 --late 0.04 --corrupt 0.03";
        let source = shop.source();
        let mut generate = vec!["generate", "--to", &source, "--envelope", "--rate", "0", "--count", count];
        generate.extend("--density 0.02 --seed 11 --start 2026-01-05T10:00:00Z".split(' ').chain(shares.split(' ')));
        let output = tillflow(&generate);
        assert!(output.status.success(), "{output:?}");
        shop.write(VIEWS);
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> String {
        format!("ndjson:{}", self.path("records").display())
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.path("shop.sqlite").display())
    }

    fn write(&self, views: &str) {
        std::fs::write(self.path("views.toml"), views).expect("a file");
    }

    fn run(&self, flags: &[&str]) -> Output {
        let (source, store) = (self.source(), self.store());
        let mut arguments = vec!["run", "--source", &source, "--envelope", "--store", &store];
        arguments.extend(["--until-caught-up", "--no-dashboard"]);
        arguments.extend(flags);
        tillflow(&arguments)
    }

    fn run_with_views(&self, flags: &[&str]) -> Output {
        let file = self.path("views.toml").display().to_string();
        self.run(&[&["--view-file", &file], flags].concat())
    }

    fn open(&self) -> Connection {
        Connection::open(self.path("shop.sqlite")).expect("the store")
    }

    fn number(&self, sql: &str) -> i64 {
        self.open().query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    fn text(&self, sql: &str) -> String {
        self.open().query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    /// `verify` needs no flags of its own: the store knows what it was filled with.
    fn verify(&self) -> Output {
        tillflow(&["verify", "--store", &self.store()])
    }

    fn is_equal(&self) {
        let output = self.verify();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let source = self.source();
        let output = tillflow(&["verify", "--store", &self.store(), "--from", &source, "--envelope"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}

#[test]
fn group_bys_of_a_file_are_documents_like_any_other() {
    for workers in ["1", "2", "4"] {
        let shop = Shop::new("12000");
        succeeded(&shop.run_with_views(&["--workers", workers]));
        shop.is_equal();
        // The history has what it should have, or equality would say little.
        for (name, least) in [("returns", 20), ("purchases_by_product", 20), ("quantities", 50)] {
            let rows = shop.number(&format!("SELECT count(*) FROM aggregated_data WHERE type = '{name}'"));
            assert!(rows >= least, "{rows} of {name}");
        }
        let of_returns = "FROM aggregated_data WHERE type = 'returns' AND granularity = 'day'";
        assert!(shop.number("SELECT count(*) FROM aggregated_data WHERE type = 'returns' AND final = 1") > 10);
        // What the built-in views say of the same records.
        let sold =
            "SELECT sum(transactions) FROM aggregated_data WHERE type = 'sales_total' AND granularity = 'minute'";
        assert_eq!(shop.number("SELECT sum(sales) FROM aggregated_data WHERE type = 'quantities'"), shop.number(sold));
        let stock = "SELECT units FROM real_time_metrics WHERE _id = 'metric|inventory_summary'";
        let by_warehouse = "SELECT sum(units) FROM aggregated_data WHERE type = 'stock_by_warehouse'";
        assert_eq!(shop.number(by_warehouse), shop.number(stock));
        assert_eq!(
            shop.number("SELECT max(final) FROM aggregated_data WHERE type = 'stock_by_warehouse'"),
            0,
            "a stock level may always be replaced"
        );
        // One document, as a store holds it.
        let id = shop.text(&format!("SELECT min(_id) {of_returns}"));
        assert!(id.starts_with("returns|day|2026-01-0"), "{id}");
        let key: String = shop.text(&format!("SELECT key FROM aggregated_data WHERE _id = '{id}'"));
        let key: serde_json::Value = serde_json::from_str(&key).expect("JSON");
        assert_eq!(
            id.split('|').skip(3).collect::<Vec<_>>(),
            [key["store_id"].as_str().expect("text"), key["category"].as_str().expect("text")]
        );
        let amount = shop.text(&format!("SELECT amount FROM aggregated_data WHERE _id = '{id}'"));
        assert!(amount.starts_with('-') && amount.split_once('.').is_some_and(|(_, part)| part.len() == 4), "{amount}");
    }
}

#[test]
fn verify_finds_what_is_wrong_in_them() {
    let shop = Shop::new("6000");
    succeeded(&shop.run_with_views(&[]));
    shop.is_equal();
    for (sql, words) in [
        ("SET returns = returns + 1 WHERE type = 'returns'", "returns stored"),
        ("SET latest_at = latest_at + 1 WHERE type = 'returns'", "latest_at stored"),
        ("SET least = NULL WHERE type = 'purchases_by_product'", "least stored nothing"),
        ("SET products = 0 WHERE type = 'stock_by_warehouse'", "products stored 0"),
        ("SET final = 1 - final WHERE type = 'quantities'", "final stored"),
    ] {
        let kept = shop.path("kept.sqlite");
        let _ = std::fs::remove_file(&kept);
        shop.open().execute("VACUUM INTO ?1", [kept.display().to_string()]).expect("a copy");
        let changed = Connection::open(&kept).expect("the copy").execute(&format!("UPDATE aggregated_data {sql}"), []);
        assert!(changed.expect(sql) > 0, "{sql}");
        let output = tillflow(&["verify", "--store", &format!("sqlite:{}", kept.display())]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{sql}: {said}");
        assert!(said.contains(words), "{sql}: {said}");
    }
}

#[test]
fn a_store_goes_on_with_what_it_was_filled_with() {
    let shop = Shop::new("4000");
    succeeded(&shop.run_with_views(&[]));
    let last_change =
        "SELECT max((SELECT max(epoch) FROM aggregated_data), (SELECT max(epoch) FROM real_time_metrics))";
    let changed = shop.number(last_change);
    // Other words for the same views are the same views.
    shop.write(&VIEWS.replace("# What comes back, and from whom.", "").replace("Returned goods", "Returns"));
    succeeded(&shop.run_with_views(&[]));
    shop.is_equal();
    // It may have committed that more windows leave memory, and no document.
    assert_eq!(shop.number(last_change), changed);
    let epoch = shop.number("SELECT max(epoch) FROM pipeline_state");
    shop.write(&VIEWS.replace("below = 0", "below = -1"));
    refused(&shop.run_with_views(&[]), 4, &["--view-file: the store has another view returns.", "empty store"]);
    refused(&shop.run(&[]), 4, &["--view-file: the store has a view odd_names, this run none, the store has a view"]);
    shop.write(VIEWS);
    refused(&shop.run_with_views(&["--views", "stock"]), 4, &["--views: the store has all, this run stock"]);
    assert_eq!(shop.number("SELECT max(epoch) FROM pipeline_state"), epoch);
    succeeded(&shop.run_with_views(&[]));
}

#[test]
fn a_selection_is_maintained_and_nothing_else() {
    let types = "SELECT coalesce(group_concat(name, ' '), '') FROM (SELECT DISTINCT type AS name FROM aggregated_data \
                 UNION SELECT DISTINCT coalesce(name, kind, type) FROM real_time_metrics ORDER BY 1)";
    for (views, expected) in [
        ("sales_by_category,sales_by_store,sales_by_payment_method,sales_by_product", None),
        ("sales_last_24h,stock_out_soon,top_products_last_hour", Some("sales_last_24h top_products_last_hour")),
        ("customers,funnel,purchases_unmatched", None),
        ("data_quality", None),
        ("supply,product_interest,inventory_summary", None),
    ] {
        let shop = Shop::new("4000");
        succeeded(&shop.run_with_views(&["--views", views]));
        shop.is_equal();
        let mut wanted: Vec<&str> = views.split(',').collect();
        let added = tillflow_dataflows::views::added();
        wanted.extend(added.iter().map(|view| view.layout.name.as_str()));
        wanted.extend(["odd_names", "purchases_by_product", "quantities", "returns", "stock_by_warehouse"]);
        wanted.sort_unstable();
        let found = shop.text(types);
        match expected {
            None => assert_eq!(found, wanted.join(" "), "{views}"),
            // No product is about to run out here.
            Some(expected) => assert!(expected.split(' ').all(|name| found.contains(name)), "{found}"),
        }
        assert!(found.split(' ').all(|name| wanted.contains(&name)), "{views}: {found}");
    }
    let shop = Shop::new("500");
    refused(
        &shop.run(&["--views", "sales_totals"]),
        2,
        &["--views: there is no view \"sales_totals\"", "sales_total, "],
    );
}

#[test]
fn a_bad_file_is_refused_with_line_and_reason() {
    let shop = Shop::new("100");
    for (was, is, words) in [
        ("granularity = \"day\"", "granularity = \"week\"", ["line 19:", "there is no `week` here"]),
        ("\"returns\"", "\"sales_total\"", ["line 3:", "already"]),
        ("sum(amount)", "sum(price)", ["line 22:", "have no field \"price\""]),
    ] {
        shop.write(&VIEWS.replacen(was, is, 1));
        let output = shop.run_with_views(&[]);
        refused(&output, 2, &words);
        refused(&output, 2, &["views.toml"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{output:?}");
        assert!(!Path::new(&shop.path("shop.sqlite")).exists(), "refused before anything is made");
    }
    let output = shop.run(&["--view-file", "/nowhere/views.toml"]);
    refused(&output, 2, &["--view-file: reading /nowhere/views.toml"]);
}
