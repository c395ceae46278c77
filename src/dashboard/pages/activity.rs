//! `/activity`: what users do.

use tillflow_dataflows::records::Topic;

use super::markup::{Link, Panel, Tile, Width, table, tiles};
use super::{Context, DETAIL_HEIGHT, Page, added_panels, view_panel};
use crate::dashboard::format::{MISSING, count, money_exact, share};
use crate::dashboard::kinds::{Granularity, kind};
use crate::dashboard::rows::Record as _;
use crate::dashboard::series::{Slice, Windows};
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::{clean, label};

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let chart = |name, granularity, count, width| view_panel(context, name, granularity, count, width, DETAIL_HEIGHT);
    let mut panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        chart("activity-by-type", Granularity::Minute, 60, Width::Full),
        chart("activity-by-type", Granularity::Hour, 48, Width::TwoThirds),
        Panel::new("types", "span-4", "By type", table(&types(context)))
            .hinted("last 24 hours")
            .linked(vec![Link::new("More in History", "/history?type=activity_by_type&granularity=hour&range=24h")]),
        chart("active-users", Granularity::Hour, 48, Width::Full),
    ];
    panels.extend(added_panels(context, Topic::UserActivity));
    Page::live("Activity", context, panels)
}

fn last_day<'a>(context: &'a Context<'_>, name: &str) -> Slice<'a> {
    let as_of = context.snapshot.as_of().unwrap_or(0);
    Slice::of(&context.snapshot, name, Windows::ending_with(as_of, Granularity::Hour, 24))
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let snapshot = &context.snapshot;
    let mut shown = Vec::new();
    if let Some(metric) = snapshot.metric("activity_last_hour") {
        for (field, name) in [
            ("events", "Events"),
            ("users", "Active users"),
            ("sessions", "Sessions"),
            ("converted", "Sessions with a purchase"),
        ] {
            let value = metric.count(field).map_or_else(|| MISSING.to_owned(), |number| count(i128::from(number)));
            shown.push(Tile::new(&format!("{name}, last hour"), value, "Judged on that hour's events"));
        }
    }
    let day = last_day(context, "activity_by_type");
    let events = kind("activity_by_type").and_then(|kind| kind.measures.first());
    if let Some(events) = events.filter(|_| !day.rows.is_empty()) {
        let total = day.total(events);
        let purchases =
            day.totals_by_key(events).into_iter().find(|(name, _)| name == "purchase").map_or(0, |(_, number)| number);
        shown.push(Tile::new("Events, last 24 h", count(total), "User activity of any type"));
        shown.push(
            Tile::new("Purchases, last 24 h", count(purchases), "Events of type purchase")
                .noted("flat", format!("{} of events", share(purchases, total))),
        );
    }
    let busiest = last_day(context, "active_users").rows.iter().filter_map(|row| row.count("users")).max();
    if let Some(users) = busiest {
        shown.push(Tile::new(
            "Most users in an hour",
            count(i128::from(users)),
            "Distinct users of the busiest of the last 24 hours",
        ));
    }
    if shown.is_empty() {
        shown.push(Tile::new("Events", MISSING, "Needs user activity").noted("flat", "no activity yet"));
    }
    shown
}

fn types(context: &Context<'_>) -> Table {
    let mut table = Table::new("Activity by type", &["Type", "#Events", "#Share", "#Amount"]);
    let slice = last_day(context, "activity_by_type");
    let Some([events, amount]) = kind("activity_by_type").map(|kind| kind.measures).and_then(|m| m.first_chunk::<2>())
    else {
        return table;
    };
    let total = slice.total(events);
    let amounts = slice.totals_by_key(amount);
    for (name, number) in slice.totals_by_key(events) {
        let amount = amounts.iter().find(|(key, _)| *key == name).map_or(0, |(_, amount)| *amount);
        table.rows.push(vec![
            Cell::titled(label(&name), clean(&name)),
            Cell::new(count(number)),
            Cell::new(share(number, total)),
            Cell::new(if amount == 0 { MISSING.to_owned() } else { money_exact(amount) }),
        ]);
    }
    if table.rows.is_empty() {
        table.note = "No activity in the last 24 hours.".to_owned();
    }
    table.cut()
}
