//! M01: what a run holds in memory is what docs/performance.md says: a formula of what it has to remember.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

use crate::held::held;
use crate::row::{Dice, Row};
use crate::world::{Place, Store};

/// Bytes of a run that remembers nothing: the program, its libraries and buffers.
const RUN: f64 = 55e6;
/// Bytes of each worker's own buffers.
const WORKER: f64 = 10e6;
/// Bytes of a sale that can be corrected.
const SALE: f64 = 100.0;
/// Bytes of a sale of the last 24 hours. All of them are, here.
const SALE_OF_A_DAY: f64 = 140.0;
/// Bytes of an activity within the correction window.
const ACTIVITY: f64 = 120.0;
/// Bytes of a user who ever bought.
const BUYER: f64 = 200.0;
/// Bytes of a product in a warehouse.
const STOCK: f64 = 1500.0;
/// Bytes of a document of a window that is not final.
const OPEN_DOCUMENT: f64 = 1000.0;
/// How far the formula may be off.
const WITHIN: f64 = 0.25;

/// Event time of all records, and when it begins.
const SPAN_MILLIS: usize = 4 * 3_600_000;
const BEGIN_MILLIS: i64 = 1_705_276_800_000;
const USERS: u64 = 50_000;
const ACTIVITIES_OF_A_SESSION: usize = 6;
const WAREHOUSES: usize = 4;
/// How often each product of each warehouse is counted.
const COUNTED: usize = 5;

struct Shape {
    workers: usize,
    sales: usize,
    /// Who buys; as many as sales: each once.
    buyers: u64,
    products: u64,
    activities: usize,
    /// Products in a warehouse.
    stock: usize,
    /// The correction window, as a part of the span.
    window: usize,
}

/// Sales of a thousand products by some users, and nothing else, all of which can be corrected.
const USUAL: Shape =
    Shape { workers: 1, sales: 100_000, buyers: USERS, products: 1_000, activities: 0, stock: 0, window: 1 };

/// A file with envelopes; what is in the `number`th of them, `value` says, given an instant as text.
fn write(folder: &Path, topic: &str, count: usize, mut value: impl FnMut(usize, &str) -> String) {
    let file = std::fs::File::create(folder.join(format!("{topic}.ndjson"))).expect("a file");
    let mut file = BufWriter::new(file);
    for number in 0..count {
        let millis = BEGIN_MILLIS + (number * SPAN_MILLIS / count) as i64;
        let time = DateTime::from_timestamp_millis(millis).expect("an instant");
        let value = value(number, &time.to_rfc3339_opts(SecondsFormat::Millis, true));
        writeln!(file, r#"{{"partition":0,"offset":{number},"timestamp_ms":{millis},"value":{value}}}"#)
            .expect("written");
    }
    file.flush().expect("written");
}

fn fill(folder: &Path, shape: &Shape, dice: &mut Dice) {
    write(folder, "sales", shape.sales, |number, time| {
        let (product, quantity) = (dice.below(shape.products), 1 + dice.below(4));
        let price = 999 + 100 * (product % 50);
        let amount = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
        format!(
            r#"{{"transaction_id":"txn_{number:09}","user_id":"user_{:06}","product_id":"product_{product:06}","quantity":{quantity},"unit_price":{},"total_amount":{},"payment_method":"card_{}","timestamp":"{time}","store_id":"store_{:02}","category":"category_{}"}}"#,
            if shape.buyers == shape.sales as u64 { number as u64 } else { dice.below(shape.buyers) },
            amount(price),
            amount(price * quantity),
            product % 4,
            product % 20,
            product % 5,
        )
    });
    let mut user = 0;
    write(folder, "user_activity", shape.activities, |number, time| {
        if number % ACTIVITIES_OF_A_SESSION == 0 {
            user = dice.below(USERS);
        }
        let kind = ["page_view", "search", "page_view", "add_to_cart", "page_view", "login"][number % 6];
        let (session, product) = (number / ACTIVITIES_OF_A_SESSION, dice.below(1000));
        format!(
            r#"{{"user_id":"user_{user:06}","activity_type":"{kind}","timestamp":"{time}","session_id":"sess_{session:012}","product_id":"product_{product:06}"}}"#
        )
    });
    write(folder, "inventory", shape.stock * COUNTED, |number, time| {
        let (product, warehouse) = (number % shape.stock / WAREHOUSES, number % WAREHOUSES);
        format!(
            r#"{{"product_id":"product_{product:06}","warehouse_id":"warehouse_{warehouse}","current_stock":{},"reorder_level":20,"last_updated":"{time}","category":"category_{}","status":"in_stock"}}"#,
            25 + dice.below(1000),
            product % 5,
        )
    });
}

#[test]
fn m01_memory_is_what_the_formula_says() {
    let mut row = Row::begin("M01", "resident memory beside the formula, five shapes of records");
    let shapes = [
        Shape { sales: 300_000, ..USUAL },
        Shape { products: 20_000, ..USUAL },
        Shape { workers: 2, activities: 400_000, ..USUAL },
        Shape { sales: 800_000, buyers: 800_000, window: 8, ..USUAL },
        Shape { sales: 10_000, stock: 100_000, ..USUAL },
    ];
    for shape in shapes {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fill(folder.path(), &shape, &mut row.dice);
        let mut store = Store::sqlite();
        store.checkpoints = "1s";
        let window = SPAN_MILLIS / 60_000 / shape.window;
        let flags = format!("--workers {} --raw-data off --correction-window {window}m", shape.workers);
        let mut run = store.run_files(folder.path(), &flags).start();
        store.wait_for_all(&mut run, (shape.sales + shape.activities + shape.stock * COUNTED) as i64);
        store.wait_for_checkpoint();
        // What was only needed to catch up goes back.
        std::thread::sleep(Duration::from_secs(3));
        let bytes = (held(run.id()).kilobytes << 10) as f64;
        let open = open_documents(&store);
        assert_eq!(run.end("TERM", crate::support::SOON).code, Some(0));
        let formula = RUN
            + WORKER * shape.workers as f64
            + SALE * (shape.sales / shape.window) as f64
            + SALE_OF_A_DAY * shape.sales as f64
            + BUYER * shape.buyers.min(shape.sales as u64) as f64
            + STOCK * shape.stock as f64
            + ACTIVITY * shape.activities as f64
            + OPEN_DOCUMENT * open as f64;
        let off = bytes / formula - 1.0;
        row.count("shapes", 1);
        row.at_most("percent off", (off.abs() * 100.0) as u64);
        let megabytes = [bytes, formula].map(|bytes| bytes / 1e6);
        assert!(
            off.abs() <= WITHIN,
            "{:.0} MB, and {:.0} MB by the formula; {open} open documents",
            megabytes[0],
            megabytes[1]
        );
    }
}

fn open_documents(store: &Store) -> i64 {
    let Place::Sqlite { file, .. } = &store.place else { panic!("a file is easy to count in") };
    let connection = rusqlite::Connection::open(file).expect("a database");
    let counted =
        connection.query_row("SELECT count(*) FROM aggregated_data WHERE NOT \"final\"", [], |row| row.get(0));
    counted.expect("a count")
}
