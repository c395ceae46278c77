//! `product_interest`: of each product and day what was looked at, and what was bought.

use tillflow_dataflows::records::Activity;

use super::admission::SaleRow;
use super::names::{Name, Names};
use super::numbers::DAY;
use super::windows::{Closing, SaleSums, Windows, count, int, money, window_document};
use crate::document::Document;

#[derive(Debug, Default)]
struct InterestSums {
    views: i64,
    purchases: i64,
    sales: SaleSums,
}

pub(super) struct ProductInterest {
    days: Windows<Name, InterestSums>,
}

impl ProductInterest {
    pub(super) fn new() -> ProductInterest {
        ProductInterest { days: Windows::of(DAY) }
    }

    pub(super) fn sale(&mut self, row: &SaleRow, sign: i64) {
        self.days.at(row.at, row.product).sales.add(row.quantity, row.total_amount, sign);
    }

    pub(super) fn activity(&mut self, activity: &Activity, names: &mut Names) {
        let Some(product) = &activity.product_id else { return };
        let viewed = match activity.activity_type.as_str() {
            "page_view" => true,
            "purchase" => false,
            _ => return,
        };
        let sums = self.days.at(activity.timestamp, names.name(product));
        sums.views += i64::from(viewed);
        sums.purchases += i64::from(!viewed);
    }

    pub(super) fn close(&mut self, closing: Closing, names: &Names, give: &mut dyn FnMut(Document)) {
        while let Some((start, is_final, sums)) = self.days.close_first(closing) {
            for (product, InterestSums { views, purchases, sales }) in sums {
                if views == 0 && purchases == 0 && sales.rows == 0 {
                    continue;
                }
                let fields = vec![
                    int("views", views),
                    int("purchases", purchases),
                    count("units_sold", sales.units),
                    money("revenue", sales.revenue),
                ];
                let key = Some(("product_id", product));
                give(window_document("product_interest", (start, DAY), key, names, fields, is_final));
            }
        }
    }
}
