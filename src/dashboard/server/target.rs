//! The request target: path and query, percent-decoded once, strictly.

/// Splits and decodes an origin-form target. `None` if it is not one: not starting with `/`, a broken percent
/// escape, or text that is not UTF-8 or holds control characters after decoding.
pub(super) fn decode(target: &str) -> Option<(String, Vec<(String, String)>)> {
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = percent_decode(path)?;
    if path.chars().any(char::is_control) {
        return None;
    }
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Some((path, query))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_path_and_query_in_order() {
        let (path, query) = decode("/api/v1/views/caf%C3%A9?key=a%26b&limit=5&key=x+y&empty").unwrap();
        assert_eq!(path, "/api/v1/views/café");
        let expected = [("key", "a&b"), ("limit", "5"), ("key", "x y"), ("empty", "")];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn refuses_what_is_no_plain_target() {
        for target in
            ["", "*", "http://a/", "a", "/%", "/%2", "/%zz", "/%+1", "/%ff", "/%00", "/a%0d%0ab", "/a#b", "/ä"]
        {
            assert_eq!(decode(target), None, "{target}");
        }
    }

    #[test]
    fn keeps_a_query_that_is_not_utf8_readable() {
        let (_, query) = decode("/a?x=%ff").unwrap();
        assert_eq!(query, [("x".to_owned(), "\u{fffd}".to_owned())]);
    }
}
