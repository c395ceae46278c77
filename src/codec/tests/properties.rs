//! Properties over random bytes, texts and records.

use proptest::prelude::*;

use super::model::*;
use super::*;

fn topic() -> impl Strategy<Value = Topic> {
    proptest::sample::select(&Topic::ALL[..])
}

fn order() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![Just(vec![0]), proptest::collection::vec(any::<u16>(), 24)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn records_of_the_model_become_what_the_model_says(
        (topic, fields) in topic().prop_flat_map(|topic| (Just(topic), prop_oneof![fields(topic, 0), fields(topic, 1), fields(topic, 5)])),
        spoiler in spoiler(),
        order in order(),
        dice in dice(),
    ) {
        let mut expected = expected(topic, &fields);
        let more = match &spoiler {
            Spoiler::Unknown(more) => more.iter().map(|part| part.to_string()).collect(),
            Spoiler::Twice(which) => {
                expected = Err(Reason::DuplicateField);
                match fields.get(*which) {
                    Some((name, given)) if !given.json.is_empty() => vec![format!("\"{name}\":{}", given.json)],
                    _ => vec!["\"new\":1".to_owned(), "\"\\u006eew\":2".to_owned()],
                }
            }
            Spoiler::Broken(part) => {
                expected = Err(Reason::InvalidJson);
                vec![part.to_string()]
            }
            Spoiler::Deep => {
                expected = Err(Reason::InvalidJson);
                vec![format!("\"z\":{}{}", "[".repeat(128), "]".repeat(128))]
            }
        };
        let text = write(&fields, &more, &order, &dice);
        prop_assert_eq!(decode(topic, text.as_bytes()), expected, "{}", text);
    }

    #[test]
    fn spelling_and_order_do_not_matter(
        (topic, fields) in topic().prop_flat_map(|topic| (Just(topic), fields(topic, 0))),
        order in order(),
        forms in proptest::collection::vec(any::<u8>(), 10),
        dice in dice(),
    ) {
        let respelled: Vec<_> = fields.iter().zip(&forms).map(|((name, given), &form)| {
            let json = match &given.verdict {
                Verdict::Text(text) => spell(text, &[form, form / 2, form / 4]),
                Verdict::Money(units) => money_text(*units, form),
                Verdict::Time(millis) => spell(&time_text(*millis, form), &[form]),
                Verdict::Missing if given.json.is_empty() => "null".to_owned(),
                Verdict::Missing => String::new(),
                _ => given.json.clone(),
            };
            (*name, Given { json, verdict: given.verdict.clone() })
        }).collect();
        let one = decode(topic, write(&fields, &[], &[0], &[0]).as_bytes());
        let other = decode(topic, write(&respelled, &["\"more\":[]".to_owned()], &order, &dice).as_bytes());
        prop_assert!(one.is_ok(), "{:?}", one);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn any_bytes_have_an_outcome(topic in topic(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let outcome = decode(topic, &bytes);
        if std::str::from_utf8(&bytes).is_err() {
            prop_assert_eq!(outcome, Err(Reason::InvalidUtf8));
        }
    }

    #[test]
    fn bytes_like_json_have_an_outcome(topic in topic(), text in r#"[{}\[\]",:\\ud8c0tfn \-.e1]{0,40}|\{("[ab]{0,2}":("[^"]{0,9}"|[0-9.e+-]{1,5}|null|true|\[1\]|\{\}) ?,? ?){0,4}\}"#) {
        let outcome = decode(topic, text.as_bytes());
        // What serde_json reads is JSON, but for the numbers that a double does not hold.
        if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
            prop_assert_ne!(outcome, Err(Reason::InvalidJson), "{}", text);
        } else if !text.contains(['e', 'E']) {
            prop_assert_eq!(outcome, Err(Reason::InvalidJson), "{}", text);
        }
    }

    #[test]
    fn damaged_records_have_an_outcome(
        (topic, fields) in topic().prop_flat_map(|topic| (Just(topic), fields(topic, 1))),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = write(&fields, &[], &[0], &[0]).into_bytes();
        for (at, byte, action) in damage {
            let at = at.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let outcome = decode(topic, &bytes);
        prop_assert_eq!(UTC.decode(topic, &bytes).map_err(|rejection| rejection.reason), outcome);
    }
}
