//! The windowed views of sales: the total, and by one of four fields.

use super::admission::SaleRow;
use super::names::{Name, Names};
use super::numbers::{DAY, HOUR, MINUTE};
use super::windows::{Closing, SaleSums, Windows, window_document};
use crate::document::Document;

/// A view: its name, its key's field and where a row has it, and its granularities.
struct View {
    name: &'static str,
    field: &'static str,
    key: fn(&SaleRow) -> Option<Name>,
    windows: Vec<Windows<Option<Name>, SaleSums>>,
}

/// All of them.
pub(super) struct SalesViews {
    views: Vec<View>,
}

impl SalesViews {
    /// Those whose names `maintained` knows.
    pub(super) fn new(maintained: impl Fn(&str) -> bool) -> SalesViews {
        let view = |name, field, key, widths: &[i64]| View {
            name,
            field,
            key,
            windows: widths.iter().map(|width| Windows::of(*width)).collect(),
        };
        let all = [MINUTE, HOUR, DAY];
        let mut views = vec![
            view("sales_total", "", |_| None, &all),
            view("sales_by_category", "category", |row| Some(row.category), &all),
            view("sales_by_store", "store_id", |row| Some(row.store), &all),
            view("sales_by_payment_method", "payment_method", |row| Some(row.payment_method), &all),
            view("sales_by_product", "product_id", |row| Some(row.product), &[HOUR, DAY]),
        ];
        views.retain(|view| maintained(view.name));
        SalesViews { views }
    }

    pub(super) fn sale(&mut self, row: &SaleRow, sign: i64) {
        for view in &mut self.views {
            let key = (view.key)(row);
            for windows in &mut view.windows {
                windows.at(row.at, key).add(row.quantity, row.total_amount, sign);
            }
        }
    }

    pub(super) fn close(&mut self, closing: Closing, names: &Names, give: &mut dyn FnMut(Document)) {
        for View { name, field, windows, .. } in &mut self.views {
            for windows in windows {
                while let Some((start, is_final, sums)) = windows.close_first(closing) {
                    for (key, sum) in sums.into_iter().filter(|(_, sum)| sum.rows != 0) {
                        let key = key.map(|key| (*field, key));
                        let of = (start, windows.width);
                        give(window_document(name, of, key, names, sum.fields(), is_final));
                    }
                }
            }
        }
    }
}
