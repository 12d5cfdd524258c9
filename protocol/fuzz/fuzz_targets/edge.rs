//! No head and no path makes the edge fall; what it lets through is read the same by the parser behind it, and a
//! path that it lets through has one form, which nobody else reads otherwise.
#![no_main]

// The very files of the gateway, which depend on nothing else of it.
#[allow(dead_code)]
#[path = "../../../gateway/src/edge/wire/head.rs"]
mod head;
#[allow(dead_code)]
#[path = "../../../gateway/src/edge/routes/path.rs"]
mod path;

use head::{Framing, Head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As a whole, and as fields among right ones.
    look_at_head(data);
    look_at_head(&[b"POST /a HTTP/1.1\r\nHost: a\r\n", data, b"\r\n\r\n"].concat());
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    look_at_chunk(line);
    if let Ok(text) = std::str::from_utf8(data) {
        look_at_path(text);
        look_at_path(&format!("/{text}"));
        look_at_rules(text);
    }
});

fn look_at_head(bytes: &[u8]) {
    // As the gate cuts it: to the first empty line.
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let bytes = &bytes[..end + 4];
    let Ok(read) = head::read(bytes) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    assert_eq!(parsed, Ok(httparse::Status::Complete(bytes.len())), "read otherwise, or not at all");

    let line = bytes.split(|byte| *byte == b'\r').next().expect("there is a first line");
    let version = if request.version == Some(1) { "HTTP/1.1" } else { "HTTP/1.0" };
    let again = [request.method.expect("a method"), request.path.expect("a target"), version].join(" ");
    assert_eq!(again.as_bytes(), line, "the request line has one reading");
    assert_eq!(again_from(&request), read);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert_eq!(
        request.headers.len(),
        lines - 3,
        "a line is a field: the first and the two empty ones are not"
    );
}

/// What the head says of the body, from what the other parser saw.
fn again_from(request: &httparse::Request<'_, '_>) -> Head {
    let all = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii()).collect()
    };
    let word = |name: &str, wanted: &[u8]| {
        let mut words = all(name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    assert_eq!(all("host").len().max(usize::from(request.version == Some(0))), 1, "one host");
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => {
            let text = std::str::from_utf8(length).expect("digits");
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()));
            Framing::Length(text.parse().expect("a length"))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        other => panic!("two ways to find the end of the body: {other:?}"),
    };
    let upgrade = request.method == Some("GET")
        && request.version == Some(1)
        && framing == Framing::Length(0)
        && word("upgrade", b"websocket")
        && word("connection", b"upgrade");
    Head { framing, upgrade }
}

fn look_at_chunk(line: &[u8]) {
    let _ = (!line.is_empty()).then(|| head::trailer(line));
    if let Ok(size) = head::chunk_size(line) {
        let whole = [line, b"\r\n"].concat();
        let parsed = httparse::parse_chunk_size(&whole);
        assert_eq!(parsed, Ok(httparse::Status::Complete((whole.len(), size))), "read otherwise");
    }
}

fn look_at_path(text: &str) {
    let Ok(form) = path::normalise(text) else { return };
    assert_eq!(path::normalise(&form).as_deref(), Ok(&*form), "the form of a form is itself");
    assert!(form.starts_with('/') && form.is_ascii() && !form.contains(['\\', '#', ' ']));
    // What a browser or a server that resolves paths makes of it: the same.
    let origin = "http://a";
    let resolved = url::Url::parse(&format!("{origin}{}", form.replace('?', "%3F"))).expect("a URL");
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    assert_eq!(decoded(resolved.path()), decoded(&form), "nobody else goes elsewhere");
    assert_eq!(resolved.path().split('/').count(), form.split('/').count());
    // What was sent, decoded by somebody who does not look, is the same as what we send.
    assert_eq!(decoded(text), decoded(&form));
    for segment in decoded(&form).split(|byte| *byte == b'/') {
        assert!(segment != b"." && segment != b".." && !segment.contains(&b';'));
    }
}

fn look_at_rules(text: &str) {
    use path::{Match, PathRule};
    let (first, second) = text.split_once('\n').unwrap_or((text, "/"));
    let Ok(form) = path::normalise(second) else { return };
    if let Ok(rule) = PathRule::prefix(first) {
        // Below a prefix is what begins with it, segment by segment.
        let PathRule::Prefix(prefix) = &rule else { panic!("a prefix") };
        let below = |form: &str, prefix: &str| form == prefix || form.starts_with(&format!("{prefix}/"));
        let wanted = match (below(&form, prefix), below(&form.to_lowercase(), &prefix.to_lowercase())) {
            (true, _) => Match::Yes,
            (false, true) => Match::ButForCapitals,
            (false, false) => Match::No,
        };
        assert_eq!(rule.matches(&form), wanted);
        assert!(rule.ties_with(&rule));
    }
    if let Ok(rule) = PathRule::pattern(first) {
        let PathRule::Pattern(segments) = &rule else { panic!("a pattern") };
        let inner = form[1..].strip_suffix('/').unwrap_or(&form[1..]);
        assert!(rule.matches(&form) == Match::No || inner.split('/').count() == segments.len());
    }
}
