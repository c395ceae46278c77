//! Text that came from the stream, made fit to be shown.
//!
//! Everything a producer can write passes here before it reaches a page or a chart: what XML forbids, what
//! turns the reading direction, and what is longer than a label can be. Escaping is a second, separate step:
//! askama's for HTML, [`push_xml`] for SVG.

/// The most characters a label has, its ellipsis included.
pub const LABEL_MAX: usize = 64;

/// What stands for a character that cannot be shown.
const REPLACEMENT: char = '\u{FFFD}';

/// Characters that turn or hide the text around them.
const fn is_invisible_control(character: char) -> bool {
    matches!(character, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}'
        | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Characters that XML 1.0 forbids or that draw nothing predictable.
fn is_unprintable(character: char) -> bool {
    let code = character as u32;
    character.is_control() || code & 0xFFFE == 0xFFFE || matches!(code, 0xFDD0..=0xFDEF)
}

/// The text with nothing in it that XML forbids, that breaks a line, or that turns the reading direction.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible_control(character) {
            continue;
        }
        cleaned.push(match character {
            '\t' | '\n' | '\r' => ' ',
            _ if is_unprintable(character) => REPLACEMENT,
            _ => character,
        });
    }
    cleaned
}

/// [`clean`], cut to [`LABEL_MAX`] characters; never blank.
pub fn label(text: &str) -> String {
    let cleaned = shortened(&clean(text), LABEL_MAX);
    if cleaned.trim().is_empty() { "(blank)".to_owned() } else { cleaned }
}

/// The text cut to `max` characters, the last of them an ellipsis if anything was cut.
pub fn shortened(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Bytes as a reader can take them in: printable text as it is, everything else as `\xNN`; at most `max` bytes
/// of them, with a note of what was left out.
pub fn bytes_preview(bytes: &[u8], max: usize) -> String {
    let mut shown = String::new();
    let head = &bytes[..bytes.len().min(max)];
    for chunk in head.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_unprintable(character) || is_invisible_control(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if bytes.len() > max {
        shown.push_str(&format!(" … ({} bytes in all)", bytes.len()));
    }
    shown
}

/// Appends text to an SVG document: the one place where SVG text and attributes are escaped.
pub fn push_xml(out: &mut String, text: &str) {
    for character in clean(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_labels_become_plain_ones() {
        assert_eq!(label("a\u{1}b"), "a\u{FFFD}b");
        assert_eq!(label("\u{202E}evil"), "evil");
        assert_eq!(label("two\nlines"), "two lines");
        assert_eq!(label(" \u{200B}"), "(blank)");
        assert_eq!(label(&"x".repeat(300)).chars().count(), LABEL_MAX);
    }

    #[test]
    fn bytes_are_shown_without_control_characters() {
        assert_eq!(bytes_preview(b"{\"a\":\xff\x00}", 64), "{\"a\":\\xff\\u{0}}");
        assert_eq!(bytes_preview(b"abcdef", 3), "abc … (6 bytes in all)");
    }

    proptest! {
        #[test]
        fn cleaning_leaves_only_what_xml_allows(text in any::<String>()) {
            let mut escaped = String::new();
            push_xml(&mut escaped, &text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert!(escaped.chars().all(|c| !is_unprintable(c) && !is_invisible_control(c)));
            prop_assert!(label(&text).chars().count() <= LABEL_MAX);
        }

        #[test]
        fn a_preview_of_any_bytes_is_printable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(bytes_preview(&bytes, 50).chars().all(|c| !is_unprintable(c)));
        }
    }
}
