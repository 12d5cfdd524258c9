//! What the tray, the notifications and the title say, in English and Korean. The window has its own words.

use miid_wallet::settings::Spoken;

use crate::standing::Standing;

/// The words of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(Spoken);

impl Words {
    /// By what the settings say: `system`, `en` or `ko`.
    pub fn of(language: &str) -> Self {
        Self(match language {
            "en" => Spoken::English,
            "ko" => Spoken::Korean,
            _ => Spoken::from_environment(),
        })
    }

    fn say(self, english: &'static str, korean: &'static str) -> &'static str {
        match self.0 {
            Spoken::English => english,
            Spoken::Korean => korean,
        }
    }

    /// The product's name.
    pub fn title(self) -> &'static str {
        self.say("MiID Wallet", "MiID 지갑")
    }

    /// How it stands, in one line.
    pub fn standing(self, standing: Standing) -> String {
        let words = match standing {
            Standing::New => self.say("Not set up yet", "아직 설정하지 않았어요"),
            Standing::Connected => self.say("Connected", "연결됨"),
            Standing::Offline => self.say("Offline", "오프라인"),
            Standing::Broken => self.say("Needs your attention", "확인이 필요해요"),
            Standing::Locked { unseen: 0 } => self.say("Locked", "잠김"),
            Standing::Locked { unseen } => {
                return match self.0 {
                    Spoken::English if unseen == 1 => "Locked · 1 request is waiting".to_owned(),
                    Spoken::English => format!("Locked · {unseen} requests are waiting"),
                    Spoken::Korean => format!("잠김 · 요청 {unseen}개가 기다려요"),
                };
            }
            Standing::Waiting { count } => {
                return match self.0 {
                    Spoken::English if count == 1 => "1 request is waiting for you".to_owned(),
                    Spoken::English => format!("{count} requests are waiting for you"),
                    Spoken::Korean => format!("요청 {count}개가 기다려요"),
                };
            }
        };
        words.to_owned()
    }

    /// Menu: opens the window.
    pub fn open(self) -> &'static str {
        self.say("Open", "열기")
    }

    /// Menu: locks.
    pub fn lock(self) -> &'static str {
        self.say("Lock", "잠그기")
    }

    /// Menu: starts with the desktop.
    pub fn start_at_login(self) -> &'static str {
        self.say("Start at login", "로그인할 때 시작")
    }

    /// Menu: ends the program.
    pub fn quit(self) -> &'static str {
        self.say("Quit", "종료")
    }

    /// Notification: a service asks. The name is the service's own.
    pub fn asks(self, service: &str) -> String {
        match self.0 {
            Spoken::English => format!("{service} wants to sign you in"),
            Spoken::Korean => format!("{service}: 로그인 요청"),
        }
    }

    /// Notification: a service asks to confirm something in a session that is there.
    pub fn asks_to_confirm(self, service: &str) -> String {
        match self.0 {
            Spoken::English => format!("{service} asks you to confirm something"),
            Spoken::Korean => format!("{service}: 확인 요청"),
        }
    }

    /// Notification: below that.
    pub fn asks_more(self, others: usize) -> String {
        match (self.0, others) {
            (Spoken::English, 0) => "Open your wallet to approve or deny.".to_owned(),
            (Spoken::English, 1) => "And 1 other request. Open your wallet to decide.".to_owned(),
            (Spoken::English, others) => format!("And {others} other requests. Open your wallet to decide."),
            (Spoken::Korean, 0) => "지갑을 열어 승인하거나 거절하세요.".to_owned(),
            (Spoken::Korean, others) => format!("다른 요청 {others}개가 더 있어요. 지갑을 열어 결정하세요."),
        }
    }

    /// Notification: what may be read by anybody.
    pub fn something_waits(self) -> &'static str {
        self.say("A request is waiting", "요청이 기다리고 있어요")
    }

    /// Notification: what to do about it.
    pub fn unlock_to_see(self) -> &'static str {
        self.say("Unlock your wallet to see it.", "지갑 잠금을 풀면 볼 수 있어요.")
    }

    /// Notification: a rule answered.
    pub fn one_click(self, service: &str) -> String {
        match self.0 {
            Spoken::English => format!("Signed in to {service}"),
            Spoken::Korean => format!("{service}에 로그인했어요"),
        }
    }

    /// Notification: by which right.
    pub fn by_your_rule(self) -> &'static str {
        self.say(
            "By your one-click rule. You can end the session in your wallet.",
            "원클릭 규칙에 따라 승인했어요. 지갑에서 세션을 종료할 수 있어요.",
        )
    }

    /// Notification: somebody else began it.
    pub fn somebody_else(self) -> &'static str {
        self.say("Somebody else began that sign-in", "다른 사람이 시작한 로그인이에요")
    }

    /// Notification: the same of what was to be confirmed.
    pub fn somebody_elses_step_up(self) -> &'static str {
        self.say("Somebody else began that request", "다른 사람이 시작한 요청이에요")
    }

    /// Notification: and what came of it.
    pub fn nothing_was_confirmed(self) -> &'static str {
        self.say("Nothing was confirmed.", "아무것도 확인되지 않았어요.")
    }

    /// Notification: and what came of it.
    pub fn nobody_is_in(self) -> &'static str {
        self.say("Nobody was signed in.", "아무도 로그인되지 않았어요.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Words; 2] = [Words(Spoken::English), Words(Spoken::Korean)];

    #[test]
    fn each_standing_has_a_line_of_its_own_in_both_languages() {
        let standings = [
            Standing::New,
            Standing::Connected,
            Standing::Offline,
            Standing::Broken,
            Standing::Locked { unseen: 0 },
            Standing::Locked { unseen: 2 },
            Standing::Waiting { count: 1 },
            Standing::Waiting { count: 3 },
        ];
        let mut lines: Vec<_> =
            BOTH.iter().flat_map(|words| standings.map(|standing| words.standing(standing))).collect();
        let all = lines.len();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), all);
        assert!(lines.iter().all(|line| !line.is_empty() && line.chars().count() < 40));
    }

    #[test]
    fn the_language_is_what_the_person_chose() {
        assert_eq!(Words::of("ko").quit(), "종료");
        assert_eq!(Words::of("en").quit(), "Quit");
    }

    #[test]
    fn what_a_bystander_may_read_names_nobody() {
        for words in BOTH {
            for line in [words.something_waits(), words.unlock_to_see()] {
                assert!(!line.contains('{') && !line.is_empty());
            }
        }
    }
}
