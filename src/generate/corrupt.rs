//! Records that cannot be used, one way or another, each with the reason that must be found in it.

use tillflow_dataflows::records::{Millis, Reason, Topic};

use super::dice::Dice;
use super::rows::{self, Row};

const DAY: Millis = 86_400_000;

/// What a corrupt record is made into.
pub(super) struct Corrupted {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) reason: Reason,
}

/// The fields that a record may lack.
const OPTIONAL: [&str; 5] = ["ip_address", "user_agent", "product_id", "amount", "status"];

/// Spoils a sound row, at the instant `now`.
pub(super) fn corrupt<R: Row>(row: &R, now: Millis, dice: &mut Dice) -> Corrupted {
    let mut fields = rows::fields(row);
    let mut key = Some(rows::key_bytes(row));
    let (value, reason) = match dice.below(15) {
        0 => (b"ERROR: upstream timed out after 30000 ms".to_vec(), Reason::InvalidJson),
        1 => {
            let mut text = rows::json(row);
            let length = text.len() as i64;
            text.truncate(dice.between(length / 4, length - 1) as usize);
            (text, Reason::InvalidJson)
        }
        2 => {
            let text = rows::json(row);
            ([b"\xef\xbb\xbf".as_slice(), &text].concat(), Reason::InvalidJson)
        }
        3 => {
            fields[number_field::<R>()].1 = b"NaN".to_vec();
            (rows::object(&fields, ""), Reason::InvalidJson)
        }
        4 => {
            // A name cut in the middle of a character, as systems do that count bytes.
            fields[category_or_session::<R>()].1 = b"\"caf\xc3\"".to_vec();
            (rows::object(&fields, ""), Reason::InvalidUtf8)
        }
        5 => {
            let place = required_field::<R>(&fields, dice);
            fields.remove(place);
            (rows::object(&fields, ""), Reason::MissingField)
        }
        6 => {
            let place = required_field::<R>(&fields, dice);
            fields[place].1 = b"null".to_vec();
            (rows::object(&fields, ""), Reason::MissingField)
        }
        7 => {
            let place = required_field::<R>(&fields, dice);
            fields[place].1 = b"[true]".to_vec();
            (rows::object(&fields, ""), Reason::WrongType)
        }
        8 => ([b"[".as_slice(), &rows::json(row), b"]"].concat(), Reason::WrongType),
        9 => {
            let place = dice.below(fields.len() as u32) as usize;
            fields.push(fields[place].clone());
            (rows::object(&fields, ""), Reason::DuplicateField)
        }
        10 => match R::TOPIC {
            // Inventory has no money.
            Topic::Inventory => {
                fields[number_field::<R>()].1 = b"3000000000".to_vec();
                (rows::object(&fields, ""), Reason::OutOfRange)
            }
            Topic::Sales => {
                fields[5].1 = br#""12,50""#.to_vec();
                (rows::object(&fields, ""), Reason::BadMoney)
            }
            Topic::UserActivity => {
                fields.retain(|(name, _)| *name != "amount");
                fields.push(("amount", br#""n/a""#.to_vec()));
                (rows::object(&fields, ""), Reason::BadMoney)
            }
        },
        11 => {
            let text = dice.pick(&["\"2026-13-45T25:61:00Z\"", "\"yesterday\"", "\"\"", "\"15/01/2026 10:30\""]);
            fields[time_field::<R>()].1 = text.as_bytes().to_vec();
            (rows::object(&fields, ""), Reason::BadTimestamp)
        }
        12 => {
            let (value, reason) = match dice.below(3) {
                0 => (b"\"\"".to_vec(), Reason::OutOfRange),
                _ => {
                    let length = dice.between(257, 600) as usize;
                    ([b"\"".as_slice(), &b"x".repeat(length), b"\""].concat(), Reason::TooLarge)
                }
            };
            fields[0].1 = value;
            (rows::object(&fields, ""), reason)
        }
        13 if R::TOPIC != Topic::Inventory => {
            // A tombstone is for a sale that its key names; without a key, or for activity, it says nothing.
            if R::TOPIC == Topic::Sales {
                key = None;
            }
            return Corrupted { key, value: None, reason: Reason::NullValue };
        }
        _ => {
            let ahead = dice.between(1, 300) * DAY;
            let mut time = vec![b'"'];
            rows::push_text(&mut time, rows::Token::Time(now + ahead));
            time.push(b'"');
            fields[time_field::<R>()].1 = time;
            (rows::object(&fields, ""), Reason::FutureTimestamp)
        }
    };
    Corrupted { key, value: Some(value), reason }
}

/// The place of any field that must be there.
fn required_field<R: Row>(fields: &[(&str, Vec<u8>)], dice: &mut Dice) -> usize {
    let required: Vec<usize> = (0..fields.len())
        .filter(|place| *place == 0 || R::TOPIC == Topic::Sales || !OPTIONAL.contains(&fields[*place].0))
        .collect();
    dice.pick(&required)
}

/// The place of a field that is a whole number, or would be one.
fn number_field<R: Row>() -> usize {
    match R::TOPIC {
        Topic::UserActivity => 0,
        Topic::Sales => 3,
        Topic::Inventory => 1,
    }
}

fn time_field<R: Row>() -> usize {
    match R::TOPIC {
        Topic::UserActivity => 2,
        Topic::Sales => 7,
        Topic::Inventory => 3,
    }
}

fn category_or_session<R: Row>() -> usize {
    match R::TOPIC {
        Topic::UserActivity => 3,
        Topic::Sales => 9,
        Topic::Inventory => 5,
    }
}
