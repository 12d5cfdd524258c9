//! The commands that the page may call: each forwards to the desk and adds nothing. Capabilities name every one of
//! them; errors are the desk's [`Fault`]s.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use miid_protocol::service::DenyReason;
use miid_wallet::desk::{
    Approved, Claimed, Code, Desk, Ended, ExportedHistory, Fault, Fields, HandleHeld, HistoryPage,
    HistoryQuery, NewIdentity, Proposal, SavedSheet, Sheet, Told, View, Yes, view,
};
use miid_wallet::settings::{Language, SettingsChange, TextSize, Theme};
use tauri::{AppHandle, State, command};

use crate::autostart::{self, AutostartError};
use crate::forward::Forward;
use crate::{clipboard, events};

type Answer<T> = Result<T, Fault>;

/// When the program began, and whether it has said how long that took.
pub struct Began {
    at: Instant,
    said: AtomicBool,
}

impl Began {
    /// Now.
    pub fn now() -> Self {
        Self { at: Instant::now(), said: AtomicBool::new(false) }
    }

    /// Says once how long it took until it was ready.
    pub fn say(&self, what: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::info!("ready in {} ms ({what})", self.at.elapsed().as_millis());
        }
    }
}

#[command(rename_all = "snake_case")]
pub fn view(app: AppHandle, desk: State<'_, Desk>, began: State<'_, Began>) -> View {
    began.say("tray and window");
    events::page_listens(&app);
    desk.view()
}

#[command(rename_all = "snake_case")]
pub fn touch(desk: State<'_, Desk>, forward: State<'_, Forward>) {
    forward.settled();
    desk.touch();
}

#[command(rename_all = "snake_case")]
pub async fn create_identity(
    desk: State<'_, Desk>,
    name: String,
    passphrase: Option<String>,
    keychain: bool,
    gateway: String,
) -> Answer<view::Identity> {
    desk.create_identity(NewIdentity { name, passphrase, keychain, gateway, words: None }).await
}

#[command(rename_all = "snake_case")]
pub async fn restore_identity(
    desk: State<'_, Desk>,
    name: String,
    passphrase: Option<String>,
    keychain: bool,
    gateway: String,
    words: String,
) -> Answer<view::Identity> {
    desk.create_identity(NewIdentity { name, passphrase, keychain, gateway, words: Some(words) }).await
}

#[command(rename_all = "snake_case")]
pub async fn unlock(
    desk: State<'_, Desk>,
    forward: State<'_, Forward>,
    passphrase: Option<String>,
) -> Answer<()> {
    forward.settled();
    desk.unlock(passphrase).await
}

#[command(rename_all = "snake_case")]
pub fn lock(desk: State<'_, Desk>) {
    desk.lock();
}

#[command(rename_all = "snake_case")]
pub async fn recovery_sheet(
    desk: State<'_, Desk>,
    identity: String,
    passphrase: Option<String>,
) -> Answer<Sheet> {
    desk.recovery_sheet(&identity, passphrase).await
}

#[command(rename_all = "snake_case")]
pub async fn save_sheet(
    desk: State<'_, Desk>,
    identity: String,
    passphrase: Option<String>,
    path: Option<String>,
) -> Answer<SavedSheet> {
    desk.save_sheet(&identity, passphrase, path).await
}

#[command(rename_all = "snake_case")]
pub async fn keep_sheet(desk: State<'_, Desk>, identity: String) -> Answer<()> {
    desk.keep_sheet(&identity).await
}

#[command(rename_all = "snake_case")]
pub async fn set_handle(desk: State<'_, Desk>, wallet: String, handle: Option<String>) -> Answer<HandleHeld> {
    desk.set_handle(&wallet, handle.as_deref()).await
}

#[command(rename_all = "snake_case")]
pub async fn profile(desk: State<'_, Desk>, identity: String) -> Answer<Fields> {
    desk.profile(&identity).await
}

#[command(rename_all = "snake_case")]
pub async fn set_profile(
    desk: State<'_, Desk>,
    identity: String,
    fields: BTreeMap<String, String>,
) -> Answer<Fields> {
    desk.set_profile(&identity, fields).await
}

#[command(rename_all = "snake_case")]
pub async fn proposal(desk: State<'_, Desk>, wallet: String, challenge_id: String) -> Answer<Proposal> {
    desk.proposal(&wallet, &challenge_id).await
}

#[command(rename_all = "snake_case")]
#[expect(clippy::too_many_arguments, reason = "the members of one object, as the page sends it")]
pub async fn approve(
    desk: State<'_, Desk>,
    forward: State<'_, Forward>,
    wallet: String,
    challenge_id: String,
    digest: Option<String>,
    match_code: Option<String>,
    scopes: Vec<String>,
    share: BTreeMap<String, String>,
    remember: Option<Vec<String>>,
    rule: Option<miid_wallet::desk::RuleWish>,
) -> Answer<Approved> {
    forward.settled();
    let yes = Yes { digest, match_code, scopes, share, remember: remember.unwrap_or_default(), rule };
    desk.approve(&wallet, &challenge_id, yes).await
}

#[command(rename_all = "snake_case")]
pub async fn deny(
    desk: State<'_, Desk>,
    forward: State<'_, Forward>,
    wallet: String,
    challenge_id: String,
    digest: Option<String>,
    reason: DenyReason,
    mute_minutes: Option<u32>,
) -> Answer<()> {
    forward.settled();
    desk.deny(&wallet, &challenge_id, digest.as_deref(), reason, mute_minutes).await
}

#[command(rename_all = "snake_case")]
pub async fn cancel(desk: State<'_, Desk>, wallet: String, challenge_id: String) -> Answer<()> {
    desk.cancel(&wallet, &challenge_id).await
}

#[command(rename_all = "snake_case")]
pub async fn open_return(desk: State<'_, Desk>, wallet: String, challenge_id: String) -> Answer<()> {
    desk.open_return(&wallet, &challenge_id).await
}

#[command(rename_all = "snake_case")]
pub async fn continue_link(desk: State<'_, Desk>, id: String, identity: String) -> Answer<Claimed> {
    desk.continue_link(&id, &identity).await
}

#[command(rename_all = "snake_case")]
pub fn drop_link(desk: State<'_, Desk>, id: String) -> Answer<()> {
    desk.drop_link(&id)
}

#[command(rename_all = "snake_case")]
pub async fn end_session(desk: State<'_, Desk>, wallet: String, session_id: String) -> Answer<()> {
    desk.end_session(&wallet, &session_id).await
}

#[command(rename_all = "snake_case")]
pub async fn end_all_sessions(desk: State<'_, Desk>) -> Answer<Ended> {
    desk.end_all_sessions().await
}

#[command(rename_all = "snake_case")]
pub async fn history(
    desk: State<'_, Desk>,
    query: String,
    identity: Option<String>,
    before: Option<String>,
    limit: usize,
) -> Answer<HistoryPage> {
    desk.history(HistoryQuery { query, identity, before, limit }).await
}

#[command(rename_all = "snake_case")]
pub async fn export_history(desk: State<'_, Desk>, path: Option<String>) -> Answer<ExportedHistory> {
    desk.export_history(path.as_deref()).await
}

#[command(rename_all = "snake_case")]
pub async fn remove_rule(desk: State<'_, Desk>, wallet: String, service_id: String) -> Answer<()> {
    desk.remove_rule(&wallet, &service_id).await
}

#[command(rename_all = "snake_case")]
pub async fn unmute(desk: State<'_, Desk>, wallet: String, service_id: String) -> Answer<()> {
    desk.unmute(&wallet, &service_id).await
}

#[command(rename_all = "snake_case")]
pub async fn retire(
    desk: State<'_, Desk>,
    identity: String,
    passphrase: Option<String>,
    confirm: String,
) -> Answer<Ended> {
    desk.retire(&identity, passphrase, &confirm).await
}

#[command(rename_all = "snake_case")]
pub async fn remove_identity(
    desk: State<'_, Desk>,
    identity: String,
    passphrase: Option<String>,
    confirm: String,
) -> Answer<()> {
    desk.remove_identity(&identity, passphrase, &confirm).await
}

/// Some of the settings. Of these starting at login is the desktop's to keep.
#[command(rename_all = "snake_case")]
#[expect(clippy::too_many_arguments, reason = "the members of one object, as the page sends it")]
pub async fn set_settings(
    app: AppHandle,
    desk: State<'_, Desk>,
    language: Option<Language>,
    theme: Option<Theme>,
    text_size: Option<TextSize>,
    lock_after_min: Option<u32>,
    notifications: Option<bool>,
    start_at_login: Option<bool>,
) -> Result<(), Told> {
    if let Some(wanted) = start_at_login
        && wanted != desk.view().settings.start_at_login
    {
        autostart::choose(&app, &desk, wanted).await.map_err(|error| match error {
            AutostartError::Settings(fault) => fault.told(),
            AutostartError::Desktop(_) => {
                let hint = Some("Nothing was changed. Try the desktop's own settings.".to_owned());
                Told { code: Code::Disk, message: error.to_string(), hint, path: None }
            }
        })?;
    }
    let usual =
        SettingsChange { language, theme, text_size, lock_after_min, notifications, ..Default::default() };
    desk.set_settings(usual).await.map_err(|fault| fault.told())
}

#[command(rename_all = "snake_case")]
pub async fn refresh(desk: State<'_, Desk>) -> Answer<()> {
    desk.refresh().await
}

/// Into the clipboard, where the page's own way does not work.
#[command(rename_all = "snake_case")]
pub async fn copy(app: AppHandle, text: String) -> Result<(), Told> {
    clipboard::put(&app, text).map_err(|_| Told {
        code: Code::Internal,
        message: "the clipboard cannot be reached".to_owned(),
        hint: Some("Select the text and copy it.".to_owned()),
        path: None,
    })
}

/// Ends the program: what the tray's menu has, for a desktop without one.
#[command(rename_all = "snake_case")]
pub fn quit(app: AppHandle) {
    app.exit(0);
}
