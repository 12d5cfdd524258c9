//! The path of a request, brought into one form before anything is decided by it, and what routes say about
//! paths. Where two programs may read one path differently, somebody gets past one of them: so whatever has two
//! readings is refused, and the upstream is sent the very text that was matched.

use std::borrow::Cow;

/// Why a path is refused. The texts are for whoever wrote the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("the path must begin with a slash")]
    NoSlash,
    #[error("the path holds a character that must be percent-encoded")]
    Character,
    #[error("the path holds a percent sign without two hexadecimal digits behind it")]
    Percent,
    #[error("the path holds an encoded slash, backslash or control character")]
    Encoded,
    #[error("the path holds a segment of dots")]
    Dots,
    #[error("the path holds an empty segment")]
    Empty,
}

/// The path with what need not be encoded decoded, and hexadecimal digits in capitals (RFC 3986, section
/// 6.2.2); refused where it could be read in two ways.
pub(crate) fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::NoSlash);
    }
    let path = if bytes.contains(&b'%') { Cow::Owned(decode(bytes)?) } else { Cow::Borrowed(path) };
    if path.bytes().any(|b| !(0x21..=0x7e).contains(&b) || matches!(b, b'\\' | b'"' | b'<' | b'>' | b'#')) {
        return Err(PathError::Character);
    }
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::Empty);
        }
        // Some servers drop what follows a semicolon, and then see dots.
        let name = segment.split(';').next().unwrap_or_default();
        if matches!(name, "." | "..") || (name.is_empty() && !segment.is_empty()) {
            return Err(PathError::Dots);
        }
    }
    Ok(path)
}

fn decode(bytes: &[u8]) -> Result<String, PathError> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            text.push(if byte.is_ascii() { byte as char } else { return Err(PathError::Character) });
            rest = after;
            continue;
        }
        let [high, low, ..] = after else { return Err(PathError::Percent) };
        let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(PathError::Percent) };
        let value = high << 4 | low;
        match value {
            b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(PathError::Encoded),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(value as char),
            // Decoded twice by somebody behind us, this would be one of the above.
            b'%' => return Err(PathError::Encoded),
            _ => {
                text.push('%');
                text.extend([high, low].map(|d| char::from(b"0123456789ABCDEF"[usize::from(d)])));
            }
        }
        rest = &after[2..];
    }
    Ok(text)
}

/// What a route says about paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathRule {
    /// This path and everything below it; without its last slash.
    Prefix(String),
    /// Segment by segment; `None` is any one segment.
    Pattern(Vec<Option<String>>),
}

impl PathRule {
    /// `/api` or `/api/`: that path and whatever lies below it.
    pub(crate) fn prefix(text: &str) -> Result<Self, PathError> {
        Ok(Self::Prefix(normalise(text)?.trim_end_matches('/').to_owned()))
    }

    /// `/users/{id}/orders`: a name in braces stands for one segment.
    pub(crate) fn pattern(text: &str) -> Result<Self, PathError> {
        let plain: String = text.chars().map(|c| if matches!(c, '{' | '}') { '_' } else { c }).collect();
        normalise(&plain)?;
        let segment = |segment: &str| {
            let any = segment.starts_with('{') && segment.ends_with('}') && segment.len() > 2;
            if any { Ok(None) } else { normalise(&format!("/{segment}")).map(|s| Some(s[1..].to_owned())) }
        };
        Ok(Self::Pattern(text[1..].split('/').map(segment).collect::<Result<_, _>>()?))
    }

    /// Whether a normalised path falls under it.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Pattern(rule) => {
                let mut segments = path[1..].split('/');
                rule.iter().all(|wanted| match (wanted, segments.next()) {
                    (Some(wanted), Some(segment)) => wanted == segment,
                    (None, Some(segment)) => !segment.is_empty(),
                    (_, None) => false,
                }) && segments.next().is_none()
            }
        }
    }

    /// Rules of larger rank are asked first: patterns before prefixes, what says more before what says less.
    pub(crate) fn rank(&self) -> (bool, usize, usize) {
        match self {
            Self::Prefix(prefix) => (false, prefix.len(), 0),
            Self::Pattern(rule) => (true, rule.iter().flatten().count(), rule.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for (path, why) in [
            ("", PathError::NoSlash),
            ("*", PathError::NoSlash),
            ("/a/../b", PathError::Dots),
            ("/a/.", PathError::Dots),
            ("/a/%2e%2E/b", PathError::Dots),
            ("/a/..;x=1/b", PathError::Dots),
            ("/a/;/b", PathError::Dots),
            ("/a//b", PathError::Empty),
            ("//a", PathError::Empty),
            ("/a%2fb", PathError::Encoded),
            ("/a%2Fb", PathError::Encoded),
            ("/a%5cb", PathError::Encoded),
            ("/a%00", PathError::Encoded),
            ("/a%0d%0ab", PathError::Encoded),
            ("/a%252fb", PathError::Encoded),
            ("/a%2", PathError::Percent),
            ("/a%zz", PathError::Percent),
            ("/a\\b", PathError::Character),
            ("/a b", PathError::Character),
            ("/a\u{e9}", PathError::Character),
            ("/a\u{1}", PathError::Character),
            ("/a#b", PathError::Character),
        ] {
            assert_eq!(normalise(path), Err(why), "{path:?}");
        }
    }

    #[test]
    fn a_path_has_one_form() {
        for (path, form) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/%61pi/%7euser", "/api/~user"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a;v=1/b,c", "/a;v=1/b,c"),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(form));
            assert_eq!(normalise(form).as_deref(), Ok(form), "and its form is its own");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash_and_a_pattern_is_whole() {
        let prefix = PathRule::prefix("/api/").expect("a prefix");
        assert!(prefix.matches("/api") && prefix.matches("/api/") && prefix.matches("/api/x/y"));
        assert!(!prefix.matches("/apix") && !prefix.matches("/"));
        assert!(PathRule::prefix("/").expect("a prefix").matches("/anything"));
        let pattern = PathRule::pattern("/users/{id}/orders").expect("a pattern");
        assert!(pattern.matches("/users/7/orders"));
        for path in ["/users/7", "/users//orders", "/users/7/orders/1", "/users/7/orders/", "/user/7/orders"]
        {
            assert!(!pattern.matches(path), "{path}");
        }
        assert!(
            PathRule::pattern("/a/{id}").expect("p").rank() > PathRule::prefix("/a/long").expect("p").rank()
        );
    }
}
