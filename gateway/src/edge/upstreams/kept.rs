//! A copy of a request's head, for the one time in very many that it has to be sent again. It is one piece of
//! memory: a copy field by field costs several times as much.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// A head.
pub(crate) struct Kept {
    method: Method,
    target: Uri,
    /// Each field's name and value, with the lengths of both before them.
    fields: Vec<u8>,
}

/// More than the fields of nearly every request take.
const USUAL: usize = 2048;

impl Kept {
    pub(crate) fn of(method: &Method, target: &Uri, headers: &HeaderMap) -> Self {
        let mut fields = Vec::with_capacity(USUAL);
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            fields.extend_from_slice(&name.len().to_le_bytes());
            fields.extend_from_slice(&value.len().to_le_bytes());
            fields.extend_from_slice(name);
            fields.extend_from_slice(value);
        }
        Self { method: method.clone(), target: target.clone(), fields }
    }

    /// What was kept.
    pub(crate) fn again(&self) -> (Method, Uri, HeaderMap) {
        let mut headers = HeaderMap::new();
        let mut rest = self.fields.as_slice();
        while let Some((name, value)) = field(&mut rest) {
            headers.append(name, value);
        }
        (self.method.clone(), self.target.clone(), headers)
    }
}

fn field(rest: &mut &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let mut length = || rest.split_off(..size_of::<usize>())?.try_into().ok().map(usize::from_le_bytes);
    let (name, value) = (length()?, length()?);
    let name = HeaderName::from_bytes(rest.split_off(..name)?).ok()?;
    let value = HeaderValue::from_bytes(rest.split_off(..value)?).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_whole() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("host", &b"a"[..]), ("x-empty", b""), ("x-twice", b"1"), ("x-high", b"\xff\x80")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        headers.append("x-twice", HeaderValue::from_static("2"));
        let target = Uri::from_static("/a?b");
        let again = Kept::of(&Method::DELETE, &target, &headers).again();
        assert_eq!(again, (Method::DELETE, target, headers));
    }
}
