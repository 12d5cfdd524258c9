//! Notifications of the desktop. What stands on a screen may be read by anybody beside it, so a locked wallet
//! says that something waits and nothing else; and a service's name stands in the title, where no desktop reads
//! markup.

use miid_wallet::desk::{Attention, Call, Desk, Notice};
use tauri::{AppHandle, Manager as _, Runtime};
use tauri_plugin_notification::NotificationExt as _;

use crate::window;
use crate::words::Words;

/// Who asks: one at a time, the newest takes the place of the one before.
const ASKS: i32 = 1;
/// What happened: the same.
const HAPPENED: i32 = 2;

/// A title and a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    title: String,
    line: String,
}

/// What a call for attention says, if anything.
pub fn of_attention(attention: &Attention, words: Words) -> Option<Told> {
    match &attention.call {
        Call::Request { service, step_up, .. } => {
            let line = words.asks_more(attention.count.saturating_sub(1));
            // What it is about stays in the window: it is for the person's eyes.
            let title = if *step_up { words.asks_to_confirm(service) } else { words.asks(service) };
            Some(Told { title, line })
        }
        Call::Unseen => {
            Some(Told { title: words.something_waits().to_owned(), line: words.unlock_to_see().to_owned() })
        }
        // The person has just clicked something: the window is there.
        Call::Link { .. } | Call::Door => None,
    }
}

/// What is worth a notification of what is said in passing.
pub fn of_notice(notice: &Notice, words: Words) -> Option<Told> {
    match (notice.kind.as_str(), &notice.service) {
        ("one_click", Some(service)) => {
            Some(Told { title: words.one_click(service), line: words.by_your_rule().to_owned() })
        }
        ("other_browser", _) => {
            Some(Told { title: words.somebody_else().to_owned(), line: words.nobody_is_in().to_owned() })
        }
        ("not_confirmed", _) if notice.reason.as_deref() == Some("other_browser") => Some(Told {
            title: words.somebody_elses_step_up().to_owned(),
            line: words.nothing_was_confirmed().to_owned(),
        }),
        _ => None,
    }
}

/// A click on any of them opens the window.
pub fn listen<R: Runtime>(app: &AppHandle<R>) {
    let handle = app.clone();
    if let Err(error) = app.notification().on_action(move |_| window::come_to_front(&handle)) {
        tracing::info!(%error, "clicks on notifications are not heard");
    }
}

/// Says that somebody asks.
pub fn asks<R: Runtime>(app: &AppHandle<R>, told: Told) {
    show(app, ASKS, told);
}

/// Says what happened.
pub fn happened<R: Runtime>(app: &AppHandle<R>, told: Told) {
    show(app, HAPPENED, told);
}

/// Shows it, in the place of the one before, where the person wants any.
fn show<R: Runtime>(app: &AppHandle<R>, id: i32, told: Told) {
    if !app.state::<Desk>().view().settings.notifications {
        return;
    }
    let notifications = app.notification();
    let _ = notifications.remove_active(vec![id]);
    let Told { title, line } = told;
    if let Err(error) = notifications.builder().id(id).title(title).body(line).show() {
        tracing::info!(%error, "no notification");
    }
}

/// Nothing asks any more.
pub fn nobody_asks<R: Runtime>(app: &AppHandle<R>) {
    let _ = app.notification().remove_active(vec![ASKS]);
}

/// It was locked: no name that stood on the screen stays there.
pub fn clear<R: Runtime>(app: &AppHandle<R>) {
    let _ = app.notification().remove_active(vec![ASKS, HAPPENED]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str, count: usize) -> Attention {
        let (wallet, challenge_id) = ("w".into(), "c".into());
        Attention {
            call: Call::Request { wallet, challenge_id, service: service.into(), step_up: false },
            count,
        }
    }

    #[test]
    fn what_is_to_be_confirmed_is_announced_as_that_and_not_as_a_sign_in() {
        let mut attention = request("Shop", 1);
        if let Call::Request { step_up, .. } = &mut attention.call {
            *step_up = true;
        }
        for (words, title) in
            [(Words::of("en"), "Shop asks you to confirm something"), (Words::of("ko"), "Shop: 확인 요청")]
        {
            assert_eq!(of_attention(&attention, words).expect("told").title, title);
        }
        let notice = |reason: &str| Notice {
            kind: "not_confirmed".into(),
            service: Some("Shop".into()),
            reason: Some(reason.into()),
            ..Notice::default()
        };
        let told = of_notice(&notice("other_browser"), Words::of("en")).expect("told");
        assert_eq!(told.title, "Somebody else began that request");
        // That it went with its session is said in the window; so is what the person did themselves.
        assert_eq!(of_notice(&notice("session_ended"), Words::of("en")), None);
        assert_eq!(of_notice(&notice("declined"), Words::of("en")), None);
    }

    #[test]
    fn while_locked_nothing_is_said_that_a_bystander_should_not_read() {
        for words in [Words::of("en"), Words::of("ko")] {
            let told = of_attention(&Attention { call: Call::Unseen, count: 3 }, words).expect("told");
            assert_eq!(
                (told.title.as_str(), told.line.as_str()),
                (words.something_waits(), words.unlock_to_see())
            );
        }
    }

    #[test]
    fn a_services_name_stands_in_the_title_and_never_in_the_text_that_may_be_markup() {
        let words = Words::of("en");
        let told = of_attention(&request("<b>Shop</b>", 3), words).expect("told");
        assert_eq!(told.title, "<b>Shop</b> wants to sign you in");
        assert_eq!(told.line, "And 2 other requests. Open your wallet to decide.");
        let notice = Notice { kind: "one_click".into(), service: Some("<i>x".into()), ..Notice::default() };
        assert!(!of_notice(&notice, words).expect("told").line.contains('<'));
    }

    #[test]
    fn what_the_person_just_did_raises_nothing() {
        let words = Words::of("en");
        assert_eq!(of_attention(&Attention { call: Call::Door, count: 1 }, words), None);
        assert_eq!(of_notice(&Notice { kind: "signed_in".into(), ..Notice::default() }, words), None);
    }
}
