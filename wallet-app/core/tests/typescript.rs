//! `wallet-app/ui/src/gen/wallet.ts` is made from the types of `desk`. When this test says that it is stale, run
//! `cargo xtask codegen`.

use miid_wallet::desk::view::{
    Binding, Connection, ConnectionState, Gateway, Identity, Lid, Link, Mute, Notice, Request, Risk, Rule,
    RuleKind, Service, Session, Settings, Stage, Standing, View,
};
use miid_wallet::desk::{
    Approved, Claimed, Code, Ended, ExportedHistory, Field, Fields, HandleHeld, HistoryEntry, HistoryPage,
    HistoryQuery, NewIdentity, Proposal, ProposedClaim, RuleWish, SavedSheet, Sheet, SheetRetire, Told, Yes,
};
use ts_rs::{Config, TS};

fn declaration<T: TS>(config: &Config) -> String {
    format!("export {}\n", T::decl(config))
}

#[test]
fn the_windows_types_are_fresh() {
    let config = Config::default();
    let mut text =
        String::from("// Generated from wallet-app/core/src/desk; refresh with `cargo xtask codegen`.\n\n");
    for declaration in [
        declaration::<Code>(&config),
        declaration::<Told>(&config),
        declaration::<Stage>(&config),
        declaration::<Lid>(&config),
        declaration::<ConnectionState>(&config),
        declaration::<Connection>(&config),
        declaration::<Gateway>(&config),
        declaration::<Identity>(&config),
        declaration::<Service>(&config),
        declaration::<Standing>(&config),
        declaration::<Binding>(&config),
        declaration::<Risk>(&config),
        declaration::<Request>(&config),
        declaration::<Link>(&config),
        declaration::<Session>(&config),
        declaration::<RuleKind>(&config),
        declaration::<Rule>(&config),
        declaration::<Mute>(&config),
        declaration::<Settings>(&config),
        declaration::<View>(&config),
        declaration::<Notice>(&config),
        declaration::<NewIdentity>(&config),
        declaration::<Sheet>(&config),
        declaration::<SheetRetire>(&config),
        declaration::<SavedSheet>(&config),
        declaration::<HandleHeld>(&config),
        declaration::<Field>(&config),
        declaration::<Fields>(&config),
        declaration::<ProposedClaim>(&config),
        declaration::<Proposal>(&config),
        declaration::<RuleWish>(&config),
        declaration::<Yes>(&config),
        declaration::<Approved>(&config),
        declaration::<Ended>(&config),
        declaration::<Claimed>(&config),
        declaration::<HistoryQuery>(&config),
        declaration::<HistoryEntry>(&config),
        declaration::<HistoryPage>(&config),
        declaration::<ExportedHistory>(&config),
    ] {
        text.push_str(&declaration);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/src/gen/wallet.ts");
    if std::env::var_os("MIID_UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().expect("a folder")).expect("create");
        std::fs::write(path, &text).expect("write");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "wallet-app/ui/src/gen/wallet.ts is stale: run `cargo xtask codegen`");
}
