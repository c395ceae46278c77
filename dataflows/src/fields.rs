//! The fields of records by name, for views that are described rather than written.

use serde::{Deserialize, Serialize};

use crate::records::{Activity, Millis, Sale, StockLevel, Text, Topic};

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Money, in 1/10,000.
    Money,
    /// An instant, in milliseconds since 1970.
    Time,
}

/// A field of a topic's records, by the contract's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is called as its field is")]
pub enum Field {
    ActivityType,
    Amount,
    Category,
    CurrentStock,
    LastUpdated,
    PaymentMethod,
    ProductId,
    Quantity,
    ReorderLevel,
    SessionId,
    Status,
    StoreId,
    Timestamp,
    TotalAmount,
    TransactionId,
    UnitPrice,
    UserId,
    WarehouseId,
}

impl Field {
    /// The fields of a topic's records, as far as they are decoded.
    pub const fn of(topic: Topic) -> &'static [Field] {
        match topic {
            Topic::Sales => &[
                Field::TransactionId,
                Field::UserId,
                Field::ProductId,
                Field::Quantity,
                Field::UnitPrice,
                Field::TotalAmount,
                Field::PaymentMethod,
                Field::Timestamp,
                Field::StoreId,
                Field::Category,
            ],
            Topic::UserActivity => &[
                Field::UserId,
                Field::ActivityType,
                Field::Timestamp,
                Field::SessionId,
                Field::ProductId,
                Field::Amount,
            ],
            Topic::Inventory => &[
                Field::ProductId,
                Field::WarehouseId,
                Field::CurrentStock,
                Field::ReorderLevel,
                Field::LastUpdated,
                Field::Category,
                Field::Status,
            ],
        }
    }

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Field::ActivityType => "activity_type",
            Field::Amount => "amount",
            Field::Category => "category",
            Field::CurrentStock => "current_stock",
            Field::LastUpdated => "last_updated",
            Field::PaymentMethod => "payment_method",
            Field::ProductId => "product_id",
            Field::Quantity => "quantity",
            Field::ReorderLevel => "reorder_level",
            Field::SessionId => "session_id",
            Field::Status => "status",
            Field::StoreId => "store_id",
            Field::Timestamp => "timestamp",
            Field::TotalAmount => "total_amount",
            Field::TransactionId => "transaction_id",
            Field::UnitPrice => "unit_price",
            Field::UserId => "user_id",
            Field::WarehouseId => "warehouse_id",
        }
    }

    /// What its values are.
    pub const fn kind(self) -> FieldKind {
        match self {
            Field::CurrentStock | Field::Quantity | Field::ReorderLevel => FieldKind::Integer,
            Field::Amount | Field::TotalAmount | Field::UnitPrice => FieldKind::Money,
            Field::LastUpdated | Field::Timestamp => FieldKind::Time,
            Field::ActivityType
            | Field::Category
            | Field::PaymentMethod
            | Field::ProductId
            | Field::SessionId
            | Field::Status
            | Field::StoreId
            | Field::TransactionId
            | Field::UserId
            | Field::WarehouseId => FieldKind::Text,
        }
    }
}

/// A value of a field. Numbers are whole, 1/10,000, or milliseconds, as the field's [`FieldKind`] says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Datum {
    /// Of a text.
    Text(Text),
    /// Of anything else.
    Number(i64),
}

/// A record whose fields can be asked for.
pub trait Fields {
    /// The value of a field; none if the record does not have it, or has no such field.
    fn field(&self, field: Field) -> Option<Datum>;
    /// Event time.
    fn event_time(&self) -> Millis;
}

fn text(value: &Text) -> Option<Datum> {
    Some(Datum::Text(value.clone()))
}

impl Fields for Sale {
    fn field(&self, field: Field) -> Option<Datum> {
        match field {
            Field::TransactionId => text(&self.transaction_id),
            Field::UserId => text(&self.user_id),
            Field::ProductId => text(&self.product_id),
            Field::Quantity => Some(Datum::Number(self.quantity)),
            Field::UnitPrice => Some(Datum::Number(self.unit_price.0)),
            Field::TotalAmount => Some(Datum::Number(self.total_amount.0)),
            Field::PaymentMethod => text(&self.payment_method),
            Field::Timestamp => Some(Datum::Number(self.timestamp)),
            Field::StoreId => text(&self.store_id),
            Field::Category => text(&self.category),
            _ => None,
        }
    }

    fn event_time(&self) -> Millis {
        self.timestamp
    }
}

impl Fields for Activity {
    fn field(&self, field: Field) -> Option<Datum> {
        match field {
            Field::UserId => text(&self.user_id),
            Field::ActivityType => text(&self.activity_type),
            Field::Timestamp => Some(Datum::Number(self.timestamp)),
            Field::SessionId => text(&self.session_id),
            Field::ProductId => self.product_id.as_ref().and_then(text),
            Field::Amount => self.amount.map(|amount| Datum::Number(amount.0)),
            _ => None,
        }
    }

    fn event_time(&self) -> Millis {
        self.timestamp
    }
}

impl Fields for StockLevel {
    fn field(&self, field: Field) -> Option<Datum> {
        match field {
            Field::ProductId => text(&self.product_id),
            Field::WarehouseId => text(&self.warehouse_id),
            Field::CurrentStock => Some(Datum::Number(self.current_stock)),
            Field::ReorderLevel => Some(Datum::Number(self.reorder_level)),
            Field::LastUpdated => Some(Datum::Number(self.last_updated)),
            Field::Category => text(&self.category),
            Field::Status => self.status.as_ref().and_then(text),
            _ => None,
        }
    }

    fn event_time(&self) -> Millis {
        self.last_updated
    }
}
