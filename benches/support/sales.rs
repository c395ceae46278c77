//! Sales that every program of a comparison gets, and what W1 asks for of them.
//!
//! W1 is: drop repeated `transaction_id`s; count, units and revenue per minute and category, per minute and store, per
//! minute and payment method, and per product.

use std::borrow::Cow;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use tillflow::codec::Decoder;
use tillflow_dataflows::records::{Millis, Sale, Text};
use tillflow_dataflows::time::Granularity;

/// Of a topic in Kafka, and of a log in memory unless told.
pub const PARTITIONS: usize = 3;

/// Where workers are compared: as many for each of two, or of four.
pub const EVEN_PARTITIONS: usize = 4;

/// The views that hold W1, hours and days besides, and the one that the others are checked against.
pub const W1: &str = "sales_by_category,sales_by_store,sales_by_payment_method,sales_by_product,sales_all";

/// One sale in so many is sent a second time.
const REPEATED: usize = 100;

/// What is sent a second time, or corrected, is one of the last so many.
const RECENT: usize = 50_000;

/// Sales of one key and value each, in the order of their times: 12,000 a minute, 1,000 products, 5 categories, 20 stores,
/// 4 payment methods, 50,000 users, unless told. 260 bytes.
#[derive(Clone)]
pub struct Sales {
    state: u64,
    start: Millis,
    number: usize,
    /// The last ones that were new, and what each adds up to in hundredths.
    recent: Vec<(Sent, i128)>,
    /// The place of the next one among them.
    place: usize,
    /// Only each so manyth is made.
    step: usize,
    /// How many products there are.
    products: u64,
    /// From one sale to the next.
    apart: Millis,
    partitions: usize,
    is_unusual: bool,
}

/// 2025-10-09T08:53:20Z.
pub const START: Millis = 1_760_000_000_000;

/// What one record is.
#[derive(Clone, Default)]
pub struct Sent {
    pub partition: usize,
    pub timestamp: Millis,
    pub key: String,
    pub value: String,
    /// What it adds to the revenue, in hundredths: nothing when it is sent a second time.
    pub cents: i128,
}

impl Sales {
    pub fn new(start: Millis) -> Sales {
        Sales {
            state: 0x9e37_79b9_7f4a_7c15,
            start,
            number: 0,
            recent: Vec::new(),
            place: 0,
            step: 1,
            products: 1000,
            apart: 5,
            partitions: PARTITIONS,
            is_unusual: false,
        }
    }

    /// Of so many products.
    pub fn of_products(self, products: u64) -> Sales {
        Sales { products, ..self }
    }

    /// In so many partitions.
    pub fn in_partitions(self, partitions: usize) -> Sales {
        Sales { partitions, ..self }
    }

    /// Longer ones, as others send them: with fields that nobody asked for, some of them nested, texts beyond ASCII, plain and
    /// escaped, 10 % corrections and 5 % duplicates.
    pub fn unusual(self) -> Sales {
        Sales { is_unusual: true, ..self }
    }

    /// So far from one to the next.
    pub fn apart(self, apart: Millis) -> Sales {
        Sales { apart, ..self }
    }

    /// Those of one partition alone, as others than the same ones of all partitions.
    pub fn of_partition(self, partition: usize) -> Sales {
        Sales { state: self.state ^ (partition as u64 + 1), number: partition, step: self.partitions, ..self }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    /// The next one, dated `timestamp`. What is sent a second time, or corrected, goes where it was sent before.
    pub fn next_at(&mut self, timestamp: Millis) -> Sent {
        let n = self.number;
        self.number += self.step;
        let (turn, repeated) = (n / self.step, if self.is_unusual { 20 } else { REPEATED });
        if turn % repeated == repeated - 1 {
            let again = self.random(self.recent.len() as u64) as usize;
            return Sent { timestamp, cents: 0, ..self.recent[again].0.clone() };
        }
        let corrected = (self.is_unusual && turn % 10 == 8).then(|| self.random(self.recent.len() as u64) as usize);
        let (key, partition, before) = match corrected.map(|place| &self.recent[place]) {
            Some((sent, total)) => (sent.key.clone(), sent.partition, *total),
            None => (format!("txn_{n:012}"), n % self.partitions, 0),
        };
        let (product, quantity, cents) = (self.random(self.products), self.random(5) + 1, self.random(20_000) + 100);
        let total = cents * quantity;
        let sale = Fields {
            id: &key,
            user: self.random(50_000),
            product,
            quantity,
            cents,
            total,
            payment_method: ["cash", "credit_card", "debit_card", "paypal"][self.random(4) as usize],
            time: chrono::DateTime::from_timestamp_millis(timestamp).expect("a time of our days"),
            store: self.random(20),
        };
        let value = if self.is_unusual { sale.unusual() } else { sale.usual() };
        let total = i128::from(total);
        let sent = Sent { partition, timestamp, key, value, cents: total - before };
        match corrected {
            Some(place) => self.recent[place] = (sent.clone(), total),
            None if self.recent.len() < RECENT => self.recent.push((sent.clone(), total)),
            None => {
                self.recent[self.place] = (sent.clone(), total);
                self.place = (self.place + 1) % RECENT;
            }
        }
        sent
    }
}

/// What a sale says.
struct Fields<'a> {
    id: &'a str,
    user: u64,
    product: u64,
    quantity: u64,
    cents: u64,
    total: u64,
    payment_method: &'a str,
    time: chrono::DateTime<chrono::Utc>,
    store: u64,
}

impl Fields<'_> {
    fn usual(&self) -> String {
        let Fields { id, user, product, quantity, cents, total, payment_method, time, store } = self;
        format!(
            r#"{{"transaction_id":"{id}","user_id":"user_{user:06}","product_id":"prod_{product:04}","quantity":{quantity},"unit_price":{}.{:02},"total_amount":{}.{:02},"payment_method":"{payment_method}","timestamp":"{}","store_id":"store_{store:02}","category":"category_{}"}}"#,
            cents / 100,
            cents % 100,
            total / 100,
            total % 100,
            time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            product % 5,
        )
    }

    fn unusual(&self) -> String {
        let Fields { id, user, product, quantity, cents, total, payment_method, time, store } = self;
        format!(
            r#"{{"schema_version": 3, "channel": "web", "transaction_id": "{id}", "user_id": "user_{user:06}", "customer_name": "Zoë Łukasiewicz 山田 {user}", "product_id": "prod_{product:04}", "product_name": "Caf\u00e9 cr\u00e8me \"{product}\"", "category": "Catégorie {}", "quantity": {quantity}, "unit_price": {}.{:02}, "total_amount": "{}.{:02}", "currency": "EUR", "discount": null, "tax_rate": 0.19, "is_gift": false, "payment_method": "{payment_method}", "store_id": "magasin_{store:02}_é", "address": {{"city": "São Paulo", "zip": "01000-{user:03}"}}, "tags": ["new", "r\u00e9duit"], "timestamp": "{}", "note": "Gr\u00fc\u00dfe \ud83d\ude00 a longer text that nobody asked for, as shops have it in their records"}}"#,
            product % 5,
            cents / 100,
            cents % 100,
            total / 100,
            total % 100,
            time.to_rfc3339_opts(chrono::SecondsFormat::Millis, false),
        )
    }
}

impl Iterator for Sales {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        Some(self.next_at(self.start + self.number as Millis * self.apart))
    }
}

/// (transactions, units, revenue in ten-thousandths)
type Sums = (i64, i64, i128);

/// W1 in plain hash maps, in one thread: nothing is durable, nothing can be corrected.
#[derive(Default)]
pub struct HashMaps {
    known: HashSet<Text>,
    /// By view, minute and key.
    minutes: [HashMap<(Millis, Text), Sums>; 3],
    products: HashMap<Text, Sums>,
    pub all: Sums,
}

/// A sale as somebody reads it who wants nothing but W1.
#[derive(Deserialize)]
struct Row<'a> {
    transaction_id: &'a str,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    quantity: i64,
    total_amount: f64,
    #[serde(borrow)]
    payment_method: Cow<'a, str>,
    timestamp: &'a str,
    #[serde(borrow)]
    store_id: Cow<'a, str>,
    #[serde(borrow)]
    category: Cow<'a, str>,
}

impl HashMaps {
    /// Reads a value with serde_json, an amount as a float.
    pub fn take_plainly(&mut self, value: &[u8]) {
        let Ok(row) = serde_json::from_slice::<Row<'_>>(value) else { return };
        let Ok(time) = chrono::DateTime::parse_from_rfc3339(row.timestamp) else { return };
        let Row { transaction_id, product_id, quantity, total_amount, payment_method, store_id, category, .. } = row;
        let revenue = (total_amount * 10_000.0).round() as i128;
        let keys = [category, store_id, payment_method].map(Text::from);
        self.add(transaction_id.into(), time.timestamp_millis(), keys, product_id.into(), quantity, revenue);
    }

    /// Reads it as the program does, which is exact.
    pub fn take(&mut self, decoder: &Decoder, value: &[u8]) {
        let Ok(sale) = decoder.decode_sale(value) else { return };
        let Sale { transaction_id, category, store_id, payment_method, product_id, .. } = sale;
        let keys = [category, store_id, payment_method];
        let revenue = sale.total_amount.0.into();
        self.add(transaction_id, sale.timestamp, keys, product_id, sale.quantity, revenue);
    }

    fn add(&mut self, id: Text, at: Millis, keys: [Text; 3], product: Text, units: i64, revenue: i128) {
        if !self.known.insert(id) {
            return;
        }
        let add = |sums: &mut Sums| *sums = (sums.0 + 1, sums.1 + units, sums.2 + revenue);
        let minute = Granularity::Minute.start(at);
        for (view, key) in self.minutes.iter_mut().zip(keys) {
            add(view.entry((minute, key)).or_default());
        }
        add(self.products.entry(product).or_default());
        add(&mut self.all);
    }

    /// What W1 says of these sales, for whoever compares another program.
    pub fn tell(&self) {
        let (transactions, units, revenue) = self.all;
        println!("  {transactions} transactions, {units} units, {}.{:04} revenue", revenue / 10_000, revenue % 10_000);
        for (name, view) in ["category", "store_id", "payment_method"].into_iter().zip(&self.minutes) {
            println!("  by minute and {name}: {} rows", view.len());
        }
        println!("  by product: {} rows", self.products.len());
    }
}
