//! Every view at once: changes in, documents out.

use tillflow_dataflows::records::{Millis, Topic};

use super::activity::ActivityViews;
use super::admission::{Change, Partition};
use super::customers::Customers;
use super::interest::ProductInterest;
use super::live::{Live, Quality};
use super::names::Names;
use super::sales::SalesViews;
use super::stock;
use super::windows::Closing;
use crate::document::Document;

/// What tillflow maintains: the types of windows, the metrics, the kinds of alerts, `stock` and `supply`. What is
/// added to it, and computed here, becomes part of the comparison with a line in this list.
pub const MAINTAINED: &[&str] = &[
    "sales_total",
    "sales_by_category",
    "sales_by_store",
    "sales_by_payment_method",
    "sales_by_product",
    "activity_by_type",
    "active_users",
    "sessions",
    "funnel",
    "product_interest",
    "customers",
    "sales_all",
    "sales_last_hour",
    "sales_last_24h",
    "activity_last_hour",
    "top_products_last_hour",
    "top_products_last_24h",
    "inventory_summary",
    "data_quality",
    "arithmetic_mismatch",
    "purchases_unmatched",
    "stock",
    "supply",
    "out_of_stock",
    "low_stock",
    "stock_out_soon",
    "status_mismatch",
    "revenue_anomaly",
];

/// Before which instants nothing of a topic can change any more, the correction window already taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) sales: Millis,
    pub(super) activity: Millis,
}

pub(super) struct Views<'a> {
    maintained: &'a [&'a str],
    sales: SalesViews,
    activity: ActivityViews,
    interest: Option<ProductInterest>,
    customers: Option<Customers>,
    pub(super) live: Live,
}

impl<'a> Views<'a> {
    pub(super) fn new(maintained: &'a [&'a str]) -> Views<'a> {
        let knows = |name: &str| maintained.contains(&name);
        Views {
            maintained,
            sales: SalesViews::new(knows),
            activity: ActivityViews::new(knows),
            interest: knows("product_interest").then(ProductInterest::new),
            customers: knows("customers").then(Customers::default),
            live: Live::new(knows),
        }
    }

    pub(super) fn apply(&mut self, change: Change<'_>, names: &mut Names) {
        match change {
            Change::Sale { row, transaction_id, place, sign } => {
                self.sales.sale(&row, sign);
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
        &self,
        partitions: impl Iterator<Item = (Topic, i32, &'p Partition)>,
        quality: &Quality,
        names: &Names,
        give: &mut dyn FnMut(Document),
    ) {
        let knows = |name: &str| self.maintained.contains(&name);
        self.live.close(quality, names, knows, give);
        let inventory = partitions
            .filter(|(topic, ..)| *topic == Topic::Inventory)
            .map(|(_, number, partition)| (number, partition));
        stock::close(inventory, &self.live, names, knows, give);
    }
}
