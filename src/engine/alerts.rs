//! Alerts: conditions hold or do not, an alert remembers. It opens, stays when it is resolved, and opens again.

use std::collections::{BTreeMap, BTreeSet};

use tillflow_dataflows::outputs::{AlertKind, RowBody, Subject};
use tillflow_dataflows::records::Millis;

use super::EngineError;
use super::documents::{Stamp, days_of_supply, stock_id_parts};
use crate::document::{Collection, Document, Fields, Value, decimal_text, push_id_part};

/// What an alert remembers between commits.
#[derive(Clone, Debug, PartialEq)]
struct Alert {
    open: bool,
    times_opened: i64,
    /// The document's fields, epoch and as_of not among them.
    fields: Fields,
}

/// Every alert there ever was, by its `_id`. As many as there are kinds and subjects.
#[derive(Debug, Default)]
pub(super) struct AlertBook {
    alerts: BTreeMap<String, Alert>,
    /// Those whose documents speak of an instant after the committed one.
    ahead: BTreeSet<String>,
}

/// What the condition of an alert is now: the row that it holds for, if it holds.
pub(super) type Condition = Option<RowBody>;

/// The `_id` of an alert.
pub(super) fn alert_id(kind: AlertKind, subject: &Subject) -> String {
    let mut id = format!("alert|{}|", kind.name());
    match subject {
        Subject::Stock(key) => stock_id_parts(&mut id, key),
        Subject::Product(part) | Subject::Category(part) => push_id_part(&mut id, part),
    }
    id
}

impl AlertBook {
    /// The alerts that a store holds as of its last commit. Where a commit is not one transaction, one that was cut off
    /// may have left alerts of an instant that never was: what they say of it is taken back as far as it can be known, and
    /// they are among [`AlertBook::ahead`] until they have been written again.
    pub(super) fn load(documents: Vec<Document>, as_of: Option<Millis>) -> Result<AlertBook, EngineError> {
        let mut alerts = BTreeMap::new();
        let mut ahead = BTreeSet::new();
        for document in documents {
            let (Some(Value::Text(state)), Some(Value::Int(times_opened))) =
                (document.get("state"), document.get("times_opened"))
            else {
                return Err(EngineError::Refused(format!(
                    "the alert {} in the store has no state or no times_opened: remove the document, or use an empty \
                     store",
                    document.id
                )));
            };
            let (open, times_opened) = (state == "open", *times_opened);
            let is_ahead = |name: &str| instant(&document.fields, name) > as_of;
            if is_ahead("as_of") {
                ahead.insert(document.id.clone());
            }
            let mut alert = Alert { open, times_opened, fields: Fields::new() };
            let (opened, resolved) = (is_ahead("opened_at"), is_ahead("resolved_at"));
            for (name, value) in document.fields {
                let value = match (&*name, as_of) {
                    ("epoch" | "as_of", _) => continue,
                    ("resolved_at", _) if resolved => {
                        alert.open = true;
                        continue;
                    }
                    ("opened_at", Some(as_of)) if opened => Value::Time(as_of),
                    _ => value,
                };
                alert.fields.push((name, value));
            }
            alerts.insert(document.id, alert);
        }
        Ok(AlertBook { alerts, ahead })
    }

    /// The `_id`s of the alerts whose documents have to be written whether their conditions have changed or not. None a
    /// second time.
    pub(super) fn ahead(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.ahead)
    }

    /// The `_id`s of the alerts that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        self.alerts.iter().filter(|(_, alert)| alert.open).map(|(id, _)| id.as_str())
    }

    /// Whether an open alert tells people something else of its condition than what is so.
    pub(super) fn misstates(&self, kind: AlertKind, subject: &Subject, body: &RowBody) -> bool {
        let alert = self.alerts.get(&alert_id(kind, subject)).filter(|alert| alert.open);
        let said =
            |alert: &Alert| alert.fields.iter().find(|(name, _)| name == "message").map(|(_, value)| value.clone());
        alert.is_some_and(|alert| said(alert) != Some(Value::Text(message(kind, subject, body))))
    }

    /// Takes the condition of one alert as of an epoch, and returns the document to write, if any.
    pub(super) fn apply(
        &mut self,
        kind: AlertKind,
        subject: &Subject,
        condition: Condition,
        stamp: Stamp,
    ) -> Option<Document> {
        let id = alert_id(kind, subject);
        match condition {
            Some(body) => {
                let known = self.alerts.get(&id);
                let still_open = known.filter(|alert| alert.open);
                let opened_at = still_open.map_or(stamp.as_of, |alert| instant(&alert.fields, "opened_at"));
                let times_opened = known.map_or(0, |alert| alert.times_opened) + i64::from(still_open.is_none());
                let fields = open_fields(kind, (subject, &body), opened_at, times_opened, stamp.as_of);
                self.alerts.insert(id.clone(), Alert { open: true, times_opened, fields: fields.clone() });
                Some(written(id, fields, stamp))
            }
            None => self.resolve(&id, stamp),
        }
    }

    /// Resolves an alert by its `_id`, if it is open.
    pub(super) fn resolve(&mut self, id: &str, stamp: Stamp) -> Option<Document> {
        let alert = self.alerts.get_mut(id).filter(|alert| alert.open)?;
        alert.open = false;
        for (name, value) in &mut alert.fields {
            match (&**name, stamp.as_of) {
                ("state", _) => *value = Value::Text(String::from("resolved")),
                ("timestamp", Some(as_of)) => *value = Value::Time(as_of),
                _ => {}
            }
        }
        alert.fields.extend(stamp.as_of.map(|as_of| ("resolved_at".into(), Value::Time(as_of))));
        Some(written(id.to_owned(), alert.fields.clone(), stamp))
    }
}

fn instant(fields: &Fields, name: &str) -> Option<Millis> {
    fields.iter().find(|(field, _)| field == name).and_then(|(_, value)| match value {
        Value::Time(instant) => Some(*instant),
        _ => None,
    })
}

fn written(id: String, mut fields: Fields, stamp: Stamp) -> Document {
    fields.extend(stamp.fields());
    Document { collection: Collection::RealTimeMetrics, id, fields }
}

fn open_fields(
    kind: AlertKind,
    (subject, body): (&Subject, &RowBody),
    opened_at: Option<Millis>,
    times_opened: i64,
    as_of: Option<Millis>,
) -> Fields {
    let text = |name: &'static str, value: &str| (name.into(), Value::Text(value.to_owned()));
    let int = |name: &'static str, value: i64| (name.into(), Value::Int(value));
    let time = |name: &'static str, value: Option<Millis>| value.map(|value| (name.into(), Value::Time(value)));
    let mut fields: Fields = vec![text("type", "alert"), text("kind", kind.name()), text("severity", kind.severity())];
    fields.extend(time("timestamp", as_of));
    fields.extend(match subject {
        Subject::Stock(key) => vec![text("product_id", &key.product_id), text("warehouse_id", &key.warehouse_id)],
        Subject::Product(product) => vec![text("product_id", product)],
        Subject::Category(category) => vec![text("category", category)],
    });
    fields.extend([text("message", &message(kind, subject, body)), text("state", "open")]);
    fields.extend(time("opened_at", opened_at));
    fields.push(int("times_opened", times_opened));
    fields
}

/// What a person is told.
fn message(kind: AlertKind, subject: &Subject, body: &RowBody) -> String {
    match (kind, subject, body) {
        (_, Subject::Stock(key), RowBody::Stock(level)) => {
            let (product, warehouse) = (&key.product_id, &key.warehouse_id);
            let (stock, reorder_level) = (level.current_stock, level.reorder_level);
            let status = level.status.as_deref().unwrap_or_default();
            match kind {
                AlertKind::OutOfStock => format!("{product} is out of stock in {warehouse}: {stock} on hand"),
                AlertKind::LowStock => {
                    format!("{product} is low in {warehouse}: {stock} on hand, reorder level {reorder_level}")
                }
                _ => format!(
                    "{product} is reported {status} in {warehouse}: {stock} on hand, reorder level {reorder_level}"
                ),
            }
        }
        (_, Subject::Product(product), RowBody::Supply(supply)) => format!(
            "{product} is out soon: {} on hand, {} sold in 7 days, {} days of supply",
            supply.stock,
            supply.units_sold,
            decimal_text(days_of_supply(supply).unwrap_or_default(), 1)
        ),
        (_, Subject::Category(category), RowBody::Anomaly(anomaly)) => format!(
            "{category}: {} in the last whole hour, {} in the 24 hours before",
            decimal_text(anomaly.revenue, 4),
            decimal_text(anomaly.base, 4)
        ),
        (kind, subject, body) => panic!("the alert {kind:?} of {subject:?} has the body {body:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tillflow_dataflows::outputs::StockKey;
    use tillflow_dataflows::records::StockLevel;

    fn level(current_stock: i64) -> RowBody {
        RowBody::Stock(Box::new(StockLevel {
            product_id: "p".into(),
            warehouse_id: "w".into(),
            current_stock,
            reorder_level: 5,
            last_updated: 0,
            category: "c".into(),
            status: None,
        }))
    }

    #[test]
    fn an_alert_stays_when_resolved_and_opens_again_with_a_new_opening() {
        let subject = Subject::Stock(StockKey { product_id: "p".into(), warehouse_id: "w".into() });
        let mut book = AlertBook::default();
        let apply = |book: &mut AlertBook, condition, epoch, as_of| {
            book.apply(AlertKind::LowStock, &subject, condition, Stamp { epoch, as_of: Some(as_of) })
        };
        let opened = apply(&mut book, Some(level(3)), 1, 100).unwrap();
        assert_eq!(opened.get("opened_at"), Some(&Value::Time(100)));
        let updated = apply(&mut book, Some(level(2)), 2, 200).unwrap();
        assert_eq!(
            (updated.get("opened_at"), updated.get("times_opened")),
            (Some(&Value::Time(100)), Some(&Value::Int(1)))
        );
        let resolved = apply(&mut book, None, 3, 300).unwrap();
        assert_eq!(resolved.get("state"), Some(&Value::Text("resolved".into())));
        assert_eq!(resolved.get("resolved_at"), Some(&Value::Time(300)));
        assert!(apply(&mut book, None, 4, 400).is_none());
        let mut book = AlertBook::load(vec![resolved], Some(400)).unwrap();
        assert!(book.ahead().is_empty());
        let again = apply(&mut book, Some(level(1)), 5, 500).unwrap();
        assert_eq!(
            (again.get("opened_at"), again.get("times_opened")),
            (Some(&Value::Time(500)), Some(&Value::Int(2)))
        );
        assert_eq!(again.get("resolved_at"), None);
    }

    #[test]
    fn what_an_open_alert_says_is_held_against_what_is_so() {
        let subject = Subject::Stock(StockKey { product_id: "p".into(), warehouse_id: "w".into() });
        let misstates = |book: &AlertBook, stock| book.misstates(AlertKind::LowStock, &subject, &level(stock));
        let mut book = AlertBook::default();
        assert!(!misstates(&book, 3), "there is none");
        let stamp = Stamp { epoch: 1, as_of: Some(100) };
        let opened = book.apply(AlertKind::LowStock, &subject, Some(level(3)), stamp).unwrap();
        let mut book = AlertBook::load(vec![opened], Some(100)).unwrap();
        assert!(!misstates(&book, 3));
        assert!(misstates(&book, 2));
        book.apply(AlertKind::LowStock, &subject, None, stamp).unwrap();
        assert!(!misstates(&book, 2), "a resolved one says what was");
    }

    #[test]
    fn what_a_commit_that_was_cut_off_says_of_an_alert_is_taken_back() {
        let subject = Subject::Stock(StockKey { product_id: "p".into(), warehouse_id: "w".into() });
        let apply = |book: &mut AlertBook, condition, epoch, as_of| {
            book.apply(AlertKind::LowStock, &subject, condition, Stamp { epoch, as_of: Some(as_of) })
        };
        let mut book = AlertBook::default();
        let opened = apply(&mut book, Some(level(3)), 1, 100).unwrap();
        let resolved = apply(&mut book, None, 2, 200).unwrap();
        // Its opening never was: it cannot be later than what is committed.
        let mut book = AlertBook::load(vec![opened.clone()], Some(50)).unwrap();
        assert_eq!(book.ahead(), BTreeSet::from([opened.id.clone()]));
        assert_eq!((book.open().count(), book.ahead().len()), (1, 0));
        let again = apply(&mut book, Some(level(3)), 3, 60).unwrap();
        assert_eq!(again.get("opened_at"), Some(&Value::Time(50)));
        // Its end never was: it is open as it has been.
        let mut book = AlertBook::load(vec![resolved.clone()], Some(150)).unwrap();
        assert_eq!((book.open().count(), book.ahead().len()), (1, 1));
        let again = apply(&mut book, Some(level(3)), 3, 160).unwrap();
        assert_eq!(again.get("opened_at"), Some(&Value::Time(100)));
        assert_eq!((again.get("resolved_at"), again.get("state")), (None, Some(&Value::Text("open".into()))));
        // All of it was.
        let mut book = AlertBook::load(vec![resolved], Some(200)).unwrap();
        assert_eq!((book.open().count(), book.ahead().len()), (0, 0));
    }
}
