//! The whole graph, as a table of contents: inputs, shared arrangements, views, rows.

use std::sync::Arc;

use differential_dataflow::collection::concatenate;
use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::{AsCollection, Data, ExchangeData, VecCollection};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{ConnectLoop, Feedback};

use crate::added::{AddedView, Finality, Records};
use crate::arrangements::{Arrangements, Rollups};
use crate::cells::{activity_cells, product_cells, sales_cells};
use crate::clock;
use crate::feed::Parts;
use crate::inputs::{ActivityInputs, Inputs, SalesInputs};
use crate::measures::AddedMeasures;
use crate::operators::{Dating, Reach, combine, publish, sweep};
use crate::outputs::{RollupKey, RowBody, RowKey, Rows, Selection, View};
use crate::records::{Activity, Millis, Sale, StockLevel, Topic};
use crate::state::State;
use crate::time::{Granularity, Tick, WEEK_HOURS, Window};
use crate::views::Contributions;
use crate::views::active_users::active_users;
use crate::views::activity_by_type::activity_by_type;
use crate::views::activity_last_hour::activity_last_hour;
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
use crate::views::stock_out_soon::stock_out_soon;
use crate::views::supply::{supplies, supply};
use crate::views::top_products::top_products;
use crate::views::visits::visits;

/// What the views depend on beside the records.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long after an event its partition still takes corrections.
    pub correction_window: Millis,
    /// Which of the built-in views are maintained.
    pub selection: Selection,
    /// The other ones.
    pub added: Arc<[AddedView]>,
}

impl Settings {
    /// With every built-in view and no other one.
    pub fn new(correction_window: Millis) -> Settings {
        Settings { correction_window, selection: Selection::all(), added: Arc::new([]) }
    }
}

/// How far back the live arrangements are read.
const LIVE_PRODUCTS: Reach = &[(Granularity::Minute, 60), (Granularity::Hour, WEEK_HOURS)];
const LIVE_ACTIVITY: Reach = &[(Granularity::Minute, 60)];
const LIVE_CATEGORIES: Reach = &[(Granularity::Hour, BASE_HOURS + 2)];

/// Views that share sums.
const OF_CELLS: [&str; 4] = ["sales_total", "sales_by_category", "sales_by_store", "sales_by_payment_method"];
const OF_TOTALS: [&str; 3] = ["sales_total", "sales_last_hour", "sales_last_24h"];
const OF_PRODUCTS: [&str; 3] = ["sales_by_product", "product_interest", "customers"];
const OF_LIVE_PRODUCTS: [&str; 4] = ["top_products_last_hour", "top_products_last_24h", "supply", "stock_out_soon"];

/// Whether one of these views is maintained.
fn wants(selection: &Selection, names: &[&str]) -> bool {
    let is_known = |name: &&str| Selection::names().any(|known| known == *name);
    assert!(names.iter().all(is_known), "a name without a view among {names:?}");
    selection.has(names)
}

/// What the views of these settings are made of.
pub fn parts(settings: &Settings) -> Parts {
    let wants = |names: &[&str]| wants(&settings.selection, names);
    let reads = |topic| settings.added.iter().any(|view| view.layout.topics.contains(&topic));
    Parts {
        sales_cells: wants(&OF_CELLS) || wants(&OF_TOTALS) || wants(&["sales_all", "revenue_anomaly"]),
        sales_products: wants(&OF_PRODUCTS) || wants(&OF_LIVE_PRODUCTS),
        mismatches: wants(&["arithmetic_mismatch"]),
        buyers_sales: wants(&["customers"]),
        dealings: wants(&["purchases_unmatched"]),
        sales_records: reads(Topic::Sales),
        activity_cells: wants(&["activity_by_type"]),
        users: wants(&["active_users"]),
        moments: wants(&["sessions", "funnel"]),
        seen: wants(&["activity_last_hour"]),
        interest: wants(&["product_interest"]),
        activity_records: reads(Topic::UserActivity),
    }
}

/// Builds every view over `inputs` and returns all their rows.
///
/// Each worker calls it once, in the same scope, with the same settings, over the inputs of a feed of [`parts`]. `state`
/// gets the cuts; where it is dropped, they take no more part.
pub fn assemble<'scope>(inputs: Inputs<'scope>, settings: &Settings, state: &mut State) -> Rows<'scope> {
    let Inputs { sales, activities, stock: candidates, clocks, quality } = inputs;
    let SalesInputs { cells, products, mismatches, buyers_sales, dealings, records: sales } = sales;
    let ActivityInputs { cells: activity_minutes, users, moments, seen, interest, dealings: purchases, records } =
        activities;
    let Settings { correction_window: window, selection, added } = settings;
    let window = *window;
    let scope = sales.scope();
    let wants = |names: &[&str]| wants(selection, names);
    let parts = parts(settings);

    // Times.
    let as_of = clock::as_of(clocks.clone());
    let as_of_minute = clock::cut(as_of.clone(), Granularity::Minute);
    let as_of_hour = clock::cut(as_of_minute.clone(), Granularity::Hour);
    let live_windows = clock::live_windows(as_of_minute.clone());
    let sales_final = clock::final_before(clocks.clone(), &[Topic::Sales], window, "Final: sales");
    let activity_final = clock::final_before(clocks.clone(), &[Topic::UserActivity], window, "Final: activity");
    let sales_settled = clock::settled_before(clocks.clone(), window);
    let both_final = clock::final_before(clocks, &[Topic::UserActivity, Topic::Sales], window, "Final: both");

    // Records, and the cells that several views share.
    let reads = |topic| added.iter().any(|view| view.layout.topics.contains(&topic));
    let of_stock =
        ["stock", "inventory_summary", "out_of_stock", "low_stock", "status_mismatch", "supply", "stock_out_soon"];
    let stock = stock(when(wants(&of_stock) || reads(Topic::Inventory), candidates));
    let records = Records { sales, activities: records, stock: when(reads(Topic::Inventory), stock.clone()) };
    let kept = kept_records(&records, added, state);
    let sales_cells = sales_cells(cells);
    let [product_minutes, product_hours, product_days] = product_cells(products);

    // Shared arrangements.
    let of_sales = [
        wants(&OF_TOTALS).then(|| sales_total(sales_cells.clone())),
        wants(&["sales_by_category"]).then(|| sales_by_category(sales_cells.clone())),
        wants(&["sales_by_store"]).then(|| sales_by_store(sales_cells.clone())),
        wants(&["sales_by_payment_method"]).then(|| sales_by_payment_method(sales_cells.clone())),
        wants(&["sales_by_product"]).then(|| sales_by_product(product_hours.clone(), product_days.clone())),
    ];
    let of_activity = parts.activity_cells.then(|| activity_by_type(activity_cells(activity_minutes)));
    let of_users = parts.users.then(|| active_users(users, state));
    let of_visits = parts.moments.then(|| {
        let visits = visits(moments, state);
        sessions(visits.clone()).concat(funnel(visits))
    });
    let of_customers = parts.buyers_sales.then(|| customers(buyers_sales, product_days.clone(), sales_settled, state));
    let of_interest = parts.interest.then(|| product_interest(interest, product_days));
    let (dead_products, swept) = scope.feedback(1);
    let sold = wants(&OF_LIVE_PRODUCTS).then(|| product_minutes.concat(product_hours));
    let live_products = concatenate(scope, sold).concat(swept.as_collection());
    let (dead_activity, swept) = scope.feedback(1);
    let live_activity = concatenate(scope, parts.seen.then_some(seen)).concat(swept.as_collection());
    let (dead_categories, swept) = scope.feedback(1);
    let by_category = wants(&["revenue_anomaly"]).then(|| category_hours(sales_cells.clone()));
    let live_categories = concatenate(scope, by_category).concat(swept.as_collection());
    let judged_hours = as_of_hour.clone().flat_map(roles);
    let mut buckets = |name, collection| state.values(name, collection, None, |them| them.arrange_by_key_named(name));
    let live_products = buckets("Live products", live_products);
    let live_categories = buckets("Live categories", live_categories);
    let name = "Live activity";
    let live_activity = state.values(name, live_activity, None, |activity| activity.arrange_by_key_named(name));
    let arrangements = Arrangements {
        sales_rollups: cut_rollups(concatenate(scope, of_sales.into_iter().flatten()), "Sales rollups", state),
        activity_rollups: cut_rollups(concatenate(scope, of_activity), "Activity rollups", state),
        user_rollups: arrange_rollups(summed(concatenate(scope, of_users), "User rollups"), "User rollups"),
        visit_rollups: arrange_rollups(summed(concatenate(scope, of_visits), "Visit rollups"), "Visit rollups"),
        customer_rollups: cut_rollups(concatenate(scope, of_customers), "Customer rollups", state),
        interest_rollups: cut_rollups(concatenate(scope, of_interest), "Interest rollups", state),
        added_rollups: added_rollups(&records, &kept, added, state),
        live_products,
        live_activity,
        live_categories,
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
    let added_views = arrangements.added_rollups.iter().map(|(finality, rollups)| {
        let final_before = match finality {
            Finality::Sales => sales_final.clone(),
            Finality::Activity => activity_final.clone(),
            Finality::Both => both_final.clone(),
            Finality::Never => empty(scope).as_collection(),
        };
        publish(rollups.clone(), final_before, Dating::Event, &format!("Publish: added views ({finality:?})"))
            .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Added(measures, is_final)))
    });
    let added_views = concatenate(scope, added_views);
    let sales_views = publish(arrangements.sales_rollups.clone(), sales_final.clone(), Dating::Event, "Publish: sales")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Sales(measures, is_final)));
    let customer_views =
        publish(arrangements.customer_rollups.clone(), sales_final, Dating::Event, "Publish: customers")
            .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Customers(measures, is_final)));
    let activity_views =
        publish(arrangements.activity_rollups.clone(), activity_final.clone(), Dating::Event, "Publish: activity")
            .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Activity(measures, is_final)));
    let user_views =
        publish(arrangements.user_rollups.clone(), activity_final.clone(), Dating::Event, "Publish: users")
            .map(|(key, users, is_final)| (RowKey::Rollup(key), RowBody::Users(users, is_final)));
    let visit_views = publish(arrangements.visit_rollups.clone(), activity_final, Dating::Session, "Publish: visits")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Visits(measures, is_final)));
    let interest_views = publish(arrangements.interest_rollups.clone(), both_final, Dating::Event, "Publish: interest")
        .map(|(key, measures, is_final)| (RowKey::Rollup(key), RowBody::Interest(measures, is_final)));
    let supplies = supplies(stock.clone(), &arrangements);
    let rows = sales_views
        .concat(added_views)
        .concat(activity_views)
        .concat(user_views)
        .concat(visit_views)
        .concat(interest_views)
        .concat(customer_views)
        .concat(sales_all(when(wants(&["sales_all"]), sales_cells), state))
        .concat(sales_last(arrangements.sales_rollups.clone(), live_windows))
        .concat(top_products(&arrangements))
        .concat(inventory_summary(stock.clone()))
        .concat(stock_alerts(stock.clone()))
        .concat(status_mismatch(stock.clone()))
        .concat(supply(supplies.clone()))
        .concat(stock_out_soon(supplies))
        .concat(revenue_anomaly(&arrangements))
        .concat(stock_rows(stock))
        .concat(data_quality(quality, state))
        .concat(arithmetic_mismatch(mismatches, state))
        .concat(purchases_unmatched(purchases, dealings, as_of_hour, state))
        .concat(activity_last_hour(&arrangements))
        .concat(as_of.map(|instant| (RowKey::AsOf, RowBody::Instant(instant))));
    if *selection == Selection::all() {
        return rows;
    }
    // Views that share a collection are maintained together.
    let selection = selection.clone();
    rows.filter(move |(key, _)| selection.keeps(key))
}

/// The collection where it is wanted, else one of nothing.
fn when<D: Data, R: Semigroup + 'static>(
    wanted: bool,
    collection: VecCollection<'_, Tick, D, R>,
) -> VecCollection<'_, Tick, D, R> {
    if wanted { collection } else { empty(collection.scope()).as_collection() }
}

/// The added views, those together whose windows are final at the same time.
fn added_rollups<'scope>(
    records: &Records<'scope>,
    kept: &Records<'scope>,
    added: &[AddedView],
    state: &mut State,
) -> Vec<(Finality, Rollups<'scope, AddedMeasures>)> {
    let scope = records.sales.scope();
    let is_cut: Vec<bool> = added.iter().map(AddedView::is_cut).collect();
    let mut of = |finality| {
        let views = (0..).zip(added).filter(move |(_, view)| view.layout.finality() == finality);
        let contributions: Vec<_> =
            views.map(|(place, view)| view.contributions(records, kept, View::Added(place), state)).collect();
        let name = format!("Added rollups ({finality:?})");
        if contributions.is_empty() {
            return None;
        }
        let is_cut = is_cut.clone();
        let ours = move |key: &RollupKey| matches!(key.view, View::Added(place) if is_cut[usize::from(place)]);
        let contributions = summed(concatenate(scope, contributions), &name);
        let arrange = |them| arrange_rollups(them, &name);
        Some((finality, state.keys_of(&name, contributions, Some(end_of_row), ours, arrange)))
    };
    Finality::ALL.into_iter().filter_map(&mut of).collect()
}

/// The records that views written in Rust are made of, each a cut: what such a view holds of them nobody knows, and it is
/// made anew of them after a restart. The windows of all added views are within a day; records leave with it, unless a
/// view is made of them whose windows are never final.
fn kept_records<'scope>(records: &Records<'scope>, added: &[AddedView], state: &mut State) -> Records<'scope> {
    let readers = |topic| added.iter().filter(move |view| !view.is_cut() && view.layout.topics.contains(&topic));
    let read = |topic| readers(topic).next().is_some();
    let expires = |topic| readers(topic).all(|view| view.layout.finality() != Finality::Never);
    let (sales, activities, stock) = (records.sales.clone(), records.activities.clone(), records.stock.clone());
    let sales = if read(Topic::Sales) {
        let name = "Added views: sales";
        let end: fn(&Sale) -> Millis = |sale| Window::of(Granularity::Day, sale.timestamp).end();
        let kept =
            state.keys(name, sales, expires(Topic::Sales).then_some(end), |sales| sales.arrange_by_self_named(name));
        kept.as_collection(|sale, ()| sale.clone())
    } else {
        sales
    };
    let activities = if read(Topic::UserActivity) {
        let name = "Added views: activities";
        let end: fn(&Activity) -> Millis = |activity| Window::of(Granularity::Day, activity.timestamp).end();
        let end = expires(Topic::UserActivity).then_some(end);
        let kept = state.keys(name, activities, end, |activities| activities.arrange_by_self_named(name));
        kept.as_collection(|activity, ()| activity.clone())
    } else {
        activities
    };
    Records { sales, activities, stock }
}

/// When the window of a row ends.
fn end_of_row(key: &RollupKey) -> Millis {
    key.window.end()
}

fn stock_rows<'scope>(stock: VecCollection<'scope, Tick, StockLevel, i64>) -> Rows<'scope> {
    stock.map(|level| {
        let StockLevel { product_id, warehouse_id, .. } = &level;
        let key = crate::outputs::StockKey { product_id: product_id.clone(), warehouse_id: warehouse_id.clone() };
        (RowKey::Stock(key), RowBody::Stock(Box::new(level)))
    })
}

/// Sums contributions on this worker, so that little is exchanged.
fn summed<'scope, M>(contributions: Contributions<'scope, M>, name: &str) -> Contributions<'scope, M>
where
    M: ExchangeData + Semigroup,
{
    combine(contributions, &format!("Combine: {name}"), |key: RollupKey, measures: M, give| give(key, measures))
}

fn arrange_rollups<'scope, M>(contributions: Contributions<'scope, M>, name: &str) -> Rollups<'scope, M>
where
    M: ExchangeData + Semigroup,
{
    contributions.arrange_by_self_named(name)
}

/// Rollups that are a cut.
fn cut_rollups<'scope, M>(contributions: Contributions<'scope, M>, name: &str, state: &mut State) -> Rollups<'scope, M>
where
    M: ExchangeData + Abelian,
{
    let contributions = summed(contributions, name);
    state.keys(name, contributions, Some(end_of_row), |them| arrange_rollups(them, name))
}
