//! How a request or a session ended, in words.

use miid_protocol::service::{DenyReason, ExpireReason, RevokeReason};

use super::Words::{self, English, Korean};
use crate::history::What;

impl Words {
    pub(crate) fn waiting(self, service: &str) -> String {
        match self {
            English => format!("Approved. Waiting for {service}… (c = cancel, Enter = go on)"),
            Korean => format!("승인했어요. {service}을(를) 기다려요… (c = 취소, Enter = 계속)"),
        }
    }

    pub(crate) fn signed_in(self, service: &str) -> String {
        match self {
            English => format!("Signed in at {service}."),
            Korean => format!("{service}에 로그인했어요."),
        }
    }

    pub(crate) fn denied(self, service: &str, reason: DenyReason) -> String {
        match (self, reason) {
            (English, DenyReason::Declined) => format!("Denied. {service} is told that you said no."),
            (English, DenyReason::NotMe) => {
                format!("Denied as not yours. {service} is told; whoever asked sees nothing.")
            }
            (English, DenyReason::WrongMatchCode) => {
                format!("That was not the number, so {service}'s request is denied. Start again on the page.")
            }
            (Korean, DenyReason::Declined) => format!("거절했어요. {service}에 알렸어요."),
            (Korean, DenyReason::NotMe) => {
                format!("내가 아니라고 거절했어요. {service}에는 알리고, 요청한 쪽에는 보이지 않아요.")
            }
            (Korean, DenyReason::WrongMatchCode) => {
                format!("숫자가 달라서 {service}의 요청이 거절됐어요. 페이지에서 다시 시작해 주세요.")
            }
        }
    }

    pub(crate) fn expired(self, service: &str, reason: ExpireReason) -> String {
        match (self, reason) {
            (English, ExpireReason::Timeout) => format!("{service}'s request ran out of time."),
            (English, ExpireReason::CodeTimeout) => {
                format!("{service} did not finish in time; you are not signed in.")
            }
            (English, ExpireReason::Replaced) => {
                format!("{service}'s request was replaced by a new one.")
            }
            (English, ExpireReason::Withdrawn) => format!("{service} took its request back."),
            (English, ExpireReason::OtherBrowser) => {
                format!("Somebody else began this sign-in at {service}; nobody was signed in.")
            }
            (English, ExpireReason::SessionEnded) => {
                format!("Your session at {service} has ended, so there is nothing left to confirm.")
            }
            (Korean, ExpireReason::Timeout) => format!("{service}의 요청 시간이 지났어요."),
            (Korean, ExpireReason::CodeTimeout) => {
                format!("{service}에서 제때 마치지 못해 로그인되지 않았어요.")
            }
            (Korean, ExpireReason::Replaced) => format!("{service}의 요청이 새 요청으로 바뀌었어요."),
            (Korean, ExpireReason::Withdrawn) => format!("{service}에서 요청을 거두었어요."),
            (Korean, ExpireReason::OtherBrowser) => {
                format!("{service}의 요청은 다른 사람이 시작한 것이었어요. 아무도 로그인되지 않았어요.")
            }
            (Korean, ExpireReason::SessionEnded) => {
                format!("{service}의 세션이 끝나서 더 확인할 것이 없어요.")
            }
        }
    }

    pub(crate) fn gone(self, service: &str) -> String {
        match self {
            English => format!("{service}'s request is over."),
            Korean => format!("{service}의 요청이 끝났어요."),
        }
    }

    pub(crate) fn cancelled(self, service: &str) -> String {
        match self {
            English => format!("Cancelled. {service}'s request waits again."),
            Korean => format!("취소했어요. {service}의 요청이 다시 기다려요."),
        }
    }

    pub(crate) fn approved_elsewhere(self, service: &str) -> String {
        match self {
            English => format!("{service}'s request was approved on another device of yours."),
            Korean => format!("{service}의 요청을 내 다른 기기에서 승인했어요."),
        }
    }

    pub(crate) fn press_enter(self) -> &'static str {
        match self {
            English => "Press Enter to go on. ",
            Korean => "계속하려면 Enter를 누르세요. ",
        }
    }

    pub(crate) fn another(self, service: &str) -> String {
        match self {
            English => format!("({service} asks, too; that comes next.)"),
            Korean => format!("({service}에서도 요청해요. 다음에 물어볼게요.)"),
        }
    }

    pub(crate) fn skipped(self) -> &'static str {
        match self {
            English => "Skipped; nobody is told.",
            Korean => "건너뛰었어요. 아무에게도 알리지 않아요.",
        }
    }

    pub(crate) fn not_decided(self, reason: &str) -> String {
        match self {
            English => format!("That did not work: {reason}."),
            Korean => format!("되지 않았어요: {reason}."),
        }
    }

    pub(crate) fn refused_request(self, reason: &str) -> String {
        match self {
            English => format!("A request was dropped, since {reason}."),
            Korean => format!("보여 줄 수 없는 요청을 버렸어요: {reason}."),
        }
    }

    pub(crate) fn not_kept(self, what: &str) -> String {
        match self {
            English => format!("Could not be kept on this computer: {what}"),
            Korean => format!("이 컴퓨터에 남기지 못했어요: {what}"),
        }
    }

    pub(crate) fn session_ended(self, service: Option<&str>, reason: RevokeReason) -> String {
        let service = service.unwrap_or(match self {
            English => "a service",
            Korean => "어느 서비스",
        });
        let why = self.why_ended(reason);
        match self {
            English => format!("Your session at {service} is over: {why}."),
            Korean => format!("{service} 세션이 종료됐어요 ({why})."),
        }
    }

    fn why_ended(self, reason: RevokeReason) -> &'static str {
        match (self, reason) {
            (English, RevokeReason::User) => "you ended it",
            (English, RevokeReason::Service) => "the service ended it",
            (English, RevokeReason::Superseded) => "a newer sign-in took its place",
            (English, RevokeReason::RefreshReuse | RevokeReason::CodeReuse) => {
                "one of its secrets was used twice"
            }
            (English, RevokeReason::Expired) => "its time was up",
            (English, RevokeReason::Retired) => "this identity was retired",
            (English, RevokeReason::Admin) => "the gateway's operator ended it",
            (Korean, RevokeReason::User) => "내가 끝냄",
            (Korean, RevokeReason::Service) => "서비스가 끝냄",
            (Korean, RevokeReason::Superseded) => "새로 로그인함",
            (Korean, RevokeReason::RefreshReuse | RevokeReason::CodeReuse) => {
                "비밀 값이 두 번 쓰여 안전을 위해 끝냄"
            }
            (Korean, RevokeReason::Expired) => "시간이 다 됨",
            (Korean, RevokeReason::Retired) => "신원이 폐기됨",
            (Korean, RevokeReason::Admin) => "게이트웨이 운영자가 끝냄",
        }
    }

    /// A reason as the history keeps it, in a few words. One that this version does not know stays as it is.
    pub(crate) fn why(self, reason: &str) -> &str {
        if let Some(reason) = RevokeReason::parse(reason) {
            return self.why_ended(reason);
        }
        match (self, DenyReason::parse(reason), ExpireReason::parse(reason)) {
            (English, Some(DenyReason::Declined), _) => "you said no",
            (English, Some(DenyReason::NotMe), _) => "it was not you",
            (English, Some(DenyReason::WrongMatchCode), _) => "the number did not match",
            (English, _, Some(ExpireReason::Timeout)) => "nobody answered in time",
            (English, _, Some(ExpireReason::CodeTimeout)) => "the service did not finish in time",
            (English, _, Some(ExpireReason::Replaced)) => "a newer request took its place",
            (English, _, Some(ExpireReason::Withdrawn)) => "it was cancelled on the page",
            (English, _, Some(ExpireReason::OtherBrowser)) => "somebody else began it",
            (English, _, Some(ExpireReason::SessionEnded)) => "its session ended",
            (Korean, Some(DenyReason::Declined), _) => "내가 거절함",
            (Korean, Some(DenyReason::NotMe), _) => "내가 아님",
            (Korean, Some(DenyReason::WrongMatchCode), _) => "숫자가 다름",
            (Korean, _, Some(ExpireReason::Timeout)) => "시간이 지남",
            (Korean, _, Some(ExpireReason::CodeTimeout)) => "서비스가 제때 마치지 못함",
            (Korean, _, Some(ExpireReason::Replaced)) => "새 요청으로 바뀜",
            (Korean, _, Some(ExpireReason::Withdrawn)) => "페이지에서 취소함",
            (Korean, _, Some(ExpireReason::OtherBrowser)) => "다른 사람이 시작함",
            (Korean, _, Some(ExpireReason::SessionEnded)) => "세션이 끝남",
            (_, None, None) => reason,
        }
    }

    pub(crate) fn one_click(self, service: &str) -> String {
        match self {
            English => format!("{service}: approved by your rule, without asking."),
            Korean => format!("{service}: 내 규칙에 따라 묻지 않고 승인했어요."),
        }
    }

    /// After a linked yes.
    pub(crate) fn back_to_browser(self, service: &str) -> String {
        match self {
            English => format!("Approved. Your browser goes on at {service}… (c = cancel, Enter = go on)"),
            Korean => {
                format!("승인했어요. {service}은(는) 브라우저에서 이어져요… (c = 취소, Enter = 계속)")
            }
        }
    }

    pub(crate) fn no_browser(self, address: &str) -> String {
        match self {
            English => {
                format!("No browser could be opened. Open this in the browser you came from:\n{address}")
            }
            Korean => format!(
                "브라우저를 열 수 없어요. 로그인을 시작한 브라우저에서 이 주소를 열어 주세요:\n{address}"
            ),
        }
    }

    pub(crate) fn mute_hint(self, service: &str) -> String {
        match self {
            English => format!("Not to be asked by it for an hour: miid-wallet mute {service}"),
            Korean => format!("한 시간 동안 묻지 않게 하려면: miid-wallet mute {service}"),
        }
    }

    pub(crate) fn what(self, what: What) -> &'static str {
        match (self, what) {
            (English, What::Approved) => "approved",
            (English, What::Denied) => "denied",
            (English, What::Cancelled) => "cancelled",
            (English, What::Revoked) => "ended by you",
            (English, What::SignedIn) => "signed in",
            (English, What::Confirmed) => "confirmed",
            (English, What::Expired) => "expired",
            (English, What::SessionEnded) => "session ended",
            (English, What::OneClick) => "by your rule",
            (English, What::Retired) => "identity ended",
            (Korean, What::Approved) => "승인",
            (Korean, What::Denied) => "거절",
            (Korean, What::Cancelled) => "취소",
            (Korean, What::Revoked) => "세션 종료",
            (Korean, What::SignedIn) => "로그인",
            (Korean, What::Confirmed) => "확인",
            (Korean, What::Expired) => "시간 지남",
            (Korean, What::SessionEnded) => "세션 끝남",
            (Korean, What::OneClick) => "내 규칙으로 승인",
            (Korean, What::Retired) => "신원 폐기",
        }
    }
}
