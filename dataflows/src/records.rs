//! What a topic's records mean once they are read: the three record types, their units, and the words
//! for what became of a record.
//!
//! Nothing here knows JSON or Kafka; `tillflow::codec` turns bytes into these types.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// An identifier or other short text taken from the stream. Up to 24 bytes are stored inline.
pub type Text = CompactString;

/// An instant, in milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// An exact amount of money, in 1/10,000 of the currency's unit.
///
/// One record's amount is at most 10^11 units (10^15 here), see [`Money::BOUND`]. Sums are kept in `i128`
/// and cannot overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Money(pub i64);

impl Money {
    /// How many of these make one unit of the currency.
    pub const SCALE: i64 = 10_000;
    /// The greatest absolute value that a record may carry: 10^11 units.
    pub const BOUND: i64 = 100_000_000_000 * Self::SCALE;
}

/// A topic, by its plain name (without `--topic-prefix`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// `user_activity`, keyed by user_id.
    UserActivity,
    /// `sales`, keyed by transaction_id.
    Sales,
    /// `inventory`, keyed by product_id.
    Inventory,
}

impl Topic {
    /// Every topic, in the order of their names in documents.
    pub const ALL: [Topic; 3] = [Topic::UserActivity, Topic::Sales, Topic::Inventory];

    /// The topic's plain name.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::UserActivity => "user_activity",
            Topic::Sales => "sales",
            Topic::Inventory => "inventory",
        }
    }

    /// The topic of that plain name.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The field whose value is the record's Kafka key.
    pub const fn key_field(self) -> &'static str {
        match self {
            Topic::UserActivity => "user_id",
            Topic::Sales => "transaction_id",
            Topic::Inventory => "product_id",
        }
    }
}

/// One row of the `sales` topic. Its texts are its own, or borrowed from the record while that is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sale<T = Text> {
    /// Identifies the transaction within its partition.
    pub transaction_id: T,
    /// The buyer.
    pub user_id: T,
    /// What was bought.
    pub product_id: T,
    /// Pieces; never 0, negative for a return, |n| <= 10^9.
    pub quantity: i64,
    /// Price of one piece.
    pub unit_price: Money,
    /// What the row adds to revenue.
    pub total_amount: Money,
    /// How it was paid.
    pub payment_method: T,
    /// Event time.
    pub timestamp: Millis,
    /// The shop.
    pub store_id: T,
    /// The product's category as the sale gives it.
    pub category: T,
}

impl<T> Sale<T> {
    /// The same sale, its texts given by `text`.
    pub fn with<'a, U>(&'a self, text: impl Fn(&'a T) -> U) -> Sale<U> {
        Sale {
            transaction_id: text(&self.transaction_id),
            user_id: text(&self.user_id),
            product_id: text(&self.product_id),
            quantity: self.quantity,
            unit_price: self.unit_price,
            total_amount: self.total_amount,
            payment_method: text(&self.payment_method),
            timestamp: self.timestamp,
            store_id: text(&self.store_id),
            category: text(&self.category),
        }
    }
}

impl<T: AsRef<str>> Sale<T> {
    /// The same sale with this one's texts.
    pub fn borrowed(&self) -> Sale<&str> {
        self.with(AsRef::as_ref)
    }

    /// The same sale with texts of its own.
    pub fn owned(&self) -> Sale {
        self.with(|text| Text::from(text.as_ref()))
    }
}

/// One row of the `user_activity` topic, as far as a view reads it. Its texts are its own, or borrowed from the record while
/// that is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Activity<T = Text> {
    /// Who acted.
    pub user_id: T,
    /// `login`, `logout`, `page_view`, `search`, `purchase`, `add_to_cart`, `checkout`, or any other word.
    pub activity_type: T,
    /// Event time.
    pub timestamp: Millis,
    /// The session as the producer names it.
    pub session_id: T,
    /// The product seen or bought.
    pub product_id: Option<T>,
    /// The amount of a purchase.
    pub amount: Option<Money>,
}

impl<T> Activity<T> {
    /// The same activity, its texts given by `text`.
    pub fn with<'a, U>(&'a self, text: impl Fn(&'a T) -> U) -> Activity<U> {
        Activity {
            user_id: text(&self.user_id),
            activity_type: text(&self.activity_type),
            timestamp: self.timestamp,
            session_id: text(&self.session_id),
            product_id: self.product_id.as_ref().map(&text),
            amount: self.amount,
        }
    }
}

impl<T: AsRef<str>> Activity<T> {
    /// The same activity with this one's texts.
    pub fn borrowed(&self) -> Activity<&str> {
        self.with(AsRef::as_ref)
    }

    /// The same activity with texts of its own.
    pub fn owned(&self) -> Activity {
        self.with(|text| Text::from(text.as_ref()))
    }
}

/// One row of the `inventory` topic: the stock of a product in a warehouse at an instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StockLevel {
    /// The product.
    pub product_id: Text,
    /// The warehouse.
    pub warehouse_id: Text,
    /// Pieces on hand; may be negative; |n| <= 10^9.
    pub current_stock: i64,
    /// At or below this many pieces the stock is low.
    pub reorder_level: i64,
    /// Event time.
    pub last_updated: Millis,
    /// The product's category as the inventory gives it.
    pub category: Text,
    /// The status as reported, whatever its words.
    pub status: Option<Text>,
}

/// What became of a record. Each record has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Counted in every view.
    Accepted,
    /// A known transaction_id with other content: the old row retracted, the new one added.
    Correction,
    /// A known transaction_id with the same ten fields: no effect.
    Duplicate,
    /// A tombstone: old rows retracted.
    Cancelled,
    /// Older than the partition clock less the correction window: a dead letter.
    Late,
    /// Dated after its Kafka timestamp by more than `--max-future`: a dead letter, moves no clock.
    Quarantined,
    /// Cannot be read: a dead letter.
    Rejected,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 7] = [
        Outcome::Accepted,
        Outcome::Correction,
        Outcome::Duplicate,
        Outcome::Cancelled,
        Outcome::Late,
        Outcome::Quarantined,
        Outcome::Rejected,
    ];

    /// The outcome's name in documents and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Correction => "correction",
            Outcome::Duplicate => "duplicate",
            Outcome::Cancelled => "cancelled",
            Outcome::Late => "late",
            Outcome::Quarantined => "quarantined",
            Outcome::Rejected => "rejected",
        }
    }
}

/// Why a record became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The value is over 1 MiB, or an identifier over 256 bytes.
    TooLarge,
    /// No value where a value is needed.
    NullValue,
    /// The value is not UTF-8.
    InvalidUtf8,
    /// The value is not JSON (RFC 8259), or nests deeper than 128.
    InvalidJson,
    /// The value is not an object, or a field's type is not the contract's.
    WrongType,
    /// A top-level field is given twice.
    DuplicateField,
    /// A required field is absent or null.
    MissingField,
    /// Empty identifier, quantity 0, an integer or rounded amount beyond its bound.
    OutOfRange,
    /// A string that should be money is no JSON number.
    BadMoney,
    /// A time that cannot be read.
    BadTimestamp,
    /// The record's outcome is [`Outcome::Late`].
    Late,
    /// The record's outcome is [`Outcome::Quarantined`].
    FutureTimestamp,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 12] = [
        Reason::TooLarge,
        Reason::NullValue,
        Reason::InvalidUtf8,
        Reason::InvalidJson,
        Reason::WrongType,
        Reason::DuplicateField,
        Reason::MissingField,
        Reason::OutOfRange,
        Reason::BadMoney,
        Reason::BadTimestamp,
        Reason::Late,
        Reason::FutureTimestamp,
    ];

    /// The reason's name in documents and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::TooLarge => "too_large",
            Reason::NullValue => "null_value",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::InvalidJson => "invalid_json",
            Reason::WrongType => "wrong_type",
            Reason::DuplicateField => "duplicate_field",
            Reason::MissingField => "missing_field",
            Reason::OutOfRange => "out_of_range",
            Reason::BadMoney => "bad_money",
            Reason::BadTimestamp => "bad_timestamp",
            Reason::Late => "late",
            Reason::FutureTimestamp => "future_timestamp",
        }
    }
}
