//! What the terminal says, in English and in Korean. Written in both, not translated from one; what only scripts
//! and the curious come to see is in English alone.

mod asking;
mod chosen;
mod endings;
mod listing;
mod step_up;

use miid_protocol::Timestamp;

use crate::settings::Spoken;

/// A language, and what is said in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    English,
    Korean,
}

use Words::{English, Korean};

impl Words {
    /// By the environment, as every program decides it.
    pub(crate) fn from_environment() -> Self {
        match Spoken::from_environment() {
            Spoken::English => English,
            Spoken::Korean => Korean,
        }
    }

    /// For texts that the window shares.
    pub(crate) fn spoken(self) -> Spoken {
        match self {
            English => Spoken::English,
            Korean => Spoken::Korean,
        }
    }

    pub(crate) fn connected(self, gateway: &str, name: &str, did: &str) -> String {
        match self {
            English => format!("Connected to {gateway} as {name} ({did})"),
            Korean => format!("{gateway}에 {name}({did})(으)로 연결했어요"),
        }
    }

    pub(crate) fn connected_again(self) -> &'static str {
        match self {
            English => "Connected again.",
            Korean => "다시 연결했어요.",
        }
    }

    pub(crate) fn disconnected(self, reason: &str) -> String {
        match self {
            English => format!("Not connected: {reason}. Trying again by itself; nothing is lost."),
            Korean => format!("연결이 끊겼어요: {reason}. 알아서 다시 시도하고, 잃는 것은 없어요."),
        }
    }

    pub(crate) fn open_passphrase_file(self, file: &str) -> String {
        match self {
            English => format!("others can read the passphrase file {file}"),
            Korean => format!("다른 사용자도 암호 파일 {file}을(를) 읽을 수 있어요"),
        }
    }

    pub(crate) fn stopped(self, reason: &str) -> String {
        match self {
            English => format!("The gateway will not have this identity any more: {reason}"),
            Korean => format!("게이트웨이가 이 신원을 더는 받지 않아요: {reason}"),
        }
    }

    pub(crate) fn input_closed(self) -> &'static str {
        match self {
            English => "The input is closed: requests are shown here, but none can be answered.",
            Korean => "입력이 닫혔어요. 요청은 보여 주지만 답할 수는 없어요.",
        }
    }

    /// Relative up to an hour, then absolute.
    pub(crate) fn when(self, at: Timestamp, now: Timestamp) -> String {
        let minutes = now.millis().saturating_sub(at.millis()) / 60_000;
        match (self, minutes) {
            (English, ..1) => "just now".to_owned(),
            (English, 1..60) => format!("{minutes} min ago"),
            (Korean, ..1) => "방금".to_owned(),
            (Korean, 1..60) => format!("{minutes}분 전"),
            _ => {
                let text = at.to_string();
                format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
            }
        }
    }

    pub(crate) fn ask_passphrase(self) -> &'static str {
        match self {
            English => "Passphrase: ",
            Korean => "암호: ",
        }
    }

    pub(crate) fn passphrase_again(self) -> &'static str {
        match self {
            English => "Passphrase again, since this shows the key: ",
            Korean => "키를 보여 주니 암호를 한 번 더 입력해 주세요: ",
        }
    }

    pub(crate) fn type_the_words(self) -> &'static str {
        match self {
            English => "Type the 24 words of the sheet, in their order:",
            Korean => "시트의 낱말 24개를 순서대로 입력해 주세요:",
        }
    }

    pub(crate) fn confirm_retire(self, name: &str) -> String {
        match self {
            English => format!(
                "This ends {name} for good: every session ends at once, and nobody signs in as {name} again.\nType its name to go on: "
            ),
            Korean => format!(
                "{name}을(를) 완전히 폐기해요. 모든 세션이 바로 종료되고 다시는 이 신원으로 로그인할 수 없어요.\n계속하려면 이름을 입력해 주세요: "
            ),
        }
    }

    pub(crate) fn new_passphrase(self) -> &'static str {
        match self {
            English => "New passphrase (at least 8 characters; nobody can recover it): ",
            Korean => "새 암호 (8자 이상, 잊으면 누구도 되찾지 못해요): ",
        }
    }

    pub(crate) fn once_more(self) -> &'static str {
        match self {
            English => "Once more: ",
            Korean => "한 번 더: ",
        }
    }

    pub(crate) fn test_mode(self) -> &'static str {
        match self {
            English => {
                "TEST MODE: this wallet signs whatever standard input says, and asks nobody. Never use it with an identity that matters."
            }
            Korean => {
                "시험 모드: 이 지갑은 아무에게도 묻지 않고 표준 입력대로 서명해요. 진짜 신원으로는 절대 쓰지 마세요."
            }
        }
    }

    /// The commonest failures and what to do; the rest is said in English.
    pub(crate) fn failure(self, kind: &str) -> Option<(&'static str, &'static str)> {
        if self == English {
            return None;
        }
        Some(match kind {
            "wrong_passphrase" => ("암호가 틀렸어요", "다시 입력해 주세요. 잃은 것은 없어요"),
            "unreachable" => {
                ("게이트웨이에 연결할 수 없어요", "게이트웨이가 켜져 있는지, 주소가 맞는지 확인해 주세요")
            }
            "no_wallet" => ("여기에는 아직 지갑이 없어요", "만들기: miid-wallet init --name 이름"),
            "no_passphrase" => (
                "암호가 필요한데 물어볼 터미널이 없어요",
                "MIID_WALLET_PASSPHRASE를 설정하거나 --passphrase-file을 주세요",
            ),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::T;

    #[test]
    fn times_are_relative_up_to_an_hour_and_absolute_then() {
        let later = |minutes: i64| Timestamp::from_millis(T.millis() + minutes * 60_000);
        assert_eq!(English.when(T, T), "just now");
        assert_eq!(Korean.when(T, later(59)), "59분 전");
        assert_eq!(English.when(T, later(60)), "2027-01-15 08:00 UTC");
    }
}
