//! `data_quality`: how many records had which outcome and which reason.

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
}
