//! The one place that reads the clock and draws random numbers, as the programs have one each.

/// Seconds since 1970, for `iat`.
#[allow(clippy::disallowed_methods, reason = "this is the clock's file")]
pub fn now_s() -> i64 {
    let elapsed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(elapsed.as_secs()).expect("seconds fit")
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A fresh name: 128 random bits, base64url.
pub fn name() -> String {
    miid_protocol::jws::encode(&random::<16>())
}

/// A fresh name in lower-case hex, where case is folded or `-` means something.
pub fn hex_name() -> String {
    random::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}
