//! What the desk says, told to page, tray and desktop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use miid_wallet::desk::view::{Binding, Stage};
use miid_wallet::desk::{Attention, Call, Desk, Notice, View};
use tauri::{AppHandle, Emitter as _, Manager as _, Runtime};
use tokio::sync::broadcast::error::RecvError;

use crate::forward::{Forward, Why};
use crate::standing::Standing;
use crate::tray::Tray;
use crate::words::Words;
use crate::{notify, window};

/// How much of what nobody heard is kept.
const MAX_UNHEARD: usize = 8;

/// Listens until the desk is gone.
pub fn listen<R: Runtime>(app: &AppHandle<R>) {
    let desk = app.state::<Desk>().inner().clone();
    notify::listen(app);
    tauri::async_runtime::spawn(views(app.clone(), desk.clone()));
    tauri::async_runtime::spawn(notices(app.clone(), desk.clone()));
    tauri::async_runtime::spawn(calls(app.clone(), desk));
}

async fn views<R: Runtime>(app: AppHandle<R>, desk: Desk) {
    let mut views = desk.watch();
    let (mut was_open, mut was_asked) = (false, false);
    while views.changed().await.is_ok() {
        let view = views.borrow_and_update().clone();
        if let Some(tray) = app.try_state::<Tray<R>>() {
            tray.show(&view);
        }
        let is_open = view.stage == Stage::Open;
        if was_open && !is_open {
            app.state::<Unheard>().forget();
            notify::clear(&app);
        }
        let is_asked = view.unseen > 0 || matches!(Standing::of(&view), Standing::Waiting { .. });
        app.state::<Forward>().waits(is_asked, Instant::now());
        if was_asked && !is_asked {
            notify::nobody_asks(&app);
        }
        (was_open, was_asked) = (is_open, is_asked);
        if let Err(error) = app.emit_to(window::MAIN, "view", view) {
            tracing::warn!(%error, "the page could not be told");
        }
    }
}

async fn notices<R: Runtime>(app: AppHandle<R>, desk: Desk) {
    let mut notices = desk.notices();
    loop {
        match notices.recv().await {
            Ok(said) => {
                notice(&app, &said);
                let words = Words::of(&desk.view().settings.language);
                if let Some(told) = notify::of_notice(&said, words)
                    && !window::is_in_front(&app)
                    && may_be_said(&said, desk.view().stage)
                {
                    notify::happened(&app, told);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// What was said before the page listened: with a hidden start there is none for days.
#[derive(Debug, Default)]
pub struct Unheard {
    page_listens: AtomicBool,
    notices: Mutex<VecDeque<Notice>>,
}

impl Unheard {
    fn notices(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one, if the page does not listen yet.
    fn keeps(&self, notice: &Notice) -> bool {
        let mut notices = self.notices();
        if self.page_listens.load(Ordering::Relaxed) {
            return false;
        }
        if notices.len() >= MAX_UNHEARD {
            notices.pop_front();
        }
        notices.push_back(notice.clone());
        true
    }

    /// It was locked: what was said of services is not said any more.
    fn forget(&self) {
        self.notices().clear();
    }

    /// The page listens from now on; what it has missed.
    fn listens(&self) -> VecDeque<Notice> {
        let mut notices = self.notices();
        self.page_listens.store(true, Ordering::Relaxed);
        std::mem::take(&mut notices)
    }
}

/// What names a service or an identity is for an open wallet alone: it may have been on its way when it was locked.
fn may_be_said(notice: &Notice, stage: Stage) -> bool {
    stage == Stage::Open || (notice.service.is_none() && notice.identity.is_none())
}

/// The same of a call for the person.
fn may_call(call: &Call, stage: Stage) -> bool {
    stage == Stage::Open || matches!(call, Call::Door | Call::Unseen)
}

/// Tells the page something in passing.
pub fn notice<R: Runtime>(app: &AppHandle<R>, notice: &Notice) {
    if !may_be_said(notice, app.state::<Desk>().view().stage) {
        return;
    }
    if app.state::<Unheard>().keeps(notice) {
        return;
    }
    if let Err(error) = app.emit_to(window::MAIN, "notice", notice) {
        tracing::warn!(%error, "the page could not be told");
    }
}

/// The page has asked for the view: it hears by now, and gets what it has missed.
pub fn page_listens<R: Runtime>(app: &AppHandle<R>) {
    for missed in app.state::<Unheard>().listens() {
        notice(app, &missed);
    }
}

async fn calls<R: Runtime>(app: AppHandle<R>, desk: Desk) {
    let mut calls = desk.attention();
    loop {
        match calls.recv().await {
            Ok(attention) => heed(&app, &desk, &attention),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn heed<R: Runtime>(app: &AppHandle<R>, desk: &Desk, attention: &Attention) {
    let (is_in_front, view) = (window::is_in_front(app), desk.view());
    if !may_call(&attention.call, view.stage) {
        return;
    }
    match &attention.call {
        Call::Request { challenge_id, .. } => {
            let why = why(&view, challenge_id);
            if is_led_there(why, is_in_front) {
                window::go(app, "requests", Some(challenge_id.clone()));
            }
            if !is_in_front {
                window::come_forward(app, why);
            }
        }
        Call::Link { .. } | Call::Door => {
            window::go(app, "requests", None);
            window::come_forward(app, Why::Link);
        }
        // Locked: it says that something waits, and does not push itself forward.
        Call::Unseen => {}
    }
    // Last, since the desktop may take its time: a page that is asked late drags somebody away who has moved on.
    // By then it may have been locked, or be over.
    let view = desk.view();
    let is_true = may_call(&attention.call, view.stage) && attention.call.is_shown_in(&view);
    let words = Words::of(&view.settings.language);
    if is_true
        && !is_in_front
        && let Some(told) = notify::of_attention(attention, words)
    {
        notify::asks(app, told);
    }
}

/// Whether the page goes to the request by itself. Whoever has the window before them is at something there, and
/// what they have typed is not lost over somebody who asks: the page says that it is there.
fn is_led_there(why: Why, is_in_front: bool) -> bool {
    why == Why::Link || !is_in_front
}

/// A linked request came of a link that was opened here.
fn why(view: &View, challenge_id: &str) -> Why {
    let found = view.requests.iter().find(|request| request.challenge_id == challenge_id);
    match found.map(|request| request.binding) {
        Some(Binding::Linked) => Why::Link,
        _ => Why::Addressed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_service_is_said_by_an_open_wallet_alone() {
        let of_a_service =
            Notice { kind: "signed_in".into(), service: Some("Shop".into()), ..Notice::default() };
        let of_nobody = Notice { kind: "bad_link".into(), ..Notice::default() };
        let (wallet, challenge_id, service) = ("w".into(), "c".into(), "Shop".into());
        let request = Call::Request { wallet, challenge_id, service, step_up: false };
        for stage in [Stage::FirstRun, Stage::Locked, Stage::Open, Stage::Damaged, Stage::Newer] {
            let is_open = stage == Stage::Open;
            assert_eq!(may_be_said(&of_a_service, stage), is_open, "{stage:?}");
            assert_eq!(may_call(&request, stage), is_open, "{stage:?}");
            assert!(may_be_said(&of_nobody, stage) && may_call(&Call::Unseen, stage), "{stage:?}");
        }
    }

    #[test]
    fn nobody_is_led_off_the_page_before_them_by_somebody_who_asks() {
        assert!(!is_led_there(Why::Addressed, true));
        // Behind other windows the request is what one finds, and a link was opened by the person.
        assert!(is_led_there(Why::Addressed, false));
        assert!(is_led_there(Why::Link, true) && is_led_there(Why::Link, false));
    }

    #[test]
    fn what_was_kept_for_the_page_is_forgotten_when_it_is_locked() {
        let unheard = Unheard::default();
        assert!(unheard.keeps(&Notice { service: Some("Shop".into()), ..Notice::default() }));
        unheard.forget();
        assert!(unheard.listens().is_empty());
    }

    #[test]
    fn what_is_said_before_the_page_listens_is_kept_for_it_and_bounded() {
        let unheard = Unheard::default();
        let said = |n: usize| Notice { kind: n.to_string(), ..Notice::default() };
        for n in 0..20 {
            assert!(unheard.keeps(&said(n)));
        }
        let missed: Vec<_> = unheard.listens().into_iter().map(|notice| notice.kind).collect();
        assert_eq!(missed.len(), MAX_UNHEARD);
        assert_eq!(missed.last().map(String::as_str), Some("19"));
        assert!(!unheard.keeps(&said(20)) && unheard.listens().is_empty());
    }
}
