//! `data_quality`: how many records had which outcome and which reason. `arithmetic_mismatch`: sales in force whose total
//! is off by more than 0.01.

use super::Facts;
use crate::measures::QualityMeasures;
use crate::outputs::{Metric, RowBody, RowKey};
use crate::records::{Outcome, Reason};

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    let counted = |test: &dyn Fn(Outcome, Option<Reason>) -> bool| {
        facts.outcomes.iter().filter(|((outcome, reason), _)| test(*outcome, *reason)).map(|(_, count)| count).sum()
    };
    let measures = QualityMeasures {
        outcomes: Outcome::ALL.map(|wanted| counted(&|outcome, _| outcome == wanted)),
        reasons: Reason::ALL.map(|wanted| counted(&|_, reason| reason == Some(wanted))),
    };
    give(RowKey::Metric(Metric::DataQuality), RowBody::Quality(Box::new(measures)));

    let off = facts.sales.iter().filter(|sale| {
        let total = i128::from(sale.quantity) * i128::from(sale.unit_price.0);
        (total - i128::from(sale.total_amount.0)).abs() > 100
    });
    give(RowKey::Metric(Metric::ArithmeticMismatch), RowBody::Count(off.count() as i64));
}
