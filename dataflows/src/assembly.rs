//! The whole graph, as a table of contents: inputs, shared arrangements, views, rows.

use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::operators::{ConnectLoop, Feedback};

use crate::arrangements::{Arrangements, Rollups};
use crate::cells::{activity_cells, product_cells, sales_cells};
use crate::clock;
use crate::inputs::Inputs;
use crate::operators::{Dating, Reach, combine, publish, sweep};
use crate::outputs::{RollupKey, RowBody, RowKey, Rows};
use crate::records::{Millis, StockLevel, Topic};
use crate::sales_pass::{SalesPass, sales_pass};
use crate::time::{Granularity, Tick, WEEK_HOURS};
use crate::views::Contributions;
use crate::views::active_users::active_users;
use crate::views::activity_by_type::activity_by_type;
use crate::views::activity_last_hour::{activity_last_hour, seen_by_minute};
use crate::views::arithmetic_mismatch::arithmetic_mismatch;
use crate::views::customers::customers;
use crate::views::data_quality::data_quality;
use crate::views::funnel::funnel;
use crate::views::inventory_summary::inventory_summary;
use crate::views::product_interest::product_interest;
use crate::views::purchases_unmatched::purchases_unmatched;
use crate::views::revenue_anomaly::{BASE_HOURS, category_hours, revenue_anomaly, roles};
use crate::views::sales_all::sales_all;
use crate::views::sales_by_category::sales_by_category;
use crate::views::sales_by_payment_method::sales_by_payment_method;
use crate::views::sales_by_product::sales_by_product;
use crate::views::sales_by_store::sales_by_store;
use crate::views::sales_last::sales_last;
use crate::views::sales_total::sales_total;
use crate::views::sessions::sessions;
use crate::views::status_mismatch::status_mismatch;
use crate::views::stock::stock;
use crate::views::stock_alerts::stock_alerts;
use crate::views::supply::supply;
use crate::views::top_products::top_products;
use crate::views::visits::visits;

/// What the views depend on beside the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long after an event its partition still takes corrections.
    pub correction_window: Millis,
}

/// How far back the live arrangements are read.
const LIVE_PRODUCTS: Reach = &[(Granularity::Minute, 60), (Granularity::Hour, WEEK_HOURS)];
const LIVE_ACTIVITY: Reach = &[(Granularity::Minute, 60)];
const LIVE_CATEGORIES: Reach = &[(Granularity::Hour, BASE_HOURS + 2)];

/// Builds every view over `inputs` and returns all their rows.
///
/// Each worker calls it once, in the same scope, with the same settings.
pub fn assemble<'scope>(inputs: Inputs<'scope>, settings: Settings) -> Rows<'scope> {
    let Inputs { sales, activities, stock: candidates, clocks, quality } = inputs;
    let scope = sales.scope();

    // Times.
    let as_of = clock::as_of(clocks.clone());
    let as_of_minute = clock::as_of_minute(as_of.clone());
    let as_of_hour = clock::as_of_hour(as_of_minute.clone());
    let live_windows = clock::live_windows(as_of_minute.clone());
    let window = settings.correction_window;
    let sales_final = clock::final_before(clocks.clone(), &[Topic::Sales], window, "Final: sales");
    let activity_final = clock::final_before(clocks.clone(), &[Topic::UserActivity], window, "Final: activity");
    let sales_settled = clock::settled_before(clocks.clone(), window);
    let both_final = clock::final_before(clocks, &[Topic::UserActivity, Topic::Sales], window, "Final: both");

    // Cells: a record is looked at once per family of views.
    let SalesPass { cells, products, mismatches, buyers_sales, dealings } = sales_pass(sales);
    let sales_cells = sales_cells(cells);
    let [product_minutes, product_hours, product_days] = product_cells(products);
    let activity_cells = activity_cells(activities.clone());
    let visits = visits(activities.clone());

    // Shared arrangements.
    let sales_rollups = sales_total(sales_cells.clone())
        .concat(sales_by_category(sales_cells.clone()))
        .concat(sales_by_store(sales_cells.clone()))
        .concat(sales_by_payment_method(sales_cells.clone()))
        .concat(sales_by_product(product_hours.clone(), product_days.clone()));
    let (dead_products, swept) = scope.feedback(1);
    let live_products = product_minutes.concat(product_hours).concat(swept.as_collection());
    let (dead_activity, swept) = scope.feedback(1);
    let live_activity = seen_by_minute(activities.clone()).concat(swept.as_collection());
    let (dead_categories, swept) = scope.feedback(1);
    let live_categories = category_hours(sales_cells.clone()).concat(swept.as_collection());
    let judged_hours = as_of_hour.clone().flat_map(roles);
    let arrangements = Arrangements {
        sales_rollups: arrange_rollups(sales_rollups, "Sales rollups"),
        activity_rollups: arrange_rollups(activity_by_type(activity_cells), "Activity rollups"),
        user_rollups: arrange_rollups(active_users(activities.clone()), "User rollups"),
        visit_rollups: arrange_rollups(sessions(visits.clone()).concat(funnel(visits)), "Visit rollups"),
        customer_rollups: arrange_rollups(
            customers(buyers_sales, product_days.clone(), sales_settled),
            "Customer rollups",
        ),
        interest_rollups: arrange_rollups(product_interest(activities.clone(), product_days), "Interest rollups"),
        live_products: live_products.arrange_by_key_named("Live products"),
        live_activity: live_activity.arrange_by_key_named("Live activity"),
        live_categories: live_categories.arrange_by_key_named("Live categories"),
        judged_hours: judged_hours.arrange_by_key_named("Judged hours"),
        week_windows: clock::week_windows(as_of_hour.clone()).arrange_by_self_named("Week windows"),
        live_windows: live_windows.clone().arrange_by_self_named("Live windows"),
    };
    sweep(arrangements.live_products.clone(), as_of_minute.clone(), LIVE_PRODUCTS, "Sweep: live products")
        .inner
        .connect_loop(dead_products);
    sweep(arrangements.live_activity.clone(), as_of_minute, LIVE_ACTIVITY, "Sweep: live activity")
        .inner
        .connect_loop(dead_activity);
    sweep(arrangements.live_categories.clone(), as_of_hour.clone(), LIVE_CATEGORIES, "Sweep: live categories")
        .inner
        .connect_loop(dead_categories);

    // Rows.
    let stock = stock(candidates);
    let sales_views = publish(arrangements.sales_rollups.clone(), sales_final.clone(), Dating::Event, "Publish: sales")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Sales(measures, is_final)));
    let customer_views =
        publish(arrangements.customer_rollups.clone(), sales_final, Dating::Event, "Publish: customers")
            .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Customers(measures, is_final)));
    let activity_final_rows =
        publish(arrangements.activity_rollups.clone(), activity_final.clone(), Dating::Event, "Publish: activity")
            .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Activity(measures, is_final)));
    let user_views =
        publish(arrangements.user_rollups.clone(), activity_final.clone(), Dating::Event, "Publish: users")
            .map(|(key, users, is_final)| (RowKey::Rollup(key), RowBody::Users(users, is_final)));
    let visit_views = publish(arrangements.visit_rollups.clone(), activity_final, Dating::Session, "Publish: visits")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Visits(measures, is_final)));
    let interest_views = publish(arrangements.interest_rollups.clone(), both_final, Dating::Event, "Publish: interest")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Interest(measures, is_final)));
    sales_views
        .concat(activity_final_rows)
        .concat(user_views)
        .concat(visit_views)
        .concat(interest_views)
        .concat(customer_views)
        .concat(sales_all(sales_cells))
        .concat(sales_last(arrangements.sales_rollups.clone(), live_windows))
        .concat(top_products(&arrangements))
        .concat(inventory_summary(stock.clone()))
        .concat(stock_alerts(stock.clone()))
        .concat(status_mismatch(stock.clone()))
        .concat(supply(stock.clone(), &arrangements))
        .concat(revenue_anomaly(&arrangements))
        .concat(stock_rows(stock))
        .concat(data_quality(quality))
        .concat(arithmetic_mismatch(mismatches))
        .concat(purchases_unmatched(activities, dealings, as_of_hour))
        .concat(activity_last_hour(&arrangements))
        .concat(as_of.map(|instant| (RowKey::AsOf, RowBody::Instant(instant))))
}

fn stock_rows<'scope>(stock: VecCollection<'scope, Tick, StockLevel, i64>) -> Rows<'scope> {
    stock.map(|level| {
        let StockLevel { product_id, warehouse_id, .. } = &level;
        let key = crate::outputs::StockKey { product_id: product_id.clone(), warehouse_id: warehouse_id.clone() };
        (RowKey::Stock(key), RowBody::Stock(Box::new(level)))
    })
}

/// Sums contributions on this worker, then arranges what is left by row.
fn arrange_rollups<'scope, M>(contributions: Contributions<'scope, M>, name: &str) -> Rollups<'scope, M>
where
    M: differential_dataflow::ExchangeData + Semigroup,
{
    combine(contributions, &format!("Combine: {name}"), |key: RollupKey, measures: M, give| give(key, measures))
        .arrange_by_self_named(name)
}
