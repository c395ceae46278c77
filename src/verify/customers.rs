//! `customers`: of each day the buyers whose first sale ever it holds, and the others.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use tillflow_dataflows::records::{Millis, Text};

use super::admission::SaleRow;
use super::names::{Name, Names};
use super::numbers::DAY;
use super::windows::{Closing, Windows, int, money, window_document};
use crate::document::Document;

/// A user's sales of one day with their amounts, first the first.
type Sales = BTreeMap<(Millis, Text, i32), i64>;

/// Days are closed in their order, and a closed day never changes: then a user is new on the first day that is closed
/// with a sale of theirs in force. Sales are remembered until then, users for ever.
pub(super) struct Customers {
    days: Windows<Name, Sales>,
    seen: HashSet<Name>,
}

impl Customers {
    pub(super) fn new() -> Customers {
        Customers { days: Windows::of(DAY), seen: HashSet::new() }
    }

    pub(super) fn sale(&mut self, row: &SaleRow, transaction_id: &Text, partition: i32, sign: i64) {
        let sales = self.days.at(row.at, row.user);
        let rank = (row.at, transaction_id.clone(), partition);
        if sign > 0 {
            sales.insert(rank, row.total_amount);
        } else {
            sales.remove(&rank);
        }
    }

    pub(super) fn close(&mut self, closing: Closing, names: &Names, give: &mut dyn FnMut(Document)) {
        while let Some((day, is_final, users)) = self.days.close_first(closing) {
            let (mut new, mut returning) = ((0, 0), (0, 0));
            for (user, sales) in users {
                let Some(first_amount) = sales.values().next().copied() else { continue };
                let all: i128 = sales.values().copied().map(i128::from).sum();
                if self.seen.insert(user) {
                    new.0 += 1;
                    new.1 += i128::from(first_amount);
                    // Only the first sale is new; the user is returning on no account.
                    returning.1 += all - i128::from(first_amount);
                } else {
                    returning.0 += 1;
                    returning.1 += all;
                }
            }
            if new.0 + returning.0 > 0 {
                let fields = vec![
                    int("new_customers", new.0),
                    int("returning_customers", returning.0),
                    money("new_revenue", new.1),
                    money("returning_revenue", returning.1),
                ];
                give(window_document("customers", (day, DAY), None, names, fields, is_final));
            }
        }
    }
}
