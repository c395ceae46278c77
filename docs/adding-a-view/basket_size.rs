//! `basket_size`: do people buy one piece at a time, or many?
//!
//! ```sql
//! SELECT window, CASE WHEN quantity < 0 THEN 'returned' WHEN quantity = 1 THEN 'one'
//!                     WHEN quantity <= 5 THEN 'a few' ELSE 'many' END AS size,
//!        count(*) AS sales, sum(total_amount) AS revenue
//! FROM sales GROUP BY window, size
//! ```
//!
//! Granularities: hour, day. Key: size. Units: sales; 1/10,000 of the currency.
//! State: one entry per row, in the arrangement of the added views over sales. Bound: hours and days x 4,
//! until they are final and a day old.

use crate::added::{AddedView, Content, KeyField, Layout, MeasureField, Records};
use crate::fields::FieldKind;
use crate::measures::AddedMeasures;
use crate::operators::combine;
use crate::outputs::View;
use crate::records::{Sale, Topic};
use crate::time::{Granularity, Window};
use crate::views::{Contributions, rollup};

const GRANULARITIES: [Granularity; 2] = [Granularity::Hour, Granularity::Day];

/// The view: what its documents, its pages and its chart say.
pub fn view() -> AddedView {
    let layout = Layout {
        name: "basket_size".into(),
        title: "Basket size".into(),
        key: vec![KeyField::text("size")],
        granularities: GRANULARITIES.to_vec(),
        topics: vec![Topic::Sales],
        measures: vec![MeasureField::rows("sales"), MeasureField::sum("revenue", FieldKind::Money, 0)],
    };
    AddedView { layout, content: Content::Written(basket_size) }
}

/// What each sale adds to the view's rows.
fn basket_size<'scope>(records: &Records<'scope>, view: View) -> Contributions<'scope, AddedMeasures> {
    combine(records.sales.clone(), "Combine: basket size", move |sale: Sale, difference, give| {
        let size = match sale.quantity {
            ..=-1 => "returned",
            0 | 1 => "one",
            2..=5 => "a few",
            6.. => "many",
        };
        let measures = AddedMeasures::of([i128::from(sale.total_amount.0)], difference);
        for granularity in GRANULARITIES {
            let window = Window::of(granularity, sale.timestamp);
            give(rollup(view, window, size.into()), measures.clone());
        }
    })
}
