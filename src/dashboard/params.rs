//! What a request's query says.

use chrono::{DateTime, NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use tillflow_dataflows::records::Millis;

use super::kinds::Granularity;
use super::message::Request;

/// A parameter that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}={value}` is not {expected}")]
pub struct BadParameter {
    /// Its name.
    pub name: &'static str,
    /// What it was given.
    pub value: String,
    /// What it should be.
    pub expected: &'static str,
}

fn bad(name: &'static str, value: &str, expected: &'static str) -> BadParameter {
    BadParameter { name, value: super::text::label(value), expected }
}

impl Request {
    /// The first value of a parameter; one that is given without text counts as not given.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The query in one order whatever the client's, for validators and caches.
    pub fn normalised_query(&self) -> String {
        let mut pairs: Vec<&(String, String)> = self.query.iter().collect();
        pairs.sort();
        let mut text = String::new();
        for (name, value) in pairs {
            // Lengths keep apart what the separators alone would not.
            text.push_str(&format!("{}:{name}={}:{value};", name.len(), value.len()));
        }
        text
    }

    /// `epoch=812`.
    pub fn epoch(&self) -> Result<Option<u64>, BadParameter> {
        self.parameter("epoch")
            .map(|text| text.parse().map_err(|_| bad("epoch", text, "an epoch's number")))
            .transpose()
    }

    /// `granularity=hour`.
    pub fn granularity(&self) -> Result<Option<Granularity>, BadParameter> {
        self.parameter("granularity")
            .map(|text| Granularity::from_name(text).ok_or_else(|| bad("granularity", text, "minute, hour or day")))
            .transpose()
    }

    /// `limit=100`, from 1 to `most`.
    pub fn limit(&self, most: usize) -> Result<Option<usize>, BadParameter> {
        self.parameter("limit")
            .map(|text| match text.parse::<usize>() {
                Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
                _ => Err(bad("limit", text, "a whole number from 1 to 10000")),
            })
            .transpose()
    }

    /// `from=` or `to=`: RFC 3339, milliseconds since 1970, or a local time without a zone, read in `zone`.
    pub fn instant(&self, name: &'static str, zone: Tz) -> Result<Option<Millis>, BadParameter> {
        self.parameter(name)
            .map(|text| {
                parse_instant(text, zone)
                    .ok_or_else(|| bad(name, text, "a time like 2024-01-15T10:30:00Z or milliseconds since 1970"))
            })
            .transpose()
    }
}

/// The last instant that is shown: the end of the year 9999.
const INSTANT_MAX: Millis = 253_402_300_799_999;

fn parse_instant(text: &str, zone: Tz) -> Option<Millis> {
    let instant = if let Ok(millis) = text.parse::<i64>() {
        millis
    } else if let Ok(time) = DateTime::parse_from_rfc3339(&with_plus(text)) {
        time.timestamp_millis()
    } else {
        let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok())
            .or_else(|| NaiveDateTime::parse_from_str(&format!("{text}T00:00"), "%Y-%m-%dT%H:%M").ok())?;
        // A time that occurs twice is the earlier; one that is skipped is the hour after.
        let hour = chrono::TimeDelta::hours(1);
        let found = zone.from_local_datetime(&local).earliest();
        found.or_else(|| zone.from_local_datetime(&(local + hour)).earliest())?.timestamp_millis()
    };
    (0..=INSTANT_MAX).contains(&instant).then_some(instant)
}

/// A `+` that was not encoded in the query has arrived as a space.
fn with_plus(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((time, offset)) if time.contains('T') && offset.len() == 5 => format!("{time}+{offset}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_come_in_three_forms() {
        let utc = chrono_tz::UTC;
        for text in [
            "1705314600000",
            "2024-01-15T10:30:00Z",
            "2024-01-15T11:30:00+01:00",
            "2024-01-15T11:30:00 01:00",
            "2024-01-15T10:30",
        ] {
            assert_eq!(parse_instant(text, utc), Some(1_705_314_600_000), "{text}");
        }
        assert_eq!(parse_instant("2024-01-15T12:30", chrono_tz::Asia::Beirut), Some(1_705_314_600_000));
        assert_eq!(parse_instant("2024-01-15", utc), Some(1_705_276_800_000));
        for text in ["", "yesterday", "-1", "99999999999999999999", "2024-13-01", "2024-01-15T10:30:00+99:00"] {
            assert_eq!(parse_instant(text, utc), None, "{text}");
        }
        // Midnight is skipped there on that day.
        assert_eq!(
            parse_instant("2024-03-31", chrono_tz::Asia::Beirut),
            parse_instant("2024-03-31T01:00", chrono_tz::Asia::Beirut)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse_instant(&text, chrono_tz::America::Sao_Paulo);
        }
    }
}
