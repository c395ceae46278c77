//! What rollups sum. A measure rides in the *difference* of its collection, so that a key costs constant space
//! however many records it holds, and a retraction is an ordinary addition.
//!
//! Counts are `i64`: a partition would need 9.2 x 10^9 records of the greatest quantity to overflow one, and an
//! overflow panics (`overflow-checks`) rather than wraps. Money is summed in `i128`, which 10^15 per record
//! cannot overflow.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::records::{Outcome, Reason, Sale};

/// Implements the group operations field by field.
macro_rules! measures {
    ($name:ident { $($field:ident),+ }) => {
        impl IsZero for $name {
            #[inline]
            fn is_zero(&self) -> bool {
                $(self.$field == 0)&&+
            }
        }

        impl Semigroup for $name {
            #[inline]
            fn plus_equals(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }
        }

        impl Monoid for $name {
            #[inline]
            fn zero() -> Self {
                Self::default()
            }
        }

        impl Abelian for $name {
            #[inline]
            fn negate(&mut self) {
                $(self.$field = -self.$field;)+
            }
        }

        impl Multiply<i64> for $name {
            type Output = Self;
            #[inline]
            fn multiply(mut self, times: &i64) -> Self {
                $(self.$field = self.$field.checked_mul((*times).into()).expect("a measure overflows");)+
                self
            }
        }
    };
}

/// What is summed over sales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SalesMeasures {
    /// Rows in force.
    pub transactions: i64,
    /// Sum of quantity.
    pub units: i64,
    /// Sum of total_amount, in 1/10,000.
    pub revenue: i128,
}
measures!(SalesMeasures { transactions, units, revenue });

impl SalesMeasures {
    /// What one row adds.
    pub fn of<T>(sale: &Sale<T>) -> SalesMeasures {
        SalesMeasures { transactions: 1, units: sale.quantity, revenue: i128::from(sale.total_amount.0) }
    }
}

/// What is summed over activities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActivityMeasures {
    /// Records.
    pub events: i64,
    /// Sum of amount, an absent one counted as 0, in 1/10,000.
    pub amount: i128,
}
measures!(ActivityMeasures { events, amount });

/// What is summed over sessions, by `sessions` and by `funnel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VisitMeasures {
    /// Sessions.
    pub sessions: i64,
    /// Sessions of exactly one event.
    pub bounced: i64,
    /// Sessions with a purchase.
    pub converted: i64,
    /// Events of type `page_view`.
    pub page_views: i64,
    /// Sum of the time from first to last event, in milliseconds.
    pub duration: i64,
    /// Sessions with a `page_view`.
    pub viewed: i64,
    /// Sessions with a `page_view` of a product.
    pub viewed_product: i64,
    /// Sessions with a purchase at or after their first `page_view`.
    pub purchased: i64,
}
measures!(VisitMeasures { sessions, bounced, converted, page_views, duration, viewed, viewed_product, purchased });

/// What is summed over what concerns a product on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterestMeasures {
    /// Records that count: while there are any, there is a row.
    pub rows: i64,
    /// Activities of type `page_view`.
    pub views: i64,
    /// Activities of type `purchase`.
    pub purchases: i64,
    /// Sum of quantity over sales.
    pub units_sold: i64,
    /// Sum of total_amount over sales, in 1/10,000.
    pub revenue: i128,
}
measures!(InterestMeasures { rows, views, purchases, units_sold, revenue });

/// What is summed over a day's customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CustomerMeasures {
    /// Distinct buyers.
    pub buyers: i64,
    /// Those of them whose first sale it is.
    pub new_customers: i64,
    /// Sum of total_amount, in 1/10,000.
    pub revenue: i128,
    /// That of first sales alone.
    pub new_revenue: i128,
}
measures!(CustomerMeasures { buyers, new_customers, revenue, new_revenue });

impl CustomerMeasures {
    /// The day's buyers who have bought before.
    pub fn returning_customers(&self) -> i64 {
        self.buyers - self.new_customers
    }

    /// What is not of a first sale, in 1/10,000.
    pub fn returning_revenue(&self) -> i128 {
        self.revenue - self.new_revenue
    }
}

/// What has no counterpart among the last 24 hours' purchases and sales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnmatchedMeasures {
    /// Purchases without a sale.
    pub purchases: i64,
    /// Sales without a purchase.
    pub sales: i64,
}
measures!(UnmatchedMeasures { purchases, sales });

/// What is summed over current stock rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InventoryMeasures {
    /// Distinct products.
    pub products: i64,
    /// Rows, one per product and warehouse.
    pub rows: i64,
    /// Sum of current_stock.
    pub units: i64,
    /// Rows with current_stock <= 0.
    pub out_of_stock: i64,
    /// Rows with 0 < current_stock <= reorder_level.
    pub low_stock: i64,
}
measures!(InventoryMeasures { products, rows, units, out_of_stock, low_stock });

/// What is counted over the activities of the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LastHourMeasures {
    /// Records.
    pub events: i64,
    /// Distinct users.
    pub users: i64,
    /// Distinct sessions.
    pub sessions: i64,
    /// Distinct sessions with a purchase.
    pub converted: i64,
}
measures!(LastHourMeasures { events, users, sessions, converted });

/// What is summed over what concerns the supply of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SupplyMeasures {
    /// Stock rows.
    pub rows: i64,
    /// Sum of current_stock.
    pub stock: i64,
    /// Stock rows that are low or out.
    pub short_rows: i64,
    /// Sum of quantity over the sales of the last 168 hour buckets.
    pub units_sold: i64,
}
measures!(SupplyMeasures { rows, stock, short_rows, units_sold });

/// What an added view sums; its layout says what the sums are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddedMeasures {
    /// Records that count: while there are any, there is a row.
    pub rows: i64,
    /// Sums. All contributions to a view's rows have equally many.
    pub sums: SmallVec<[i128; 2]>,
}

impl AddedMeasures {
    /// What a record with these numbers adds that comes with this difference: 1 when it comes, -1 when it goes.
    pub fn of<const N: usize>(numbers: [i128; N], difference: i64) -> AddedMeasures {
        AddedMeasures { rows: 1, sums: numbers.into_iter().collect() }.multiply(&difference)
    }
}

impl IsZero for AddedMeasures {
    fn is_zero(&self) -> bool {
        self.rows == 0 && self.sums.iter().all(|sum| *sum == 0)
    }
}

impl Semigroup for AddedMeasures {
    fn plus_equals(&mut self, other: &Self) {
        self.rows += other.rows;
        if self.sums.len() < other.sums.len() {
            self.sums.resize(other.sums.len(), 0);
        }
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
    }
}

impl Monoid for AddedMeasures {
    fn zero() -> Self {
        Self::default()
    }
}

impl Abelian for AddedMeasures {
    fn negate(&mut self) {
        self.rows = -self.rows;
        self.sums.iter_mut().for_each(|sum| *sum = -*sum);
    }
}

impl Multiply<i64> for AddedMeasures {
    type Output = Self;
    fn multiply(mut self, times: &i64) -> Self {
        self.rows *= times;
        self.sums.iter_mut().for_each(|sum| *sum *= i128::from(*times));
        self
    }
}

/// How many records had which outcome, and how many dead letters have which reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualityMeasures {
    /// By [`Outcome::ALL`]'s order.
    pub outcomes: [i64; Outcome::ALL.len()],
    /// By [`Reason::ALL`]'s order.
    pub reasons: [i64; Reason::ALL.len()],
}

impl QualityMeasures {
    /// What one record adds.
    pub fn of(outcome: Outcome, reason: Option<Reason>) -> QualityMeasures {
        let mut measures = QualityMeasures::default();
        measures.outcomes[outcome as usize] = 1;
        if let Some(reason) = reason {
            measures.reasons[reason as usize] = 1;
        }
        measures
    }

    fn counts(&self) -> impl Iterator<Item = &i64> {
        self.outcomes.iter().chain(&self.reasons)
    }

    fn counts_mut(&mut self) -> impl Iterator<Item = &mut i64> {
        self.outcomes.iter_mut().chain(&mut self.reasons)
    }
}

impl IsZero for QualityMeasures {
    fn is_zero(&self) -> bool {
        self.counts().all(|count| *count == 0)
    }
}

impl Semigroup for QualityMeasures {
    fn plus_equals(&mut self, other: &Self) {
        self.counts_mut().zip(other.counts()).for_each(|(count, more)| *count += more);
    }
}

impl Monoid for QualityMeasures {
    fn zero() -> Self {
        Self::default()
    }
}

impl Abelian for QualityMeasures {
    fn negate(&mut self) {
        self.counts_mut().for_each(|count| *count = -*count);
    }
}

impl Multiply<i64> for QualityMeasures {
    type Output = Self;
    fn multiply(mut self, times: &i64) -> Self {
        self.counts_mut().for_each(|count| *count *= times);
        self
    }
}
