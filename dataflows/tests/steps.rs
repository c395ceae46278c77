//! Step files: records tick by tick, and the rows that change, for a person to read.
//!
//! A file in `tests/steps/` is a list of ticks. What a tick reads is written by hand:
//!
//! ```text
//! show sales_total sales_by_category        only rows whose key starts with one of these; `show *` for all
//! correction-window 48h
//! tick 1
//!   sales/0 t1 at 2024-01-15T10:00:00 quantity 2 total 19.90 category toys      other fields have defaults
//!   sales/0 cancel t1
//!   user_activity/0 u1 at 2024-01-15T10:00:00 type purchase amount 5
//!   inventory/0 p1 at 2024-01-15T10:00:00 warehouse w1 stock 3 reorder 5
//!   sales/0 unreadable bad_money
//! ```
//!
//! What follows is written by the test: the outcome after each record (`-> accepted`), and below the tick a line
//! for each row that is new (`+`), gone (`-`) or changed (`~`). `UPDATE_EXPECT=1` writes it anew.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use support::group_bys::group_bys;
use support::samples::{activity, level, sale};
use support::{Pace, Plan, Timed, run};
use tillflow_dataflows::admission::{AdmissionSettings, Decision};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::oracle::admission::{Given, Record};
use tillflow_dataflows::outputs::{Row, RowBody, RowKey, Subject, View};
use tillflow_dataflows::records::{Millis, Money, Outcome, Reason, Topic};
use tillflow_dataflows::time::{DAY, HOUR, MINUTE, Tick};

/// Days since 1970-01-01 of a day of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is a year's last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day
        - 1
        - 719_468
}

/// `2024-01-15T10:00:00`, or with `.123`.
fn instant(text: &str) -> Millis {
    let numbers: Vec<i64> = text
        .split(['-', 'T', ':', '.'])
        .map(|part| part.parse().unwrap_or_else(|_| panic!("{text:?} is no time")))
        .collect();
    let [year, month, day, hour, minute, second, ref millis @ ..] = numbers[..] else { panic!("{text:?} is no time") };
    days_of(year, month, day) * DAY
        + hour * HOUR
        + minute * MINUTE
        + second * 1_000
        + millis.first().copied().unwrap_or(0)
}

fn time_text(instant: Millis) -> String {
    let days = instant.div_euclid(DAY);
    let year = (1970..).find(|year| days < days_of(year + 1, 1, 1)).expect("years go on");
    let month = (1..=12).rev().find(|month| days >= days_of(year, *month, 1)).expect("a month has begun");
    let day = days - days_of(year, month, 1) + 1;
    let (hour, minute) = (instant.rem_euclid(DAY) / HOUR, instant.rem_euclid(HOUR) / MINUTE);
    let seconds = (instant.rem_euclid(MINUTE)) as f64 / 1_000.0;
    let seconds = if instant % 1_000 == 0 { format!("{seconds:02}") } else { format!("{seconds:06.3}") };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{seconds}")
}

fn money(text: &str) -> Money {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let whole: i64 = whole.parse().unwrap_or_else(|_| panic!("{text:?} is no money"));
    let part: i64 = format!("{part:0<4}").parse().unwrap_or_else(|_| panic!("{text:?} is no money"));
    Money(whole * Money::SCALE + sign * part)
}

fn money_text(amount: i128) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let scale = u128::from(Money::SCALE.unsigned_abs());
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02}", amount / scale, amount % scale / 100)
}

/// A record as a step file writes it: `topic/partition WORDS…`.
fn parse_record(line: &str) -> (Topic, i32, Given, Option<Millis>) {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?} ends too early"));
    let (topic, partition) = word().split_once('/').unwrap_or_else(|| panic!("no partition in {line:?}"));
    let topic = Topic::from_name(topic).unwrap_or_else(|| panic!("no topic in {line:?}"));
    let partition = partition.parse().unwrap_or_else(|_| panic!("no partition in {line:?}"));
    let id = word();
    match id {
        "cancel" => return (topic, partition, Given::Tombstone(Some(word().as_bytes().to_vec())), None),
        "unreadable" => {
            let name = word();
            let reason = Reason::ALL.into_iter().find(|reason| reason.name() == name);
            let reason = reason.unwrap_or_else(|| panic!("no reason in {line:?}"));
            return (topic, partition, Given::Unreadable(reason), None);
        }
        _ => {}
    }
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    while let Some(name) = words.next() {
        fields.insert(name, words.next().unwrap_or_else(|| panic!("{name} has no value in {line:?}")));
    }
    let kafka = fields.remove("kafka").map(instant);
    let at = instant(fields.remove("at").unwrap_or_else(|| panic!("no time in {line:?}")));
    let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("{text:?} is no number in {line:?}"));
    let mut set = |name: &str, put: &mut dyn FnMut(&str)| {
        if let Some(value) = fields.remove(name) {
            put(value);
        }
    };
    let given = match topic {
        Topic::Sales => {
            let mut sale = sale(id, at);
            set("user", &mut |text| sale.user_id = text.into());
            set("product", &mut |text| sale.product_id = text.into());
            set("quantity", &mut |text| sale.quantity = number(text));
            set("price", &mut |text| sale.unit_price = money(text));
            set("total", &mut |text| sale.total_amount = money(text));
            set("payment", &mut |text| sale.payment_method = text.into());
            set("store", &mut |text| sale.store_id = text.into());
            set("category", &mut |text| sale.category = text.into());
            Given::Sale(sale)
        }
        Topic::UserActivity => {
            let mut activity = activity(id, at);
            set("type", &mut |text| activity.activity_type = text.into());
            set("amount", &mut |text| activity.amount = Some(money(text)));
            set("session", &mut |text| activity.session_id = text.into());
            set("product", &mut |text| activity.product_id = Some(text.into()));
            Given::Activity(activity)
        }
        Topic::Inventory => {
            let mut level = level(id, at);
            set("warehouse", &mut |text| level.warehouse_id = text.into());
            set("stock", &mut |text| level.current_stock = number(text));
            set("reorder", &mut |text| level.reorder_level = number(text));
            set("status", &mut |text| level.status = Some(text.into()));
            Given::StockLevel(level)
        }
    };
    assert!(fields.is_empty(), "unknown fields {fields:?} in {line:?}");
    (topic, partition, given, kafka)
}

fn key_text(key: &RowKey) -> String {
    match key {
        RowKey::Rollup(key) => {
            let name = match key.view {
                View::Added(place) => group_bys()[usize::from(place)].layout.name.clone(),
                view => view.name().unwrap_or_default().to_owned(),
            };
            let mut text = format!("{name}|{}|{}", key.window.granularity.name(), time_text(key.window.start));
            if !key.key.is_empty() {
                write!(text, "|{}", key.key).expect("a string takes it");
            }
            text
        }
        RowKey::Metric(metric) => format!("metric|{}", metric.name()),
        RowKey::Stock(key) => format!("stock|{}|{}", key.product_id, key.warehouse_id),
        RowKey::Supply(product) => format!("supply|{product}"),
        RowKey::Alert(kind, subject) => {
            let subject = match subject {
                Subject::Stock(key) => format!("{}|{}", key.product_id, key.warehouse_id),
                Subject::Product(text) | Subject::Category(text) => text.to_string(),
            };
            format!("alert|{}|{subject}", kind.name())
        }
        RowKey::AsOf => "as_of".to_owned(),
    }
}

fn body_text(body: &RowBody) -> String {
    let closed = |is_final: &bool| if *is_final { ", final" } else { "" };
    match body {
        RowBody::Sales(sums, is_final) => format!(
            "{} transactions, {} units, {}{}",
            sums.transactions,
            sums.units,
            money_text(sums.revenue),
            closed(is_final)
        ),
        RowBody::Activity(sums, is_final) => {
            format!("{} events, {}{}", sums.events, money_text(sums.amount), closed(is_final))
        }
        RowBody::Added(measures, is_final) => {
            format!("{} rows, {:?}{}", measures.rows, measures.sums, closed(is_final))
        }
        RowBody::Users(users, is_final) => format!("{users} users{}", closed(is_final)),
        RowBody::Visits(sums, is_final) => {
            let counts = [
                ("bounced", sums.bounced),
                ("converted", sums.converted),
                ("page views", sums.page_views),
                ("ms", sums.duration),
                ("viewed", sums.viewed),
                ("viewed a product", sums.viewed_product),
                ("purchased", sums.purchased),
            ];
            let counted = counts.iter().filter(|(_, count)| *count != 0);
            let counted: String = counted.map(|(name, count)| format!(", {count} {name}")).collect();
            format!("{} sessions{counted}{}", sums.sessions, closed(is_final))
        }
        RowBody::Interest(sums, is_final) => format!(
            "{} views, {} purchases, {} units, {}{}",
            sums.views,
            sums.purchases,
            sums.units_sold,
            money_text(sums.revenue),
            closed(is_final)
        ),
        RowBody::Customers(sums, is_final) => format!(
            "{} new {}, {} returning {}{}",
            sums.new_customers,
            money_text(sums.new_revenue),
            sums.returning_customers(),
            money_text(sums.returning_revenue()),
            closed(is_final)
        ),
        RowBody::Unmatched(sums) => format!("{} purchases, {} sales", sums.purchases, sums.sales),
        RowBody::Count(count) => count.to_string(),
        RowBody::LastHour(counts) => format!(
            "{} events, {} users, {} sessions, {} converted",
            counts.events, counts.users, counts.sessions, counts.converted
        ),
        RowBody::Supply(sums) => format!("{} in stock, {} sold", sums.stock, sums.units_sold),
        RowBody::Anomaly(anomaly) => format!("{} after {}", money_text(anomaly.revenue), money_text(anomaly.base)),
        RowBody::Ranking(products) => {
            let products: Vec<String> = products
                .iter()
                .map(|product| format!("{} {} ({})", product.product_id, money_text(product.revenue), product.units))
                .collect();
            format!("[{}]", products.join(", "))
        }
        RowBody::Inventory(sums) => format!(
            "{} products, {} rows, {} units, {} out, {} low",
            sums.products, sums.rows, sums.units, sums.out_of_stock, sums.low_stock
        ),
        RowBody::Quality(counts) => {
            let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name()).zip(counts.outcomes);
            let reasons = Reason::ALL.iter().map(|reason| reason.name()).zip(counts.reasons);
            let counted: Vec<String> = outcomes
                .chain(reasons)
                .filter(|(_, count)| *count != 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") }
        }
        RowBody::Stock(level) => {
            format!("{} of {}, {}", level.current_stock, level.reorder_level, time_text(level.last_updated))
        }
        RowBody::Instant(instant) => time_text(*instant),
    }
}

fn decision_text(decision: &Decision) -> String {
    let reason = decision.reason.map_or(String::new(), |reason| format!(" {}", reason.name()));
    format!("{}{reason}", decision.outcome.name())
}

/// A line of a step file that is input.
enum Line<'a> {
    Text(&'a str),
    Tick(Tick),
    Record(&'a str),
}

/// Reads a step file's input, runs it, and returns the file as it should be.
fn rewrite(name: &str, text: &str) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let mut settings = AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE };
    let mut lines = Vec::new();
    let mut partitions: Vec<(Topic, i32)> = Vec::new();
    let mut records = Vec::new();
    let mut tick = None;
    for line in text.lines() {
        let trimmed = line.trim();
        let line = match trimmed.split(' ').next().unwrap_or_default() {
            "+" | "-" | "~" => continue,
            "" => continue,
            "tick" => {
                let number = trimmed["tick".len()..].trim().parse().unwrap_or_else(|_| panic!("{name}: {trimmed}"));
                tick = Some(number);
                Line::Tick(number)
            }
            "show" => {
                shown.extend(trimmed.split_whitespace().skip(1));
                Line::Text(trimmed)
            }
            "correction-window" => {
                let hours = trimmed.split_whitespace().nth(1).and_then(|hours| hours.strip_suffix('h'));
                let hours: i64 = hours.and_then(|hours| hours.parse().ok()).expect("a number of hours");
                settings.correction_window = hours * HOUR;
                Line::Text(trimmed)
            }
            word if word.starts_with('#') => Line::Text(trimmed),
            _ => {
                let input = trimmed.split(" -> ").next().unwrap_or(trimmed).trim_end();
                let (topic, number, given, kafka_timestamp) = parse_record(input);
                let partition = partitions.iter().position(|known| *known == (topic, number)).unwrap_or_else(|| {
                    partitions.push((topic, number));
                    partitions.len() - 1
                });
                let offset = records.iter().filter(|timed: &&Timed| timed.partition == partition).count() as i64;
                let tick = tick.unwrap_or_else(|| panic!("{name}: a record before the first tick"));
                records.push(Timed { tick, partition, record: Record { given, offset, kafka_timestamp } });
                Line::Record(input)
            }
        };
        lines.push(line);
    }

    let graph = Settings { added: group_bys().into(), ..Settings::new(settings.correction_window) };
    let plan = Plan { settings, graph, partitions, records, expires: false };
    let outcome = run(&plan, &Pace::even(2));
    let mut updates: BTreeMap<Tick, Vec<(Row, i64)>> = BTreeMap::new();
    for (row, tick, change) in outcome.updates {
        updates.entry(tick).or_default().push((row, change));
    }
    let mut decisions: BTreeMap<usize, std::vec::IntoIter<Decision>> =
        outcome.decisions.into_iter().map(|(partition, list)| (partition, list.into_iter())).collect();
    let mut in_force: BTreeMap<RowKey, RowBody> = BTreeMap::new();
    let mut pending: Option<Tick> = None;
    let mut record = plan.records.iter();
    let mut out = String::new();
    let mut change = |until: Option<Tick>, out: &mut String| {
        let mut rows: BTreeMap<Row, i64> =
            in_force.iter().map(|(key, body)| ((key.clone(), body.clone()), 1)).collect();
        while let Some(entry) = updates.first_entry().filter(|entry| until.is_none_or(|until| *entry.key() <= until)) {
            for (row, change) in entry.remove() {
                *rows.entry(row).or_default() += change;
            }
        }
        let new: BTreeMap<RowKey, RowBody> =
            rows.into_iter().filter(|(_, count)| *count != 0).map(|(row, _)| row).collect();
        let keys: std::collections::BTreeSet<&RowKey> = in_force.keys().chain(new.keys()).collect();
        for key in keys {
            let text = key_text(key);
            if !shown.iter().any(|shown| *shown == "*" || text.starts_with(shown)) {
                continue;
            }
            let line = match (in_force.get(key), new.get(key)) {
                (None, Some(body)) => format!("  + {text}: {}", body_text(body)),
                (Some(body), None) => format!("  - {text}: {}", body_text(body)),
                (Some(old), Some(body)) if old != body => {
                    format!("  ~ {text}: {} => {}", body_text(old), body_text(body))
                }
                _ => continue,
            };
            writeln!(out, "{line}").expect("a string takes it");
        }
        in_force = new;
    };
    for line in lines {
        match line {
            Line::Text(text) => writeln!(out, "{text}"),
            Line::Tick(tick) => {
                // Before its first tick a file shows what is always there.
                change(pending.or(Some(0)), &mut out);
                pending = Some(tick);
                writeln!(out, "\ntick {tick}")
            }
            Line::Record(input) => {
                let timed = record.next().expect("each record line is a record");
                let decision = decisions.get_mut(&timed.partition).and_then(Iterator::next);
                let decision = decision.expect("each record has an outcome");
                writeln!(out, "  {input} -> {}", decision_text(&decision))
            }
        }
        .expect("a string takes it");
    }
    change(None, &mut out);
    out
}

#[test]
fn the_step_files_say_what_happens() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steps");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the step files are there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let text = std::fs::read_to_string(folder.join(&name)).expect("a step file");
        support::expect_file(&format!("steps/{name}"), &rewrite(&name, &text));
    }
}

#[test]
fn times_are_read_and_written_alike() {
    for text in ["1970-01-01T00:00:00", "2024-02-29T23:59:59", "2024-03-01T00:00:00.007", "2100-12-31T12:00:00"] {
        assert_eq!(time_text(instant(text)), text);
    }
    assert_eq!(instant("2024-01-15T23:30:00"), support::samples::START);
}
