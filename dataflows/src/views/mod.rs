//! The views, one file each: the question, the SQL that would answer it, its key, its units, its state and the bound of
//! that.

pub mod active_users;
pub mod activity_by_type;
pub mod activity_last_hour;
pub mod arithmetic_mismatch;
pub mod customers;
pub mod data_quality;
pub mod funnel;
pub mod group_by;
pub mod inventory_summary;
pub mod product_interest;
pub mod purchases_unmatched;
pub mod revenue_anomaly;
pub mod sales_all;
pub mod sales_by_category;
pub mod sales_by_payment_method;
pub mod sales_by_product;
pub mod sales_by_store;
pub mod sales_last;
pub mod sales_total;
pub mod sessions;
pub mod status_mismatch;
pub mod stock;
pub mod stock_alerts;
pub mod stock_out_soon;
pub mod supply;
pub mod top_products;
pub mod visits;

use differential_dataflow::VecCollection;

use crate::added::AddedView;
use crate::outputs::{RollupKey, View};
use crate::records::Text;
use crate::time::{Tick, Window};

/// What facts add to the rows of windowed views: rows as data, sums as differences.
pub type Contributions<'scope, M> = VecCollection<'scope, Tick, RollupKey, M>;

/// The views that were added to the built-in ones, one line each: see `docs/adding-a-view.md`.
pub fn added() -> Vec<AddedView> {
    vec![
        // One line for each view: `basket_size::view(),`.
    ]
}

/// The row of a view.
pub fn rollup(view: View, window: Window, key: Text) -> RollupKey {
    RollupKey { window, view, key }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_head_of_each_view_says_what_one_wants_to_know() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/views");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the folder of views") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            if name == "mod" {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file");
            let head = text.split("\nuse ").next().unwrap_or_default().to_lowercase();
            // The words that SQL has for it, but for the walk that it has none for.
            let sql = if name == "purchases_unmatched" { "sql has no words" } else { "```sql" };
            for label in ["?", sql, "key", "units", "state", "bound"] {
                assert!(head.contains(label), "{name} does not say {label:?}");
            }
            seen += 1;
        }
        assert_eq!(seen, include_str!("mod.rs").matches("\npub mod ").count());
    }
}
