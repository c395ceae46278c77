//! Alerts: conditions hold or do not, an alert remembers. It opens, stays when it is resolved, and opens again.

use std::collections::BTreeMap;

use tillflow_dataflows::outputs::{AlertKind, StockKey};
use tillflow_dataflows::records::{Millis, StockLevel};

use super::EngineError;
use super::documents::{Stamp, subject_id};
use crate::document::{Collection, Document, Fields, Value};

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
}

/// What the condition of an alert is now.
pub(super) type Condition = Option<Box<StockLevel>>;

/// The `_id` of an alert.
pub(super) fn alert_id(kind: AlertKind, subject: &StockKey) -> String {
    subject_id(&format!("alert|{}", kind.name()), subject)
}

impl AlertBook {
    /// The alerts that a store holds.
    pub(super) fn load(documents: Vec<Document>) -> Result<AlertBook, EngineError> {
        let mut alerts = BTreeMap::new();
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
            let fields = document.fields.into_iter().filter(|(name, _)| name != "epoch" && name != "as_of").collect();
            alerts.insert(document.id, Alert { open, times_opened, fields });
        }
        Ok(AlertBook { alerts })
    }

    /// The `_id`s of the alerts that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        self.alerts.iter().filter(|(_, alert)| alert.open).map(|(id, _)| id.as_str())
    }

    /// Takes the condition of one alert as of an epoch, and returns the document to write, if any.
    pub(super) fn apply(
        &mut self,
        kind: AlertKind,
        subject: &StockKey,
        condition: Condition,
        stamp: Stamp,
    ) -> Option<Document> {
        let id = alert_id(kind, subject);
        match condition {
            Some(level) => {
                let known = self.alerts.get(&id);
                let still_open = known.filter(|alert| alert.open);
                let opened_at = still_open.map_or(stamp.as_of, |alert| instant(&alert.fields, "opened_at"));
                let times_opened = known.map_or(0, |alert| alert.times_opened) + i64::from(still_open.is_none());
                let fields = open_fields(kind, &level, opened_at, times_opened, stamp.as_of);
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
            match (name.as_str(), stamp.as_of) {
                ("state", _) => *value = Value::Text(String::from("resolved")),
                ("timestamp", Some(as_of)) => *value = Value::Time(as_of),
                _ => {}
            }
        }
        alert.fields.extend(stamp.as_of.map(|as_of| (String::from("resolved_at"), Value::Time(as_of))));
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
    level: &StockLevel,
    opened_at: Option<Millis>,
    times_opened: i64,
    as_of: Option<Millis>,
) -> Fields {
    let StockLevel { product_id, warehouse_id, current_stock, reorder_level, .. } = level;
    let text = |name: &str, value: &str| (name.to_owned(), Value::Text(value.to_owned()));
    let int = |name: &str, value: i64| (name.to_owned(), Value::Int(value));
    let time = |name: &str, value: Option<Millis>| value.map(|value| (name.to_owned(), Value::Time(value)));
    let message = match kind {
        AlertKind::OutOfStock => format!("{product_id} is out of stock in {warehouse_id}: {current_stock} on hand"),
        AlertKind::LowStock => {
            format!("{product_id} is low in {warehouse_id}: {current_stock} on hand, reorder level {reorder_level}")
        }
    };
    let mut fields = vec![text("type", "alert"), text("kind", kind.name()), text("severity", kind.severity())];
    fields.extend(time("timestamp", as_of));
    fields.extend([
        text("product_id", product_id),
        text("warehouse_id", warehouse_id),
        text("message", &message),
        text("state", "open"),
    ]);
    fields.extend(time("opened_at", opened_at));
    fields.push(int("times_opened", times_opened));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(current_stock: i64) -> Box<StockLevel> {
        Box::new(StockLevel {
            product_id: "p".into(),
            warehouse_id: "w".into(),
            current_stock,
            reorder_level: 5,
            last_updated: 0,
            category: "c".into(),
            status: None,
        })
    }

    #[test]
    fn an_alert_stays_when_resolved_and_opens_again_with_a_new_opening() {
        let subject = StockKey { product_id: "p".into(), warehouse_id: "w".into() };
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
        let mut book = AlertBook::load(vec![resolved]).unwrap();
        let again = apply(&mut book, Some(level(1)), 5, 500).unwrap();
        assert_eq!(
            (again.get("opened_at"), again.get("times_opened")),
            (Some(&Value::Time(500)), Some(&Value::Int(2)))
        );
        assert_eq!(again.get("resolved_at"), None);
    }
}
