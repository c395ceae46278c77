//! `arithmetic_mismatch`: in how many sales is the total not what was bought times its price?
//!
//! ```sql
//! SELECT count(*) AS transactions FROM sales WHERE abs(total_amount - quantity * unit_price) > 0.01
//! ```
//!
//! Key: none; one row, zero when there is none. Units: sales. State: one entry. Bound: that one.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use crate::operators::with_default;
use crate::outputs::{Metric, RowBody, RowKey, Rows};
use crate::records::{Money, Sale};
use crate::state::State;
use crate::time::{Diff, Tick};

/// The difference that is still taken for rounding: 0.01.
const TOLERANCE: i128 = Money::SCALE as i128 / 100;

/// Whether a sale's total is not what was bought times its price.
pub fn is_mismatch<T>(sale: &Sale<T>) -> bool {
    let product = i128::from(sale.quantity) * i128::from(sale.unit_price.0);
    (i128::from(sale.total_amount.0) - product).abs() > TOLERANCE
}

/// The metric's row.
pub fn arithmetic_mismatch<'scope>(
    mismatches: VecCollection<'scope, Tick, (), Diff>,
    state: &mut State,
) -> Rows<'scope> {
    let row = |transactions| (RowKey::Metric(Metric::ArithmeticMismatch), RowBody::Count(transactions));
    let name = "Arithmetic mismatch";
    let mismatches = state.keys(name, mismatches, None, |mismatches| mismatches.arrange_by_self_named(name));
    let counts = mismatches.count_total_core();
    with_default(counts.map(move |((), transactions)| row(transactions)), row(0))
}
