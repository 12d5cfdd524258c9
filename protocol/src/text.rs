//! Text that a person will read, and the small alphabets of scopes, claims and the like. What a
//! service says travels as text and stays text; what could disguise it is refused (threats 25).

/// Longest binding message, in characters.
pub const MAX_BINDING_MESSAGE: usize = 140;
/// Longest user agent, in characters.
pub const MAX_USER_AGENT: usize = 512;
/// Most scopes, and most claims, in one request.
pub const MAX_NAMES: usize = 20;
/// Longest value of a shared claim, in characters.
pub const MAX_CLAIM_VALUE: usize = 1024;

/// Whether a line may be shown: at most `max` characters, none of them a control, format, bidi or
/// line-separating character.
pub fn is_displayable(text: &str, max: usize) -> bool {
    // Bytes bound the count of characters from above, so a long text is refused without a walk.
    text.len() <= max * 4 && text.chars().count() <= max && !text.chars().any(is_disguise)
}

/// `[a-z0-9:._-]{1,64}`
pub fn is_scope(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b':' | b'.' | b'_' | b'-'))
}

/// `[a-z0-9_]{1,32}`
pub fn is_claim_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a list repeats itself; lists are short (see [`MAX_NAMES`]).
pub fn has_duplicates(names: &[String]) -> bool {
    names.iter().enumerate().any(|(i, name)| names[..i].contains(name))
}

/// A PKCE S256 challenge (RFC 7636): base64url of 32 bytes, strict.
pub fn is_s256_challenge(text: &str) -> bool {
    text.len() == 43 && crate::jws::decode(text).is_some_and(|bytes| bytes.len() == 32)
}

/// A PKCE verifier (RFC 7636, section 4.1).
pub fn is_code_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// Control characters, Unicode's format characters (Cf: among them the bidi overrides and isolates,
/// zero-width characters and tags), the separators that break a line, and the fillers that show nothing.
fn is_disguise(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x00AD | 0x0600..=0x0605 | 0x061C | 0x06DD | 0x070F | 0x0890..=0x0891 | 0x08E2 | 0x180E
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x2064 | 0x2066..=0x206F | 0xFEFF
            | 0xFFF9..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE0001 | 0xE0020..=0xE007F
            | 0x034F | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180D | 0x2800 | 0x3164 | 0xFFA0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_refused_and_plain_text_of_any_script_is_not() {
        assert!(is_displayable("데모 가게에 로그인 – “hi” 😀", 140));
        for text in ["a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", "a\u{2028}b", "\u{7f}", "\u{3164}"] {
            assert!(!is_displayable(text, 140), "{text:?}");
        }
        assert!(is_displayable(&"가".repeat(140), 140));
        assert!(!is_displayable(&"가".repeat(141), 140));
    }
}
