//! Every view at once: changes in, documents out.

use tillflow_dataflows::group_by::GroupBy;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::records::{Millis, Topic};

use super::activity::ActivityViews;
use super::admission::{Change, Partition};
use super::customers::Customers;
use super::group_by::GroupByViews;
use super::interest::ProductInterest;
use super::live::{Live, Quality};
use super::names::Names;
use super::sales::SalesViews;
use super::stock;
use super::windows::Closing;
use crate::document::Document;

/// Before which instants nothing of a topic can change any more, the correction window already taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) sales: Millis,
    pub(super) activity: Millis,
}

pub(super) struct Views {
    maintained: Selection,
    group_bys: GroupByViews,
    sales: SalesViews,
    activity: ActivityViews,
    interest: Option<ProductInterest>,
    customers: Option<Customers>,
    pub(super) live: Live,
}

impl Views {
    /// The built-in views that are maintained, and those of a file.
    pub(super) fn new(maintained: &Selection, file: &[GroupBy]) -> Views {
        let knows = |name: &str| maintained.has(&[name]);
        Views {
            maintained: maintained.clone(),
            group_bys: GroupByViews::new(file),
            sales: SalesViews::new(knows),
            activity: ActivityViews::new(knows),
            interest: knows("product_interest").then(ProductInterest::new),
            customers: knows("customers").then(Customers::new),
            live: Live::new(knows),
        }
    }

    pub(super) fn apply(&mut self, change: Change<'_>, names: &mut Names) {
        match change {
            Change::Sale { row, transaction_id, place, sign } => {
                self.sales.sale(&row, sign);
                self.group_bys.sale(&row, transaction_id, names, sign);
                self.live.sale(&row, place, sign);
                if let Some(interest) = &mut self.interest {
                    interest.sale(&row, sign);
                }
                if let Some(customers) = &mut self.customers {
                    customers.sale(&row, transaction_id, place.partition, sign);
                }
            }
            Change::Activity { activity, user, place } => {
                self.activity.activity(activity, user, names);
                self.group_bys.activity(activity);
                self.live.activity(activity, user, place, names);
                if let Some(interest) = &mut self.interest {
                    interest.activity(activity, names);
                }
            }
        }
    }

    /// Gives away the windows that nothing can change any more; with `all`, every window.
    pub(super) fn close_windows(&mut self, settled: Settled, all: bool, names: &Names, give: &mut dyn FnMut(Document)) {
        let (sales, activity) = (Closing { settled: settled.sales, all }, Closing { settled: settled.activity, all });
        let both = Closing { settled: settled.sales.min(settled.activity), all };
        self.group_bys.close(Topic::Sales, sales, give);
        self.group_bys.close(Topic::UserActivity, activity, give);
        self.sales.close(sales, names, give);
        self.activity.close(activity, names, give);
        if let Some(interest) = &mut self.interest {
            interest.close(both, names, give);
        }
        if let Some(customers) = &mut self.customers {
            customers.close(sales, names, give);
        }
    }

    /// Gives every document that is no window, once all records are there.
    pub(super) fn close_live<'p>(
        &mut self,
        partitions: impl Iterator<Item = (Topic, i32, &'p Partition)>,
        quality: &Quality,
        names: &Names,
        give: &mut dyn FnMut(Document),
    ) {
        let knows = |name: &str| self.maintained.has(&[name]);
        self.live.close(quality, names, knows, give);
        let inventory = partitions
            .filter(|(topic, ..)| *topic == Topic::Inventory)
            .map(|(_, number, partition)| (number, partition));
        let levels = stock::current(inventory);
        stock::close(&levels, &self.live, names, knows, give);
        self.group_bys.close_stock(&levels, give);
    }
}
