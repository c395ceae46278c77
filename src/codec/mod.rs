//! The bytes of a record's value, read as the contract has it: a record, or the one reason why it is none.
//!
//! ```text
//! bytes ─► size, UTF-8 ─► flat::split ─► json::split ─► fields: missing? content? ─► Sale | Activity | StockLevel
//!                         (short way)    (if in doubt)                               or Rejection
//! ```
//!
//! It never panics, whatever the bytes, takes time linear in their number, and knows no Kafka, clock or store.
//! What becomes of a record without a value (a tombstone) is for the caller to decide.

mod fields;
mod flat;
mod json;
mod money;
mod number;
mod rejection;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;

use chrono_tz::Tz;
use tillflow_dataflows::admission::Reading;
use tillflow_dataflows::records::{Activity, Millis, Reason, Sale, StockLevel, Text, Topic};

use fields::Field;
use json::Token;
pub use money::{MoneyFault, parse_money};
pub use rejection::Rejection;
pub use time::parse_timestamp;

/// The most bytes of a value that is looked at: 1 MiB.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// The fields of a sale, all required, in the order in which faults are looked for.
const SALE: [&str; 10] = [
    "transaction_id",
    "user_id",
    "product_id",
    "quantity",
    "unit_price",
    "total_amount",
    "payment_method",
    "timestamp",
    "store_id",
    "category",
];

/// The fields of an activity, the first four required, in the order in which faults are looked for.
const ACTIVITY: [&str; 8] =
    ["user_id", "activity_type", "timestamp", "session_id", "ip_address", "user_agent", "product_id", "amount"];

/// The fields of a stock level, all but the last required, in the order in which faults are looked for.
const STOCK_LEVEL: [&str; 7] =
    ["product_id", "current_stock", "reorder_level", "last_updated", "warehouse_id", "category", "status"];

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<T = Text> {
    /// From `sales`.
    Sale(Sale<T>),
    /// From `user_activity`.
    Activity(Activity<T>),
    /// From `inventory`.
    StockLevel(StockLevel),
}

impl<T> Record<T> {
    /// When it happened, as the record itself says.
    pub fn event_time(&self) -> Millis {
        match self {
            Record::Sale(sale) => sale.timestamp,
            Record::Activity(activity) => activity.timestamp,
            Record::StockLevel(level) => level.last_updated,
        }
    }
}

/// What is left to decide about it, while it stays where it is: it is large.
impl<'a, T: AsRef<str>> From<&'a Record<T>> for Reading<'a> {
    #[inline]
    fn from(record: &'a Record<T>) -> Reading<'a> {
        match record {
            Record::Sale(sale) => Reading::Sale(sale.borrowed()),
            Record::Activity(activity) => Reading::Activity(activity.borrowed()),
            Record::StockLevel(level) => Reading::StockLevel(level.clone()),
        }
    }
}

/// Reads values. It holds nothing but the zone, so that each worker may have its own.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    zone: Tz,
}

impl Decoder {
    /// A decoder that reads times without a zone in `zone`.
    pub fn new(zone: Tz) -> Decoder {
        Decoder { zone }
    }

    /// Reads a value of `topic`.
    pub fn decode(&self, topic: Topic, value: &[u8]) -> Result<Record, Rejection> {
        self.record(topic, value)
    }

    /// The same, and the texts stay where they are, but for those that are written with escapes.
    pub fn decode_in_place<'a>(&self, topic: Topic, value: &'a [u8]) -> Result<Record<Cow<'a, str>>, Rejection> {
        self.record(topic, value)
    }

    /// Reads a value of `sales`. Values that differ only in spelling give equal sales.
    pub fn decode_sale(&self, value: &[u8]) -> Result<Sale, Rejection> {
        self.sale(value)
    }

    /// Reads a value of `user_activity`.
    pub fn decode_activity(&self, value: &[u8]) -> Result<Activity, Rejection> {
        self.activity(value)
    }

    #[inline]
    fn record<'a, T: From<Cow<'a, str>>>(&self, topic: Topic, value: &'a [u8]) -> Result<Record<T>, Rejection> {
        match topic {
            Topic::Sales => self.sale(value).map(Record::Sale),
            Topic::UserActivity => self.activity(value).map(Record::Activity),
            Topic::Inventory => self.decode_stock_level(value).map(Record::StockLevel),
        }
    }

    fn sale<'a, T: From<Cow<'a, str>>>(&self, value: &'a [u8]) -> Result<Sale<T>, Rejection> {
        let [
            transaction_id,
            user_id,
            product_id,
            quantity,
            unit_price,
            total_amount,
            payment_method,
            timestamp,
            store_id,
            category,
        ] = read(value, &SALE, SALE.len())?;
        // The contract's order of faults is the order of these lines.
        Ok(Sale {
            transaction_id: transaction_id.identifier()?,
            user_id: user_id.identifier()?,
            product_id: product_id.identifier()?,
            quantity: quantity.integer_but_zero()?,
            unit_price: unit_price.money()?,
            total_amount: total_amount.money()?,
            payment_method: payment_method.identifier()?,
            timestamp: timestamp.time(self.zone)?,
            store_id: store_id.identifier()?,
            category: category.identifier()?,
        })
    }

    fn activity<'a, T: From<Cow<'a, str>>>(&self, value: &'a [u8]) -> Result<Activity<T>, Rejection> {
        let [user_id, activity_type, timestamp, session_id, ip_address, user_agent, product_id, amount] =
            read(value, &ACTIVITY, 4)?;
        // The contract's order of faults is the order of these lines.
        let user_id = user_id.identifier()?;
        let activity_type = activity_type.identifier()?;
        let timestamp = timestamp.time(self.zone)?;
        let session_id = session_id.identifier()?;
        ip_address.given().map(Field::check_text).transpose()?;
        user_agent.given().map(Field::check_text).transpose()?;
        let product_id = product_id.given().map(Field::identifier).transpose()?;
        let amount = amount.given().map(Field::money).transpose()?;
        Ok(Activity { user_id, activity_type, timestamp, session_id, product_id, amount })
    }

    /// Reads a value of `inventory`.
    pub fn decode_stock_level(&self, value: &[u8]) -> Result<StockLevel, Rejection> {
        let [product_id, current_stock, reorder_level, last_updated, warehouse_id, category, status] =
            read(value, &STOCK_LEVEL, 6)?;
        // The contract's order of faults is the order of these lines.
        let product_id = product_id.identifier()?;
        let current_stock = current_stock.integer()?;
        let reorder_level = reorder_level.integer()?;
        let last_updated = last_updated.time(self.zone)?;
        let warehouse_id = warehouse_id.identifier()?;
        let category = category.identifier()?;
        let status = status.given().map(Field::text).transpose()?;
        Ok(StockLevel { product_id, warehouse_id, current_stock, reorder_level, last_updated, category, status })
    }
}

/// The fields `names` of a value, of which the first `required` are there. In one piece with who reads them: they would be
/// copied to be handed over, which takes longer than most of what is done with them.
#[inline(always)]
fn read<'a, const N: usize>(
    value: &'a [u8],
    names: &[&'static str; N],
    required: usize,
) -> Result<[Field<'a>; N], Rejection> {
    if value.len() > VALUE_BYTES_MAX {
        let what = format!("{} bytes, a value has at most {VALUE_BYTES_MAX}", value.len());
        return Err(Rejection::new(Reason::TooLarge, what));
    }
    let text = std::str::from_utf8(value).map_err(|error| Rejection::new(Reason::InvalidUtf8, error.to_string()))?;
    let mut tokens = [Token::Absent; N];
    if flat::split_into(text, names, &mut tokens).is_none() {
        tokens = json::split(text, names)?;
    }
    let fields = std::array::from_fn(|index| Field { name: names[index], token: tokens[index] });
    match fields[..required].iter().find(|field| !field.is_given()) {
        Some(field) => Err(field.missing()),
        None => Ok(fields),
    }
}
