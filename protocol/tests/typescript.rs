//! `frontend/src/gen/protocol.ts` is made from the types here. When this test says that it is
//! stale, run `cargo xtask codegen`.

use miid_protocol::browser::{
    ForceLogout, LoginStatus, ReturnRequest, SessionInfo, StartRequest, StartResponse,
};
use miid_protocol::problem::{ErrorCode, Problem};
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason, RevokeReason};
use ts_rs::{Config, TS};

fn declaration<T: TS>(config: &Config) -> String {
    format!("export {}\n", T::decl(config))
}

#[test]
fn the_frontend_types_are_fresh() {
    let config = Config::default();
    let mut text = String::from("// Generated from protocol/src; refresh with `cargo xtask codegen`.\n\n");
    for declaration in [
        declaration::<Binding>(&config),
        declaration::<ChallengeStatus>(&config),
        declaration::<DenyReason>(&config),
        declaration::<ExpireReason>(&config),
        declaration::<EndReason>(&config),
        declaration::<RevokeReason>(&config),
        declaration::<StartRequest>(&config),
        declaration::<StartResponse>(&config),
        declaration::<LoginStatus>(&config),
        declaration::<ReturnRequest>(&config),
        declaration::<SessionInfo>(&config),
        declaration::<ForceLogout>(&config),
        declaration::<ErrorCode>(&config),
        declaration::<Problem>(&config),
    ] {
        text.push_str(&declaration);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/src/gen/protocol.ts");
    if std::env::var_os("MIID_UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().expect("a folder")).expect("create");
        std::fs::write(path, &text).expect("write");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "frontend/src/gen/protocol.ts is stale: run `cargo xtask codegen`");
}
