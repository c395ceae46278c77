//! The store's documents of one epoch, held against what they should be.
//!
//! Of each document its `_id` and a digest are kept. A document that turns out as it should be is let go, so what
//! remains at the end should not be there.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tillflow_dataflows::records::Millis;

use super::difference::{DifferenceKind, Differences, Evidence, FieldDifference};
use super::digest::Digests;
use crate::document::{Collection, Document, Fields, Value, push_id_part};
use crate::store::Progress;

/// The collections that are compared whole.
pub(super) const COMPARED: [Collection; 3] =
    [Collection::AggregatedData, Collection::RealTimeMetrics, Collection::DeadLetters];

/// The fields that say when a document was written, or that depend on the epochs of the past: looked at on their own.
pub(super) const fn besides(collection: Collection) -> &'static [&'static str] {
    match collection {
        Collection::AggregatedData => &["epoch", "as_of"],
        Collection::RealTimeMetrics => &["epoch", "as_of", "timestamp", "opened_at", "resolved_at", "times_opened"],
        Collection::DeadLetters => &["epoch", "detail"],
        Collection::RawData | Collection::PipelineState => &[],
    }
}

/// The kinds of alerts: the severity of each, and the fields of its subject.
const ALERTS: [(&str, &str, &[&str]); 5] = [
    ("out_of_stock", "critical", &["product_id", "warehouse_id"]),
    ("low_stock", "warning", &["product_id", "warehouse_id"]),
    ("stock_out_soon", "warning", &["product_id"]),
    ("status_mismatch", "info", &["product_id", "warehouse_id"]),
    ("revenue_anomaly", "warning", &["category"]),
];

/// A stored document.
struct Entry {
    digest: u128,
    /// An alert that is over. It stays for ever, with whatever it said last.
    is_resolved: bool,
}

/// What the documents of an epoch say of it, and one of them.
struct Epoch {
    as_of: Option<Millis>,
    collection: Collection,
    id: String,
}

pub(super) struct Comparison {
    digests: Digests,
    stored: [HashMap<Box<str>, Entry>; COMPARED.len()],
    compared: [u64; COMPARED.len()],
    epochs: BTreeMap<i64, Epoch>,
    dead_letter_epochs: BTreeMap<i64, String>,
    pub(super) differences: Differences,
}

fn place(collection: Collection) -> usize {
    COMPARED.iter().position(|compared| *compared == collection).expect("only these are scanned and computed")
}

impl Comparison {
    pub(super) fn new(limit: usize) -> Comparison {
        Comparison {
            digests: Digests::default(),
            stored: Default::default(),
            compared: Default::default(),
            epochs: BTreeMap::new(),
            dead_letter_epochs: BTreeMap::new(),
            differences: Differences::new(limit),
        }
    }

    /// How many documents were there, by [`COMPARED`]'s order.
    pub(super) fn compared(&self) -> impl Iterator<Item = (Collection, u64)> {
        COMPARED.into_iter().zip(self.compared)
    }

    /// Takes a document of the store.
    pub(super) fn stored(&mut self, document: Document) {
        let collection = document.collection;
        self.compared[place(collection)] += 1;
        self.stamps(&document);
        let is_alert = matches!(document.get("type"), Some(Value::Text(kind)) if kind == "alert");
        let is_resolved = matches!(document.get("state"), Some(Value::Text(state)) if state == "resolved");
        if is_alert && collection == Collection::RealTimeMetrics {
            self.alert_history(&document, is_resolved);
        }
        let digest = self.digest(collection, &document.fields);
        let entry = Entry { digest, is_resolved: is_alert && is_resolved };
        // MongoDB and SQLite have one document of an `_id`; two `_id`s that are no text could look the same.
        if self.stored[place(collection)].insert(document.id.as_str().into(), entry).is_some() {
            self.differences.add(collection, document.id, DifferenceKind::Unexpected, Evidence::default());
        }
    }

    /// The digest of what is compared of a document.
    fn digest(&mut self, collection: Collection, fields: &Fields) -> u128 {
        let besides = besides(collection);
        self.digests.of(fields.iter().filter(|(name, _)| !besides.contains(&&**name)))
    }

    /// Epoch and as_of: there, and the same in all documents of an epoch. Their bounds are judged at the end.
    fn stamps(&mut self, document: &Document) {
        let Document { collection, id, .. } = document;
        let of = (*collection, id.as_str());
        let Some(Value::Int(epoch)) = document.get("epoch") else {
            return self.differences.implausible(of, "epoch", document.get("epoch"), String::from("an integer"));
        };
        if *collection == Collection::DeadLetters {
            self.dead_letter_epochs.entry(*epoch).or_insert_with(|| id.clone());
            if !matches!(document.get("detail"), Some(Value::Text(detail)) if !detail.is_empty()) {
                self.differences.implausible(of, "detail", document.get("detail"), String::from("some words"));
            }
            return;
        }
        let as_of = match document.get("as_of") {
            None => None,
            Some(Value::Time(as_of)) => Some(*as_of),
            Some(_) => {
                return self.differences.implausible(of, "as_of", document.get("as_of"), String::from("a time"));
            }
        };
        match self.epochs.get(epoch) {
            None => {
                self.epochs.insert(*epoch, Epoch { as_of, collection: *collection, id: id.clone() });
            }
            Some(known) if known.as_of != as_of => {
                let words = format!("{}, as {} of the same epoch says", super::shown_instant(known.as_of), known.id);
                self.differences.implausible(of, "as_of", document.get("as_of"), words);
            }
            Some(_) => {}
        }
        if *collection == Collection::RealTimeMetrics && document.get("timestamp") != document.get("as_of") {
            let words = format!("{}, its as_of", super::shown_instant(as_of));
            self.differences.implausible(of, "timestamp", document.get("timestamp"), words);
        }
    }

    /// What an alert says of its own past: possible, for nothing else is known of it.
    fn alert_history(&mut self, alert: &Document, is_resolved: bool) {
        let of = (alert.collection, alert.id.as_str());
        let time = |name: &str| match alert.get(name) {
            Some(Value::Time(at)) => Some(*at),
            _ => None,
        };
        let said = |name: &str| match alert.get(name) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        match ALERTS.iter().find(|(kind, ..)| said("kind") == Some(kind)) {
            Some((kind, severity, subject)) => {
                let mut id = format!("alert|{kind}");
                for field in *subject {
                    id.push('|');
                    push_id_part(&mut id, said(field).unwrap_or_default());
                }
                if id != alert.id {
                    let words = format!("that of {id}, as its subject says");
                    self.differences.implausible(of, "_id", Some(&Value::Text(alert.id.clone())), words);
                }
                if said("severity") != Some(severity) {
                    self.differences.implausible(of, "severity", alert.get("severity"), (*severity).to_owned());
                }
            }
            None => self.differences.implausible(of, "kind", alert.get("kind"), String::from("a kind of alert")),
        }
        if said("message").is_none_or(str::is_empty) {
            self.differences.implausible(of, "message", alert.get("message"), String::from("some words"));
        }
        let (as_of, opened, resolved) = (time("as_of"), time("opened_at"), time("resolved_at"));
        if !matches!(alert.get("times_opened"), Some(Value::Int(1..))) {
            let words = String::from("at least 1");
            self.differences.implausible(of, "times_opened", alert.get("times_opened"), words);
        }
        if opened.is_none_or(|opened| as_of.is_none_or(|as_of| opened > as_of)) {
            let words = format!("at most {}, its as_of", super::shown_instant(as_of));
            self.differences.implausible(of, "opened_at", alert.get("opened_at"), words);
        }
        let is_right = match is_resolved {
            true => resolved.is_some_and(|resolved| opened <= Some(resolved) && Some(resolved) <= as_of),
            false => alert.get("resolved_at").is_none(),
        };
        if !is_right {
            let words = if is_resolved { "a time from opened_at to as_of" } else { "nothing, for it is open" };
            self.differences.implausible(of, "resolved_at", alert.get("resolved_at"), String::from(words));
        }
    }

    /// Forgets what was taken of a scan that is begun anew.
    pub(super) fn begin(&mut self, limit: usize) {
        *self = Comparison::new(limit);
    }

    /// Holds what the documents say of epochs against `progress`.
    pub(super) fn judge_epochs(&mut self, progress: &Progress) {
        let last = i64::try_from(progress.epoch).unwrap_or(i64::MAX);
        let possible = |epoch: i64| (1..=last).contains(&epoch);
        let mut newest: Option<(i64, Millis)> = None;
        for (epoch, Epoch { as_of, collection, id }) in &self.epochs {
            let of = (*collection, id.as_str());
            if !possible(*epoch) {
                let words = format!("from 1 to {last}, the committed epoch");
                self.differences.implausible(of, "epoch", Some(&Value::Int(*epoch)), words);
            }
            let Some(at) = *as_of else { continue };
            if progress.as_of.is_none_or(|committed| at > committed) {
                let words = format!("at most {}, that of the commit", super::shown_instant(progress.as_of));
                self.differences.implausible(of, "as_of", Some(&Value::Time(at)), words);
            } else if let Some((before, earlier)) = newest.filter(|(_, earlier)| *earlier > at) {
                let words = format!("at least {}, that of epoch {before}", super::shown_instant(Some(earlier)));
                self.differences.implausible(of, "as_of", Some(&Value::Time(at)), words);
            }
            newest = Some((*epoch, at));
        }
        for (epoch, id) in &self.dead_letter_epochs {
            if !possible(*epoch) {
                let words = format!("from 1 to {last}, the committed epoch");
                let of = (Collection::DeadLetters, id.as_str());
                self.differences.implausible(of, "epoch", Some(&Value::Int(*epoch)), words);
            }
        }
    }

    /// Takes a document that should be there, and compares it.
    pub(super) fn expected(&mut self, document: Document) {
        let Document { collection, id, fields } = document;
        let Some(entry) = self.stored[place(collection)].remove(id.as_str()) else {
            return self.differences.add(collection, id, DifferenceKind::Missing, Evidence::default());
        };
        if self.digest(collection, &fields) != entry.digest {
            let evidence = Evidence { expected: Some(fields), ..Evidence::default() };
            self.differences.add(collection, id, DifferenceKind::Differs, evidence);
        }
    }

    /// Judges what no computed document has asked for, but for documents of these types.
    pub(super) fn judge_the_rest(&mut self, passed_over: &[String]) {
        let is_passed_over =
            |id: &str| id.split_once('|').is_some_and(|(kind, _)| passed_over.iter().any(|it| it == kind));
        for (collection, stored) in COMPARED.into_iter().zip(&mut self.stored) {
            for (id, entry) in stored.drain() {
                if !entry.is_resolved && !is_passed_over(&id) {
                    self.differences.add(collection, id.into(), DifferenceKind::Unexpected, Evidence::default());
                }
            }
        }
    }

    /// Fields of a document that are wrong on their own.
    pub(super) fn wrong(&mut self, collection: Collection, id: String, fields: Vec<FieldDifference>) {
        self.differences.add(collection, id, DifferenceKind::Differs, Evidence { fields, ..Evidence::default() });
    }
}

/// The fields of a dead letter that decide, in the form in which both sides can have them.
pub(super) fn comparable_letter(fields: Fields, form: &dyn Fn(Value) -> Value) -> Fields {
    fields
        .into_iter()
        .filter_map(|(name, value)| match (&*name, value) {
            // A key of no bytes is no key.
            ("key", Value::Bytes(key)) if key.is_empty() => None,
            ("value", value) => Some((name, form(value))),
            (_, value) => Some((name, value)),
        })
        .collect()
}
