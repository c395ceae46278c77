//! What a store was filled with: every setting that decides a record's outcome or a document's content, as the store
//! keeps it beside the numbers.
//!
//! The text is `source=IDENTITY; correction_window_ms=N; max_future_ms=N; timezone=ZONE`, and where they are not the
//! usual ones `; views=NAME,NAME`, `; added=NAME,NAME` and `; view_file=JSON TEXT`.

use tillflow_dataflows::records::Millis;

use crate::views::file_differences;

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Where the records come from.
    pub source: String,
    /// How long after an event its partition still takes corrections, in milliseconds.
    pub correction_window: Millis,
    /// How far after its Kafka timestamp a record may be dated, in milliseconds.
    pub max_future: Millis,
    /// What zone-less times are read in.
    pub timezone: String,
    /// The built-in views that are maintained, in order; absent: all.
    pub views: Option<Vec<String>>,
    /// The views that developers have added to the program.
    pub added: Vec<String>,
    /// The text of the `--view-file`.
    pub view_file: Option<String>,
}

const WINDOW: &str = "; correction_window_ms=";

impl Configuration {
    /// As the store keeps it.
    pub fn text(&self) -> String {
        let Configuration { source, correction_window, max_future, timezone, views, added, view_file } = self;
        let mut text =
            format!("source={source}{WINDOW}{correction_window}; max_future_ms={max_future}; timezone={timezone}");
        if let Some(views) = views {
            text.push_str(&format!("; views={}", views.join(",")));
        }
        if !added.is_empty() {
            text.push_str(&format!("; added={}", added.join(",")));
        }
        if let Some(file) = view_file {
            // Nothing of the text can be taken for the next setting, or for the first one.
            let quoted = serde_json::Value::from(file.as_str()).to_string().replace(';', "\\u003b");
            text.push_str(&format!("; view_file={quoted}"));
        }
        text
    }

    /// Reads what [`Configuration::text`] wrote; the error says what of it is unknown.
    pub fn parse(text: &str) -> Result<Configuration, String> {
        // The source may be called anything.
        let place = text.rfind(WINDOW).ok_or("no correction window")?;
        let (source, settings) = text.split_at(place);
        let mut configuration = Configuration {
            source: source.strip_prefix("source=").unwrap_or(source).to_owned(),
            correction_window: 0,
            max_future: 0,
            timezone: String::new(),
            views: None,
            added: Vec::new(),
            view_file: None,
        };
        for setting in settings.trim_start_matches("; ").split("; ") {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            let millis = || value.parse().map_err(|_| format!("{name}={value}"));
            let names = || value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            match name {
                "correction_window_ms" => configuration.correction_window = millis()?,
                "max_future_ms" => configuration.max_future = millis()?,
                "timezone" => configuration.timezone = value.to_owned(),
                "views" => configuration.views = Some(names()),
                "added" => configuration.added = names(),
                "view_file" => {
                    let file = serde_json::from_str(value).map_err(|_| String::from("an unreadable view_file"))?;
                    configuration.view_file = Some(file);
                }
                other => return Err(other.to_owned()),
            }
        }
        Ok(configuration)
    }

    /// Which settings, the source aside, are other than a store's: each by its flag, and what either has.
    pub fn differences(&self, store: &Configuration) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |flag: &str, ours: String, theirs: String| {
            if ours != theirs {
                differences.push(format!("{flag}: the store has {theirs}, this run {ours}"));
            }
        };
        let millis = |millis: Millis| format!("{millis} ms");
        compare("--correction-window", millis(self.correction_window), millis(store.correction_window));
        compare("--max-future", millis(self.max_future), millis(store.max_future));
        compare("--timezone", self.timezone.clone(), store.timezone.clone());
        let views = |views: &Option<Vec<String>>| views.as_ref().map_or("all".into(), |views| views.join(","));
        compare("--views", views(&self.views), views(&store.views));
        let added = |added: &[String]| if added.is_empty() { "none".into() } else { added.join(",") };
        compare("views of the program itself", added(&self.added), added(&store.added));
        let files = file_differences(self.view_file.as_deref(), store.view_file.as_deref());
        differences.extend(files.map(|words| format!("--view-file: {words}")));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> Configuration {
        Configuration {
            source: "ndjson:a; correction_window_ms=3; b=".into(),
            correction_window: 172_800_000,
            max_future: 600_000,
            timezone: "Europe/Berlin".into(),
            views: None,
            added: Vec::new(),
            view_file: None,
        }
    }

    #[test]
    fn the_text_says_all_of_it() {
        let plain = configuration();
        assert_eq!(
            plain.text(),
            "source=ndjson:a; correction_window_ms=3; b=; correction_window_ms=172800000; max_future_ms=600000; \
             timezone=Europe/Berlin"
        );
        let file = "# a; correction_window_ms=1; views=x\nname = \"\u{2028}ü\\\"\n";
        let full = Configuration {
            views: Some(vec!["sales_total".into(), "stock".into()]),
            added: vec!["ours".into()],
            view_file: Some(file.into()),
            ..configuration()
        };
        let empty = Configuration { views: Some(Vec::new()), ..configuration() };
        for configuration in [plain, full, empty] {
            assert_eq!(Configuration::parse(&configuration.text()), Ok(configuration));
        }
        assert_eq!(
            Configuration::parse(&format!("{}; sampling=0.5", configuration().text())),
            Err("sampling".to_owned())
        );
        assert!(Configuration::parse("anything").is_err());
    }

    #[test]
    fn differences_name_the_flag() {
        let ours = configuration();
        let store = Configuration { timezone: "UTC".into(), views: Some(vec!["stock".into()]), ..configuration() };
        assert_eq!(
            ours.differences(&store),
            ["--timezone: the store has UTC, this run Europe/Berlin", "--views: the store has stock, this run all"]
        );
        let elsewhere = Configuration { source: "kafka".into(), ..configuration() };
        assert!(ours.differences(&elsewhere).is_empty());
        let file = "[[view]]\nname = \"a\"\ntopic = \"sales\"\ngranularity = \"day\"\nmeasures.n = \"count\"";
        let with_file = Configuration { view_file: Some(file.into()), ..configuration() };
        assert_eq!(ours.differences(&with_file), ["--view-file: the store has a view a, this run none"]);
    }
}
