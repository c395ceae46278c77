//! Group-bys to test with: between them every aggregate, every test and every topic.

use tillflow_dataflows::added::AddedView;
use tillflow_dataflows::fields::{Datum, Field};
use tillflow_dataflows::group_by::{Aggregate, Condition, GroupBy, Measure, Test};
use tillflow_dataflows::records::Topic;
use tillflow_dataflows::time::Granularity::{self, Day, Hour, Minute};

fn view(
    name: &str,
    topic: Topic,
    filter: Vec<(Field, Test)>,
    group_by: &[Field],
    granularities: &[Granularity],
    measures: &[(&str, Aggregate)],
) -> AddedView {
    let definition = GroupBy {
        name: name.into(),
        title: name.into(),
        topic,
        filter: filter.into_iter().map(|(field, test)| Condition { field, test }).collect(),
        group_by: group_by.to_vec(),
        granularities: granularities.to_vec(),
        measures: measures.iter().map(|(name, of)| Measure { name: (*name).into(), of: *of }).collect(),
    };
    definition.into_view()
}

fn texts(texts: &[&str]) -> Vec<Datum> {
    texts.iter().map(|text| Datum::Text((*text).into())).collect()
}

pub fn group_bys() -> Vec<AddedView> {
    use Aggregate::{Count, Distinct, Max, Min, Sum};
    vec![
        view(
            "returns",
            Topic::Sales,
            vec![(Field::Quantity, Test::Below(0))],
            &[Field::StoreId, Field::Category],
            &[Hour, Day],
            &[
                ("returns", Count),
                ("revenue", Sum(Field::TotalAmount)),
                ("cheapest", Min(Field::UnitPrice)),
                ("last", Max(Field::Timestamp)),
                ("users", Distinct(Field::UserId)),
            ],
        ),
        view(
            "dear_sales",
            Topic::Sales,
            vec![
                (Field::TotalAmount, Test::AtLeast(5)),
                (Field::TotalAmount, Test::AtMost(20_000)),
                (Field::Category, Test::NotIn(texts(&["c1", "кухня"]))),
            ],
            &[],
            &[Minute],
            &[("units", Sum(Field::Quantity)), ("most", Max(Field::TotalAmount)), ("fewest", Min(Field::Quantity))],
        ),
        view(
            "by_amount",
            Topic::Sales,
            vec![],
            &[Field::TotalAmount, Field::Quantity, Field::TransactionId],
            &[Day],
            &[("sales", Count)],
        ),
        view(
            "products_seen",
            Topic::UserActivity,
            vec![(Field::ActivityType, Test::In(texts(&["purchase", "page_view"])))],
            &[Field::ProductId],
            &[Minute, Hour],
            &[
                ("amount", Sum(Field::Amount)),
                ("least", Min(Field::Amount)),
                ("most", Max(Field::Amount)),
                ("sessions", Distinct(Field::SessionId)),
            ],
        ),
        view(
            "without_amount",
            Topic::UserActivity,
            vec![(Field::Amount, Test::Present(false)), (Field::UserId, Test::Present(true))],
            &[Field::ActivityType, Field::UserId],
            &[Day],
            &[("events", Count), ("products", Distinct(Field::ProductId))],
        ),
        view(
            "stock_by_status",
            Topic::Inventory,
            vec![(Field::CurrentStock, Test::Above(-3)), (Field::CurrentStock, Test::Below(1_000_000_000))],
            &[Field::Status],
            &[Day],
            &[
                ("units", Sum(Field::CurrentStock)),
                ("least", Min(Field::CurrentStock)),
                ("products", Distinct(Field::ProductId)),
            ],
        ),
        view(
            "levels",
            Topic::Inventory,
            vec![],
            &[],
            &[Hour],
            &[("rows", Count), ("newest", Max(Field::LastUpdated)), ("prices", Distinct(Field::ReorderLevel))],
        ),
    ]
}
