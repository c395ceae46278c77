//! `data_quality`: what became of the records?
//!
//! ```sql
//! SELECT outcome, count(*) FROM raw_data GROUP BY outcome
//! UNION ALL
//! SELECT reason, count(*) FROM dead_letters GROUP BY reason
//! ```
//!
//! Key: none; one row that names every outcome and every reason. Units: records. State: one entry. Bound: that one.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use crate::measures::QualityMeasures;
use crate::operators::with_default;
use crate::outputs::{Metric, RowBody, RowKey, Rows};
use crate::state::State;
use crate::time::Tick;

/// The metric's row.
pub fn data_quality<'scope>(
    quality: VecCollection<'scope, Tick, (), QualityMeasures>,
    state: &mut State,
) -> Rows<'scope> {
    let row = |measures| (RowKey::Metric(Metric::DataQuality), RowBody::Quality(Box::new(measures)));
    let name = "Data quality";
    let sums = state.keys(name, quality, None, |quality| quality.arrange_by_self_named(name)).count_total_core();
    with_default(sums.map(move |((), measures)| row(measures)), row(QualityMeasures::default()))
}
