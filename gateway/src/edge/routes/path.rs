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
    #[error("the path holds a semicolon")]
    Parameter,
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
    // Some servers drop what follows a semicolon: `/secret;x=1/y` is `/secret/y` to them, and something else to
    // others.
    if path.bytes().any(|b| b == b';') {
        return Err(PathError::Parameter);
    }
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::Empty);
        }
        if matches!(segment, "." | "..") {
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
            // Some decode it first and then see parameters, others the other way round.
            b';' => return Err(PathError::Parameter),
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
        Ok(Self::Pattern(segments(text).map(segment).collect::<Result<_, _>>()?))
    }

    /// Whether a normalised path falls under it. Servers that serve `/a` mostly serve `/a/` alike, and many read
    /// `/A` alike, too.
    pub(crate) fn matches(&self, path: &str) -> Match {
        match self {
            Self::Prefix(prefix) => {
                let Some((start, rest)) = path.split_at_checked(prefix.len()) else { return Match::No };
                let below = rest.is_empty() || rest.starts_with('/');
                if below { Match::of([(prefix.as_str(), start)]) } else { Match::No }
            }
            Self::Pattern(rule) => {
                let there = segments(path);
                if there.clone().count() != rule.len() {
                    return Match::No;
                }
                let pairs = rule.iter().zip(there);
                if pairs.clone().any(|(wanted, segment)| wanted.is_none() && segment.is_empty()) {
                    return Match::No;
                }
                Match::of(pairs.filter_map(|(wanted, segment)| Some((wanted.as_deref()?, segment))))
            }
        }
    }

    /// Whether some path falls under both, and neither says more: who came first in a file would decide.
    pub(crate) fn ties_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pattern(these), Self::Pattern(those)) => {
                let meet = |(this, that): (&Option<String>, &Option<String>)| match (this, that) {
                    (Some(this), Some(that)) => this.eq_ignore_ascii_case(that),
                    _ => true,
                };
                self.rank() == other.rank() && these.iter().zip(those).all(meet)
            }
            (Self::Prefix(this), Self::Prefix(that)) => this.eq_ignore_ascii_case(that),
            _ => false,
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

/// Whether a path falls under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    No,
    /// If capitals did not count.
    ButForCapitals,
    Yes,
}

impl Match {
    fn of<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let mut exact = true;
        for (wanted, there) in pairs {
            if !wanted.eq_ignore_ascii_case(there) {
                return Self::No;
            }
            exact &= wanted == there;
        }
        if exact { Self::Yes } else { Self::ButForCapitals }
    }
}

/// Without the first slash and the last.
fn segments(path: &str) -> std::str::Split<'_, char> {
    let inner = &path[1..];
    inner.strip_suffix('/').unwrap_or(inner).split('/')
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
            ("/a/..;x=1/b", PathError::Parameter),
            ("/a/;/b", PathError::Parameter),
            ("/a;v=1/b", PathError::Parameter),
            ("/a%3bv=1/b", PathError::Parameter),
            ("/a%3Bv=1/b", PathError::Parameter),
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
            ("/a:v=1/b,c", "/a:v=1/b,c"),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(form));
            assert_eq!(normalise(form).as_deref(), Ok(form), "and its form is its own");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash_and_a_pattern_is_whole() {
        let prefix = PathRule::prefix("/api/").expect("a prefix");
        for path in ["/api", "/api/", "/api/x/y"] {
            assert_eq!(prefix.matches(path), Match::Yes, "{path}");
        }
        for path in ["/apix", "/", "/ap"] {
            assert_eq!(prefix.matches(path), Match::No, "{path}");
        }
        assert_eq!(prefix.matches("/API/x"), Match::ButForCapitals);
        assert_eq!(PathRule::prefix("/").expect("a prefix").matches("/anything"), Match::Yes);
        for text in ["/users/{id}/orders", "/users/{id}/orders/"] {
            let pattern = PathRule::pattern(text).expect("a pattern");
            for path in ["/users/7/orders", "/users/7/orders/", "/users/ID/orders"] {
                assert_eq!(pattern.matches(path), Match::Yes, "{path}");
            }
            for path in ["/users/7", "/users//orders", "/users/7/orders/1", "/user/7/orders", "/"] {
                assert_eq!(pattern.matches(path), Match::No, "{path}");
            }
            assert_eq!(pattern.matches("/users/7/Orders/"), Match::ButForCapitals);
        }
        let root = PathRule::pattern("/").expect("a pattern");
        assert_eq!((root.matches("/"), root.matches("/a")), (Match::Yes, Match::No));
        assert_eq!(PathRule::pattern("/{any}").expect("a pattern").matches("/"), Match::No);
        assert!(
            PathRule::pattern("/a/{id}").expect("p").rank() > PathRule::prefix("/a/long").expect("p").rank()
        );
    }

    #[test]
    fn patterns_that_meet_and_of_which_neither_says_more_tie() {
        let ties = |one: &str, other: &str| {
            let rule = |text: &str| PathRule::pattern(text).expect("a pattern");
            let ties = rule(one).ties_with(&rule(other));
            assert_eq!(ties, rule(other).ties_with(&rule(one)));
            ties
        };
        assert!(ties("/a/{x}", "/{y}/b"));
        assert!(ties("/a/{x}", "/A/{y}/"));
        assert!(!ties("/a/{x}", "/{y}/{z}"), "the first says more");
        assert!(!ties("/a/{x}", "/b/{x}") && !ties("/a/{x}", "/a/{x}/{y}"), "no path falls under both");
    }
}
