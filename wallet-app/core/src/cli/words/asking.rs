//! What a request asks, in words.

use miid_protocol::request::SignInRequest;
use miid_protocol::service::Risk;
use miid_protocol::text::is_displayable;

use super::Words::{self, English, Korean};
use crate::cli::device;

/// Longest piece of a browser's own name that is shown where we do not recognise it.
const MAX_AGENT: usize = 60;

impl Words {
    pub(crate) fn asks(self, request: &SignInRequest) -> String {
        let name = &request.service.name;
        match (self, request.risk) {
            (English, Risk::Normal) => format!("{name} asks to sign you in"),
            (English, Risk::StepUp) => format!("{name} asks you to confirm:"),
            (Korean, Risk::Normal) => format!("{name}에서 로그인을 요청해요"),
            (Korean, Risk::StepUp) => format!("{name}에서 확인을 요청해요:"),
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
            English => format!("share: {name} \"{value}\" {choice} (or = and another value) "),
            Korean => format!("공유: {name} \"{value}\" {choice} (다른 값은 = 뒤에) "),
        }
    }

    pub(crate) fn yes_or_no(self) -> &'static str {
        match self {
            English => "Answer y or n (d = deny, s = skip).",
            Korean => "y 또는 n으로 답해 주세요 (d = 거절, s = 건너뛰기).",
        }
    }

    /// A link was opened; nobody was told yet.
    pub(crate) fn continue_as(self, gateway: &str, name: &str) -> String {
        match self {
            English => format!(
                "A page on this computer asks for you, through {gateway}.\nContinue as {name} (y = yes, Enter = no)? "
            ),
            Korean => format!(
                "이 컴퓨터의 페이지가 {gateway}을(를) 거쳐 나를 찾아요.\n{name}(으)로 계속할까요 (y = 예, Enter = 아니요)? "
            ),
        }
    }

    /// The same where several could take it.
    pub(crate) fn continue_as_which(self, gateway: &str, names: &[&str]) -> String {
        let list: String =
            names.iter().enumerate().map(|(i, name)| format!("  {} {name}\n", i + 1)).collect();
        match self {
            English => format!(
                "A page on this computer asks for you, through {gateway}.\n{list}Continue as which (its number, Enter = no)? "
            ),
            Korean => format!(
                "이 컴퓨터의 페이지가 {gateway}을(를) 거쳐 나를 찾아요.\n{list}누구로 계속할까요 (번호, Enter = 아니요)? "
            ),
        }
    }

    pub(crate) fn nothing_was_sent(self) -> &'static str {
        match self {
            English => "Nothing was sent.",
            Korean => "아무것도 보내지 않았어요.",
        }
    }

    pub(crate) fn not_ours(self, gateway: &str) -> String {
        match self {
            English => {
                format!("the link names {gateway}, and no identity here is enrolled with that gateway")
            }
            Korean => format!(
                "링크가 {gateway}을(를) 가리키는데, 여기 어느 신원도 그 게이트웨이에 등록되어 있지 않아요"
            ),
        }
    }

    pub(crate) fn muted_asks(self, service: &str) -> String {
        match self {
            English => format!("({service} asks; you have muted it.)"),
            Korean => format!("({service}에서 요청해요. 알림을 꺼 둔 서비스예요.)"),
        }
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
    use crate::request::tests::sample;

    #[test]
    fn a_browser_is_named_in_the_persons_language_and_a_strange_one_is_cut() {
        let mut request = sample(1);
        assert_eq!(Korean.circumstances(&request, "4:58"), "Linux의 Firefox · 192.0.2.7 · 4:58 남음");
        request.user_agent = Some("x".repeat(100));
        request.ip = None;
        assert_eq!(English.circumstances(&request, "0:01"), format!("{}… · valid 0:01", "x".repeat(60)));
    }
}
