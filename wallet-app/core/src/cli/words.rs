//! What the terminal says, in English and in Korean. Written in both, not translated from one.

use miid_protocol::Timestamp;
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{DenyReason, ExpireReason, RevokeReason, Risk};
use miid_protocol::text::is_displayable;

use super::device;
use crate::history::What;

/// Longest piece of a browser's own name that is shown where we do not recognise it.
const MAX_AGENT: usize = 60;

/// A language, and what is said in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    English,
    Korean,
}

use Words::{English, Korean};

impl Words {
    /// By the environment, as every program decides it: `LC_ALL`, `LC_MESSAGES`, `LANG`.
    pub(crate) fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let language = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        if language.is_some_and(|language| language.starts_with("ko")) { Korean } else { English }
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

    pub(crate) fn asks(self, request: &SignInRequest) -> String {
        let name = &request.service.name;
        match (self, request.risk) {
            (English, Risk::Normal) => format!("{name} asks to sign you in"),
            (English, Risk::StepUp) => format!("{name} asks you to confirm it is you"),
            (Korean, Risk::Normal) => format!("{name}에서 로그인을 요청해요"),
            (Korean, Risk::StepUp) => format!("{name}에서 본인인지 다시 확인해 달래요"),
        }
    }

    pub(crate) fn their_words(self, message: &str) -> String {
        match self {
            English => format!("“{message}” (the service's words)"),
            Korean => format!("“{message}” (서비스가 한 말)"),
        }
    }

    /// From where, and for how long.
    pub(crate) fn circumstances(self, request: &SignInRequest, left: &str) -> String {
        let device = request.user_agent.as_deref().map(|agent| match (device::recognise(agent), self) {
            (Some((browser, system)), English) => format!("{browser} on {system}"),
            (Some((browser, system)), Korean) => format!("{system}의 {browser}"),
            (None, _) => shortened(agent),
        });
        let valid = match self {
            English => format!("valid {left}"),
            Korean => format!("{left} 남음"),
        };
        let parts = [device, request.ip.clone(), Some(valid)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }

    pub(crate) fn allows(self, scopes: &[String]) -> String {
        match self {
            English => format!("allows: {}", scopes.join(", ")),
            Korean => format!("허용하는 것: {}", scopes.join(", ")),
        }
    }

    pub(crate) fn always_shared(self) -> &'static str {
        match self {
            English => "always shared: your identifier, the same for every service",
            Korean => "늘 공유돼요: 내 식별자 (모든 서비스에 같아요)",
        }
    }

    pub(crate) fn not_in_profile(self, claims: &[&str]) -> String {
        match self {
            English => format!("asked for, but not in your profile: {}", claims.join(", ")),
            Korean => format!("요청했지만 프로필에 없어요: {}", claims.join(", ")),
        }
    }

    pub(crate) fn number_prompt(self) -> &'static str {
        match self {
            English => "Number on that page (or d = deny, n = not me, s = skip)? ",
            Korean => "그 페이지의 숫자 (d = 거절, n = 내가 아니에요, s = 건너뛰기)? ",
        }
    }

    pub(crate) fn yes_prompt(self) -> &'static str {
        match self {
            English => "Approve (y = yes, d = deny, n = not me, s = skip)? ",
            Korean => "승인할까요 (y = 예, d = 거절, n = 내가 아니에요, s = 건너뛰기)? ",
        }
    }

    pub(crate) fn two_digits(self) -> &'static str {
        match self {
            English => "The number has two digits.",
            Korean => "숫자는 두 자리예요.",
        }
    }

    pub(crate) fn share_prompt(self, name: &str, value: &str, ticked: bool) -> String {
        let choice = if ticked { "[Y/n]" } else { "[y/N]" };
        match self {
            English => format!("share: {name} \"{value}\" {choice} "),
            Korean => format!("공유: {name} \"{value}\" {choice} "),
        }
    }

    pub(crate) fn yes_or_no(self) -> &'static str {
        match self {
            English => "Answer y or n (d = deny, s = skip).",
            Korean => "y 또는 n으로 답해 주세요 (d = 거절, s = 건너뛰기).",
        }
    }

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
                format!("Somebody else began {service}'s request; nobody was signed in.")
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
            (Korean, Some(DenyReason::Declined), _) => "내가 거절함",
            (Korean, Some(DenyReason::NotMe), _) => "내가 아님",
            (Korean, Some(DenyReason::WrongMatchCode), _) => "숫자가 다름",
            (Korean, _, Some(ExpireReason::Timeout)) => "시간이 지남",
            (Korean, _, Some(ExpireReason::CodeTimeout)) => "서비스가 제때 마치지 못함",
            (Korean, _, Some(ExpireReason::Replaced)) => "새 요청으로 바뀜",
            (Korean, _, Some(ExpireReason::Withdrawn)) => "페이지에서 취소함",
            (Korean, _, Some(ExpireReason::OtherBrowser)) => "다른 사람이 시작함",
            (_, None, None) => reason,
        }
    }

    pub(crate) fn input_closed(self) -> &'static str {
        match self {
            English => "The input is closed: requests are shown here, but none can be answered.",
            Korean => "입력이 닫혔어요. 요청은 보여 주지만 답할 수는 없어요.",
        }
    }

    pub(crate) fn what(self, what: What) -> &'static str {
        match (self, what) {
            (English, What::Approved) => "approved",
            (English, What::Denied) => "denied",
            (English, What::Cancelled) => "cancelled",
            (English, What::Revoked) => "ended by you",
            (English, What::SignedIn) => "signed in",
            (English, What::Expired) => "expired",
            (English, What::SessionEnded) => "session ended",
            (Korean, What::Approved) => "승인",
            (Korean, What::Denied) => "거절",
            (Korean, What::Cancelled) => "취소",
            (Korean, What::Revoked) => "세션 종료",
            (Korean, What::SignedIn) => "로그인",
            (Korean, What::Expired) => "시간 지남",
            (Korean, What::SessionEnded) => "세션 끝남",
        }
    }

    pub(crate) fn no_sessions(self) -> &'static str {
        match self {
            English => "No live sessions.",
            Korean => "살아 있는 세션이 없어요.",
        }
    }

    pub(crate) fn no_history(self) -> &'static str {
        match self {
            English => "Nothing was decided yet.",
            Korean => "아직 결정한 것이 없어요.",
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

    pub(crate) fn session_row(self, since: &str, shared: &[String]) -> String {
        match self {
            English if shared.is_empty() => format!("signed in {since} · nothing shared"),
            English => format!("signed in {since} · shared: {}", shared.join(", ")),
            Korean if shared.is_empty() => format!("{since} 로그인 · 공유한 것 없음"),
            Korean => format!("{since} 로그인 · 공유: {}", shared.join(", ")),
        }
    }

    pub(crate) fn ended(self, service: &str) -> String {
        match self {
            English => format!("Ended: {service}."),
            Korean => format!("세션을 종료했어요: {service}."),
        }
    }

    pub(crate) fn made(self, name: &str) -> String {
        match self {
            English => format!("Made the identity {name}."),
            Korean => format!("신원 {name}을(를) 만들었어요."),
        }
    }

    pub(crate) fn enrolled(self, name: &str, gateway: &str) -> String {
        match self {
            English => format!("{name} is enrolled with {gateway}, too."),
            Korean => format!("{name}을(를) {gateway}에도 등록했어요."),
        }
    }

    pub(crate) fn sealed(self, by_keychain: bool, dir: &str) -> String {
        match (self, by_keychain) {
            (English, true) => format!("sealed by the desktop's keychain, in {dir}"),
            (English, false) => format!("sealed by your passphrase, in {dir}"),
            (Korean, true) => format!("{dir}에 데스크톱 키체인으로 봉인했어요"),
            (Korean, false) => format!("{dir}에 암호로 봉인했어요"),
        }
    }

    pub(crate) fn next_step(self) -> &'static str {
        match self {
            English => "Next: miid-wallet handle claim <NAME>, then miid-wallet run",
            Korean => "다음: miid-wallet handle claim <이름>, 그리고 miid-wallet run",
        }
    }

    pub(crate) fn handle_is(self, handle: &str, gateway: &str) -> String {
        match self {
            English => format!("You are {handle} at {gateway}."),
            Korean => format!("{gateway}에서 {handle}(이)에요."),
        }
    }

    pub(crate) fn no_handle(self, gateway: &str) -> String {
        match self {
            English => format!("No handle at {gateway}."),
            Korean => format!("{gateway}에 핸들이 없어요."),
        }
    }

    pub(crate) fn empty_profile(self) -> &'static str {
        match self {
            English => "The profile is empty. Fill it: miid-wallet profile set name=\"Alice Kim\"",
            Korean => "프로필이 비어 있어요. 채우기: miid-wallet profile set name=\"앨리스\"",
        }
    }

    pub(crate) fn ask_passphrase(self) -> &'static str {
        match self {
            English => "Passphrase: ",
            Korean => "암호: ",
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

fn shortened(agent: &str) -> String {
    let mut short: String = agent.chars().take(MAX_AGENT).collect();
    if short.len() < agent.len() {
        short.push('…');
    }
    if is_displayable(&short, MAX_AGENT + 1) { short } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{T, sample};

    #[test]
    fn times_are_relative_up_to_an_hour_and_absolute_then() {
        let later = |minutes: i64| Timestamp::from_millis(T.millis() + minutes * 60_000);
        assert_eq!(English.when(T, T), "just now");
        assert_eq!(Korean.when(T, later(59)), "59분 전");
        assert_eq!(English.when(T, later(60)), "2027-01-15 08:00 UTC");
    }

    #[test]
    fn a_browser_is_named_in_the_persons_language_and_a_strange_one_is_cut() {
        let mut request = sample(1);
        assert_eq!(Korean.circumstances(&request, "4:58"), "Linux의 Firefox · 192.0.2.7 · 4:58 남음");
        request.user_agent = Some("x".repeat(100));
        request.ip = None;
        assert_eq!(English.circumstances(&request, "0:01"), format!("{}… · valid 0:01", "x".repeat(60)));
    }
}
