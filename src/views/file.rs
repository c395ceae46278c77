//! `--view-file`: group-bys without Rust, as TOML. What may stand in it is in `docs/view-files.md`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use tillflow_dataflows::added::Layout;
use tillflow_dataflows::fields::{Datum, Field, FieldKind};
use tillflow_dataflows::group_by::{Aggregate, Condition, GroupBy, Measure, Test, titled};
use tillflow_dataflows::records::{Money, Topic};
use tillflow_dataflows::time::Granularity;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest file, in bytes.
pub const FILE_MAX: usize = 64 << 10;
/// The most views of a file, fields of a key, conditions, values of a condition, and measures of a view.
const VIEWS_MAX: usize = 64;
const KEY_MAX: usize = 8;
const CONDITIONS_MAX: usize = 32;
const VALUES_MAX: usize = 256;
const MEASURES_MAX: usize = 32;
/// The most different names of measures in a file.
const NAMES_MAX: usize = 500;
/// The longest reason, in characters.
const REASON_MAX: usize = 600;
/// The longest title, in characters.
const TITLE_MAX: usize = 80;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ViewFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Something wrong at some bytes of the text.
struct Fault {
    at: Range<usize>,
    reason: String,
}

fn fault(at: Range<usize>, reason: impl Into<String>) -> Fault {
    Fault { at, reason: reason.into() }
}

type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;
type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a file's text. `taken` are the names that its views cannot have.
pub fn parse<'n>(text: &str, taken: impl IntoIterator<Item = &'n str>) -> Result<Vec<GroupBy>, ViewFileError> {
    let mut taken: Vec<String> = taken.into_iter().map(str::to_owned).collect();
    let mut read = || {
        if text.len() > FILE_MAX {
            return Err(fault(FILE_MAX..FILE_MAX, format!("the file is longer than {FILE_MAX} bytes")));
        }
        let file =
            DeTable::parse(text).map_err(|error| fault(error.span().unwrap_or(0..0), one_line(error.message())))?;
        views(&file, &mut taken)
    };
    read().map_err(|Fault { at, reason }| {
        let line = 1 + text.bytes().take(at.start).filter(|byte| *byte == b'\n').count();
        ViewFileError { line, reason: shown(&reason) }
    })
}

/// What a reason says of a text that anybody may have written: on one line of bounded length, nothing in it that a
/// terminal obeys.
fn shown(reason: &str) -> String {
    let mut line = String::new();
    for (place, character) in reason.chars().enumerate() {
        match character {
            _ if place == REASON_MAX => {
                line.push('…');
                break;
            }
            '"' | '\'' | '\\' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
    }
    line
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

fn views(file: &Spanned<DeTable<'_>>, taken: &mut Vec<String>) -> Result<Vec<GroupBy>, Fault> {
    let mut found = None;
    for (name, value) in file.get_ref() {
        match name.get_ref().as_ref() {
            "view" => found = Some(value),
            other => return Err(fault(name.span(), unknown(other, &["view"]))),
        }
    }
    let Some(found) = found else {
        return Err(fault(0..0, "there is no view in it: each begins with [[view]]"));
    };
    let DeValue::Array(tables) = found.get_ref() else {
        return Err(fault(found.span(), "a view begins with [[view]], in two pairs of brackets"));
    };
    bounded(found, tables.len(), VIEWS_MAX, "views")?;
    let mut views: Vec<GroupBy> = Vec::new();
    let mut names = BTreeSet::new();
    for table in tables {
        let (name_at, view) = view(table)?;
        if taken.contains(&view.name) {
            return Err(fault(name_at, format!("there is a view {:?} already; take another name", view.name)));
        }
        taken.push(view.name.clone());
        names.extend(view.measures.iter().map(|measure| measure.name.clone()));
        // Each is a column of one table.
        bounded(table, names.len(), NAMES_MAX, "names of measures in all views together")?;
        views.push(view);
    }
    Ok(views)
}

/// The entries of a table in the order in which they were written.
fn entries<'a, 't>(value: &'a Value<'t>, what: &str) -> Result<Vec<(&'a Key<'t>, &'a Value<'t>)>, Fault> {
    let DeValue::Table(table) = value.get_ref() else {
        return Err(fault(value.span(), format!("{what} is a table, not {}", kind_of(value))));
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    Ok(entries)
}

fn view(table: &Value<'_>) -> Result<(Range<usize>, GroupBy), Fault> {
    const KNOWN: [&str; 7] = ["name", "title", "topic", "filter", "group_by", "granularity", "measures"];
    let entries = entries(table, "a view")?;
    for (key, _) in &entries {
        if !KNOWN.contains(&key.get_ref().as_ref()) {
            return Err(fault(key.span(), unknown(key.get_ref(), &KNOWN)));
        }
    }
    let given = |name: &str| entries.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| *value);
    let needed = |name: &str| given(name).ok_or_else(|| fault(table.span(), format!("the view has no `{name}`")));

    let name = needed("name")?;
    let name_text = identifier(text(name, "a name")?, name.span())?;
    let title = match given("title") {
        None => titled(&name_text),
        Some(title) => {
            let words = text(title, "a title")?;
            let is_fit = !words.trim().is_empty() && words.chars().count() <= TITLE_MAX;
            if !is_fit || words.chars().any(char::is_control) {
                return Err(fault(title.span(), format!("a title is 1 to {TITLE_MAX} characters on one line")));
            }
            words.to_owned()
        }
    };
    let topic = needed("topic")?;
    let topic_name = text(topic, "a topic")?;
    let topic = Topic::from_name(topic_name)
        .ok_or_else(|| fault(topic.span(), unknown(topic_name, &Topic::ALL.map(Topic::name))))?;
    let filter = match given("filter") {
        None => Vec::new(),
        Some(filter) => conditions(filter, topic)?,
    };
    let mut group_by = Vec::new();
    if let Some(value) = given("group_by") {
        for name in list(value) {
            let field = field(text(name, "a field")?, name.span(), topic)?;
            if group_by.contains(&field) {
                return Err(fault(name.span(), format!("`{}` is there twice", field.name())));
            }
            match field.kind() {
                FieldKind::Text | FieldKind::Integer => {}
                FieldKind::Time => {
                    let reason = format!("`{}` is a time; `granularity` groups by it", field.name());
                    return Err(fault(name.span(), reason));
                }
                FieldKind::Money => {
                    let reason = format!("`{}` is an amount: a group for each is one too many", field.name());
                    return Err(fault(name.span(), reason));
                }
            }
            group_by.push(field);
        }
        bounded(value, group_by.len(), KEY_MAX, "fields")?;
    }
    let granularity = needed("granularity")?;
    let mut granularities = Vec::new();
    for name in list(granularity) {
        let word = text(name, "a granularity")?;
        let known = Granularity::from_name(word)
            .ok_or_else(|| fault(name.span(), unknown(word, &Granularity::ALL.map(Granularity::name))))?;
        granularities.push(known);
    }
    granularities.sort_unstable();
    granularities.dedup();
    if granularities.is_empty() {
        return Err(fault(granularity.span(), "there is no granularity in it"));
    }
    let measures = measures(needed("measures")?, topic)?;
    Ok((name.span(), GroupBy { name: name_text, title, topic, filter, group_by, granularities, measures }))
}

fn measures(value: &Value<'_>, topic: Topic) -> Result<Vec<Measure>, Fault> {
    let entries = entries(value, "`measures`")?;
    bounded(value, entries.len(), MEASURES_MAX, "measures")?;
    if entries.is_empty() {
        return Err(fault(value.span(), "there is no measure in it"));
    }
    let mut measures = Vec::new();
    for (name, value) in entries {
        let name_text = identifier(name.get_ref(), name.span())?;
        if Layout::RESERVED.contains(&name_text.as_str()) {
            return Err(fault(name.span(), format!("`{name_text}` is taken in every document; take another name")));
        }
        let of = aggregate(text(value, "a measure")?, value.span(), topic)?;
        if !Layout::is_called_right(&name_text, of.kind()) {
            let reason = "what is a time is called something_at, and nothing else is: take another name";
            return Err(fault(name.span(), reason));
        }
        measures.push(Measure { name: name_text, of });
    }
    Ok(measures)
}

fn aggregate(words: &str, at: Range<usize>, topic: Topic) -> Result<Aggregate, Fault> {
    const FORMS: &str = "count, sum(FIELD), min(FIELD), max(FIELD) or distinct(FIELD)";
    if words.trim() == "count" {
        return Ok(Aggregate::Count);
    }
    let parts = words.trim().strip_suffix(')').and_then(|words| words.split_once('('));
    let Some((function, name)) = parts else {
        return Err(fault(at, format!("{words:?} is no measure; there is {FORMS}")));
    };
    let field = field(name.trim(), at.clone(), topic)?;
    let number = |is: bool| {
        let needs = format!("`{}` has no {}", field.name(), if is { "numbers" } else { "numbers or times" });
        match field.kind() {
            FieldKind::Text => Err(fault(at.clone(), needs)),
            FieldKind::Time if is => Err(fault(at.clone(), needs)),
            _ => Ok(()),
        }
    };
    match function.trim() {
        "sum" => number(true).map(|()| Aggregate::Sum(field)),
        "min" => number(false).map(|()| Aggregate::Min(field)),
        "max" => number(false).map(|()| Aggregate::Max(field)),
        "distinct" => Ok(Aggregate::Distinct(field)),
        other => Err(fault(at, format!("there is no {other:?}; there is {FORMS}"))),
    }
}

fn conditions(value: &Value<'_>, topic: Topic) -> Result<Vec<Condition>, Fault> {
    let mut conditions = Vec::new();
    for (name, value) in entries(value, "`filter`")? {
        let field = field(name.get_ref(), name.span(), topic)?;
        let mut holds = |test| conditions.push(Condition { field, test });
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            holds(Test::In(data(value, field)?));
            continue;
        }
        let tests = entries(value, "a condition")?;
        if tests.is_empty() {
            return Err(fault(value.span(), "there is no condition in it"));
        }
        for (word, value) in tests {
            holds(test(word, value, field)?);
        }
    }
    bounded(value, conditions.len(), CONDITIONS_MAX, "conditions")?;
    Ok(conditions)
}

fn test(word: &Key<'_>, value: &Value<'_>, field: Field) -> Result<Test, Fault> {
    const KNOWN: [&str; 7] = ["in", "not", "at_least", "above", "at_most", "below", "present"];
    let bound = || match datum(value, field)? {
        Datum::Number(number) => Ok(number),
        Datum::Text(_) => Err(fault(word.span(), format!("`{}` is text, which has no order here", field.name()))),
    };
    match word.get_ref().as_ref() {
        "in" => data(value, field).map(Test::In),
        "not" => data(value, field).map(Test::NotIn),
        "at_least" => bound().map(Test::AtLeast),
        "above" => bound().map(Test::Above),
        "at_most" => bound().map(Test::AtMost),
        "below" => bound().map(Test::Below),
        "present" => match value.get_ref() {
            DeValue::Boolean(present) => Ok(Test::Present(*present)),
            _ => Err(fault(value.span(), format!("`present` is true or false, not {}", kind_of(value)))),
        },
        other => Err(fault(word.span(), unknown(other, &KNOWN))),
    }
}

/// One value, or a list of them.
fn data(value: &Value<'_>, field: Field) -> Result<Vec<Datum>, Fault> {
    let values = list(value);
    bounded(value, values.len(), VALUES_MAX, "values")?;
    if values.is_empty() {
        return Err(fault(value.span(), "there is no value in it"));
    }
    values.into_iter().map(|value| datum(value, field)).collect()
}

/// A value that a field may have.
fn datum(value: &Value<'_>, field: Field) -> Result<Datum, Fault> {
    let wrong = |what: &str| {
        let reason = format!("`{}` is {what}: {} is nothing to compare it with", field.name(), kind_of(value));
        Err(fault(value.span(), reason))
    };
    let written = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().to_owned(),
        DeValue::Integer(_) => return Err(fault(value.span(), "numbers are written in decimal here")),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => return wrong("no such thing"),
    };
    match (field.kind(), value.get_ref()) {
        (FieldKind::Text, DeValue::String(_)) => Ok(Datum::Text(written.into())),
        (FieldKind::Text, _) => wrong("text"),
        (FieldKind::Integer, DeValue::Integer(_)) => match decimal(&written, 0) {
            Some(number) => Ok(Datum::Number(number)),
            None => Err(fault(value.span(), format!("{written} is a number beyond 64 bits"))),
        },
        (FieldKind::Integer, _) => wrong("a whole number"),
        (FieldKind::Money, DeValue::Datetime(_)) => wrong("an amount of money"),
        (FieldKind::Money, _) => match decimal(&written, 4).filter(|number| number.abs() <= Money::BOUND) {
            Some(number) => Ok(Datum::Number(number)),
            None => Err(fault(
                value.span(),
                format!("{written:?} is no amount of money: up to 10^11, at most 4 digits after the point"),
            )),
        },
        (FieldKind::Time, DeValue::Datetime(_) | DeValue::String(_)) => match instant(&written) {
            Some(millis) => Ok(Datum::Number(millis)),
            None => Err(fault(value.span(), format!("{written:?} is no time: write 2024-01-15T10:00:00Z"))),
        },
        (FieldKind::Time, _) => wrong("a time"),
    }
}

/// `-12.5` with so many decimals, as a whole number of the last one. No exponent.
fn decimal(text: &str, scale: u32) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let part = part.trim_end_matches('0');
    let places = u32::try_from(part.len()).ok().filter(|places| *places <= scale)?;
    let unit = 10i64.pow(scale);
    let part = if part.is_empty() { 0 } else { part.parse::<i64>().ok()? * 10i64.pow(scale - places) };
    whole.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(part).map(|number| sign * number)
}

/// An RFC 3339 time; without an offset it is UTC, without a time of day it is midnight.
fn instant(text: &str) -> Option<i64> {
    let text = text.trim();
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    let local = || text.replace(' ', "T").parse::<NaiveDateTime>().map(|time| time.and_utc().timestamp_millis());
    let day = || text.parse::<NaiveDate>().map(|day| day.and_hms_opt(0, 0, 0));
    time.or_else(|_| local())
        .ok()
        .or_else(|| day().ok().flatten().map(|midnight| midnight.and_utc().timestamp_millis()))
}

/// The values of a list; a value alone is a list of one.
fn list<'a, 't>(value: &'a Value<'t>) -> Vec<&'a Value<'t>> {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().collect(),
        _ => vec![value],
    }
}

fn text<'a>(value: &'a Value<'_>, what: &str) -> Result<&'a str, Fault> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(fault(value.span(), format!("{what} is text in quotes, not {}", kind_of(value)))),
    }
}

fn field(name: &str, at: Range<usize>, topic: Topic) -> Result<Field, Fault> {
    let known = Field::of(topic);
    let names: Vec<&str> = known.iter().map(|field| field.name()).collect();
    known.iter().copied().find(|field| field.name() == name).ok_or_else(|| {
        fault(at, format!("records of `{}` have no field {name:?}; they have {}", topic.name(), names.join(", ")))
    })
}

fn identifier(name: &str, at: Range<usize>) -> Result<String, Fault> {
    if Layout::is_name(name) {
        return Ok(name.to_owned());
    }
    let most = Layout::NAME_MAX;
    Err(fault(at, format!("{name:?} is no name: a-z, 0-9 and _, beginning with a letter, at most {most} of them")))
}

fn bounded(value: &Spanned<impl Sized>, count: usize, most: usize, what: &str) -> Result<(), Fault> {
    if count > most { Err(fault(value.span(), format!("{count} {what} are more than {most}"))) } else { Ok(()) }
}

fn unknown(word: impl Display, known: &[&str]) -> String {
    format!("there is no `{word}` here; there is {}", known.join(", "))
}

fn kind_of(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
# Returned goods, and what they cost us.
[[view]]
name = "returns_by_store"
topic = "sales"
granularity = ["day", "hour"]
group_by = ["store_id", "category"]
filter = { quantity = { below = 0 }, total_amount = { at_least = -100.25 }, payment_method = ["card", "cash"] }
[view.measures]
returns = "count"
amount = "sum(total_amount)"
last_at = "max(timestamp)"

[[view]]
name = "buyers"
title = "Buyers, however they pay"
topic = "user_activity"
granularity = "minute"
filter.amount = { present = true, not = 0 }
filter.timestamp.at_least = 2024-01-15
measures = { users = "distinct( user_id )" }
"#;

    #[test]
    fn a_file_says_what_is_grouped_by_what() {
        let views = parse(GOOD, []).expect("it is right");
        let [returns, buyers] = &views[..] else { panic!("{views:?}") };
        assert_eq!((returns.title.as_str(), returns.topic), ("Returns by store", Topic::Sales));
        assert_eq!(returns.granularities, [Granularity::Hour, Granularity::Day]);
        assert_eq!(returns.group_by, [Field::StoreId, Field::Category]);
        let texts = |texts: &[&str]| texts.iter().map(|text| Datum::Text((*text).into())).collect::<Vec<_>>();
        let condition = |field, test| Condition { field, test };
        assert_eq!(
            returns.filter,
            [
                condition(Field::Quantity, Test::Below(0)),
                condition(Field::TotalAmount, Test::AtLeast(-1_002_500)),
                condition(Field::PaymentMethod, Test::In(texts(&["card", "cash"]))),
            ]
        );
        let names: Vec<&str> = returns.measures.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(names, ["returns", "amount", "last_at"], "in the order of the file");
        assert_eq!(
            buyers.filter,
            [
                condition(Field::Amount, Test::Present(true)),
                condition(Field::Amount, Test::NotIn(vec![Datum::Number(0)])),
                condition(Field::Timestamp, Test::AtLeast(1_705_276_800_000)),
            ]
        );
        assert_eq!(buyers.measures[0].of, Aggregate::Distinct(Field::UserId));
        assert_eq!(buyers.title, "Buyers, however they pay");
    }

    #[test]
    fn a_bad_file_is_refused_with_line_and_reason() {
        // What is written instead of what, on which line, and what is said of it.
        let cases: &[(&str, &str, usize, &str)] = &[
            ("[[view]]", "[[view", 3, ""),
            ("topic = \"sales\"", "topic = sales", 5, ""),
            ("topic = \"sales\"\n", "", 3, "the view has no `topic`"),
            ("topic = \"sales\"", "topic = \"sale\"", 5, "there is no `sale` here"),
            ("topic = \"sales\"", "topics = \"sales\"", 5, "there is no `topics` here"),
            ("topic = \"sales\"", "topic = 5", 5, "text in quotes, not a whole number"),
            ("\"returns_by_store\"", "\"Returns\"", 4, "is no name"),
            ("\"buyers\"", "\"returns_by_store\"", 15, "already"),
            ("\"buyers\"", "\"sales_total\"", 15, "already"),
            ("last_at =", "last =", 12, "what is a time"),
            ("amount = \"sum", "amount_at = \"sum", 11, "what is a time"),
            ("[\"card\", \"cash\"]", "[]", 8, "no value"),
            ("\"hour\"", "\"week\"", 6, "there is no `week` here"),
            ("[\"day\", \"hour\"]", "[]", 6, "no granularity"),
            ("\"category\"", "\"colour\"", 7, "have no field \"colour\"; they have transaction_id"),
            ("\"category\"", "\"store_id\"", 7, "twice"),
            ("\"category\"", "\"timestamp\"", 7, "is a time"),
            ("\"category\"", "\"unit_price\"", 7, "is an amount"),
            ("below = 0", "below = 0.5", 8, "`quantity` is a whole number: a number is nothing"),
            ("below = 0", "under = 0", 8, "there is no `under` here"),
            ("-100.25", "-100.25001", 8, "is no amount of money"),
            ("-100.25", "1e3", 8, "is no amount of money"),
            ("-100.25", "true", 8, "true or false is nothing"),
            ("\"cash\"", "7", 8, "`payment_method` is text: a whole number is nothing"),
            ("[\"card\", \"cash\"]", "{ above = \"a\" }", 8, "has no order"),
            ("[\"card\", \"cash\"]", "{}", 8, "no condition"),
            ("returns = \"count\"", "epoch = \"count\"", 10, "`epoch` is taken"),
            ("returns = \"count\"", "oid = \"count\"", 10, "`oid` is taken"),
            ("returns = \"count\"", "returns = \"mean(quantity)\"", 10, "there is no \"mean\""),
            ("returns = \"count\"", "returns = \"sum(store_id)\"", 10, "has no numbers"),
            ("returns = \"count\"", "returns = \"sum(timestamp)\"", 10, "has no numbers"),
            ("returns = \"count\"", "returns = \"min(category)\"", 10, "has no numbers or times"),
            ("returns = \"count\"", "returns = \"rows\"", 10, "is no measure"),
            ("returns = \"count\"", "amount = \"count\"", 11, ""),
            ("present = true", "present = 1", 19, "true or false"),
            ("2024-01-15", "\"yesterday\"", 20, "is no time"),
            ("{ users = \"distinct( user_id )\" }", "{}", 21, "no measure"),
            ("title = \"Buyers", "title = \"\\nBuyers", 16, "on one line"),
        ];
        for (was, is, line, words) in cases {
            assert!(GOOD.contains(was), "{was}");
            let error = parse(&GOOD.replacen(was, is, 1), ["sales_total"]).expect_err(is);
            assert_eq!(error.line, *line, "{is}: {error}");
            assert!(error.reason.contains(words), "{is}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(parse("", []).unwrap_err().reason.contains("no view"));
        assert!(parse("view = 3", []).unwrap_err().reason.contains("two pairs"));
        assert!(parse(&"#\n".repeat(FILE_MAX), []).unwrap_err().reason.contains("longer"));
    }

    #[test]
    fn decimals_are_exact() {
        let cases = [("1", Some(10_000)), ("-0.5", Some(-5_000)), ("+2.3400", Some(23_400)), ("1.23456", None)];
        for (text, number) in cases {
            assert_eq!(decimal(text, 4), number, "{text}");
        }
        for text in ["", "-", ".5", "1.", "1e2", "nan", "99999999999999999999", "1_000"] {
            assert_eq!(decimal(text, 4), None, "{text}");
        }
    }
}
