//! `revenue_anomaly`: in which categories was the last whole hour unlike the day before it?
//!
//! ```sql
//! SELECT category FROM revenue_by_category_and_hour
//! GROUP BY category
//! HAVING abs(revenue_of(judged) - avg(revenue_of(24 hours before))) > 3 * stddev_pop(revenue_of(24 hours before))
//!    AND count(hours before with sales) >= 12
//! ```
//!
//! Key: category, the alert's subject. Units: 1/10,000 of the currency. The judged hour is the last that ended before `as_of`'s; hours without sales count 0.
//! State: `live_categories`, at most 26 entries per category, and 25 in the groups. Bound: 51 x categories.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use ethnum::I256;
use serde::{Deserialize, Serialize};

use crate::arrangements::Arrangements;
use crate::cells::{SalesCell, SalesCells};
use crate::measures::SalesMeasures;
use crate::operators::combine;
use crate::outputs::{AlertKind, RevenueAnomaly, RowBody, RowKey, Rows, Subject};
use crate::records::{Millis, Text};
use crate::time::{Diff, Granularity, HOUR, Tick, Window};

/// Hours that the judged one is compared with.
pub const BASE_HOURS: i64 = 24;
/// How many of them must have sales.
const BASE_HOURS_MIN: usize = 12;
/// The deviation that is still usual, in standard deviations.
const SIGMAS: i64 = 3;

/// What an hour is to the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// One of the hours before.
    Base,
    /// The hour that is judged.
    Judged,
}

/// The hours that matter, and for what.
pub fn roles(as_of_hour: Millis) -> impl Iterator<Item = (Window, Role)> {
    (1..=BASE_HOURS + 1).map(move |back| {
        let window = Window { granularity: Granularity::Hour, start: as_of_hour - back * HOUR };
        (window, if back == 1 { Role::Judged } else { Role::Base })
    })
}

/// Sales of hours by category.
pub fn category_hours<'scope>(cells: SalesCells<'scope>) -> VecCollection<'scope, Tick, (Window, Text), SalesMeasures> {
    combine(cells, "Combine: categories by hour", |cell: SalesCell, measures, give| {
        if cell.window.granularity == Granularity::Hour {
            give((cell.window, cell.category), measures);
        }
    })
}

/// The conditions that hold.
pub fn revenue_anomaly<'scope>(arrangements: &Arrangements<'scope>) -> Rows<'scope> {
    arrangements
        .live_categories
        .clone()
        .join_core(arrangements.judged_hours.clone(), |window, category, role| {
            Some((category.clone(), *role, window.start))
        })
        .arrange_by_self_named("Revenue anomaly: hours")
        .count_total_core::<Diff>()
        .map(|((category, role, start), SalesMeasures { revenue, .. })| (category, (role, start, revenue)))
        .reduce_named("Revenue anomaly", |_category, hours, output| {
            let revenues = |wanted: Role| {
                hours.iter().filter(move |(hour, _)| hour.0 == wanted).map(|((_, _, revenue), _)| *revenue)
            };
            let judged = revenues(Role::Judged).sum();
            let base: Vec<i128> = revenues(Role::Base).collect();
            if base.len() >= BASE_HOURS_MIN && is_unusual(judged, &base) {
                output.push((RevenueAnomaly { revenue: judged, base: base.iter().sum() }, 1));
            }
        })
        .map(|(category, anomaly)| {
            (RowKey::Alert(AlertKind::RevenueAnomaly, Subject::Category(category)), RowBody::Anomaly(anomaly))
        })
}

/// Whether `judged` is farther from the mean of the hours before than [`SIGMAS`] population standard deviations;
/// those of them that are not in `base` are 0.
fn is_unusual(judged: i128, base: &[i128]) -> bool {
    // |x - S/n| > k sqrt(nQ - S^2) / n, squared and times n^2: no root, no rounding.
    let n = I256::from(BASE_HOURS);
    let sum: I256 = base.iter().map(|revenue| I256::from(*revenue)).sum();
    let squares: I256 = base.iter().map(|revenue| I256::from(*revenue) * I256::from(*revenue)).sum();
    let distance = n * I256::from(judged) - sum;
    distance * distance > I256::from(SIGMAS * SIGMAS) * (n * squares - sum * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_standard_deviations_are_usual_and_more_are_not() {
        // 12 hours of 0 and 12 of 2: mean 1, deviation 1.
        let base = [2; 12];
        for (judged, unusual) in [(1, false), (4, false), (5, true), (-2, false), (-3, true)] {
            assert_eq!(is_unusual(judged, &base), unusual, "{judged}");
        }
        assert!(!is_unusual(7, &[7; 24]));
        assert!(is_unusual(8, &[7; 24]));
    }

    #[test]
    fn amounts_beyond_any_shop_do_not_overflow() {
        let great = 10i128.pow(24);
        assert!(is_unusual(-great, &[great; 24]));
        assert!(!is_unusual(great, &[great; 24]));
    }
}
