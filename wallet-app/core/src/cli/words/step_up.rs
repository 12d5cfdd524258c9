//! What is said about confirming something in a session that is there: nobody is signed in by it.

use miid_protocol::service::{DenyReason, ExpireReason};

use super::Words::{self, English, Korean};

impl Words {
    /// Which session a request is about; `since` is absent where the wallet does not know the session.
    pub(crate) fn in_session(self, since: Option<&str>) -> String {
        match (self, since) {
            (English, Some(since)) => format!("in your session there, signed in {since}; nothing is shared"),
            (English, None) => "in a session that this wallet does not know: if in doubt, deny".to_owned(),
            (Korean, Some(since)) => format!("{since} 로그인한 세션에서 물어요. 공유하는 것은 없어요"),
            (Korean, None) => "이 지갑이 모르는 세션이에요. 확실하지 않으면 거절하세요".to_owned(),
        }
    }

    pub(crate) fn confirmed(self, service: &str) -> String {
        match self {
            English => format!("Confirmed. {service} goes on; your session there is as it was."),
            Korean => format!("확인했어요. {service}에서 이어져요. 세션은 그대로예요."),
        }
    }

    pub(crate) fn denied_step_up(self, service: &str, reason: DenyReason) -> String {
        match (self, reason) {
            (English, DenyReason::Declined) => {
                format!("Denied. {service} is told that you said no; nothing was confirmed.")
            }
            (English, DenyReason::NotMe) => format!(
                "Denied as not yours. {service} is told. Somebody may be using your session there: miid-wallet sessions"
            ),
            (English, DenyReason::WrongMatchCode) => format!(
                "That was not the number, so nothing was confirmed at {service}. Start again on the page."
            ),
            (Korean, DenyReason::Declined) => {
                format!("거절했어요. {service}에 알렸고, 아무것도 확인해 주지 않았어요.")
            }
            (Korean, DenyReason::NotMe) => format!(
                "내가 아니라고 거절했어요. {service}에 알렸어요. 누군가 내 세션을 쓰고 있을 수 있어요: miid-wallet sessions"
            ),
            (Korean, DenyReason::WrongMatchCode) => {
                format!("숫자가 달라서 {service}에 확인해 주지 않았어요. 페이지에서 다시 시작해 주세요.")
            }
        }
    }

    pub(crate) fn expired_step_up(self, service: &str, reason: ExpireReason) -> String {
        match (self, reason) {
            (English, ExpireReason::CodeTimeout) => {
                format!("{service} did not finish in time; nothing was confirmed.")
            }
            (English, ExpireReason::OtherBrowser) => {
                format!("Somebody else began this at {service}; nothing was confirmed.")
            }
            (Korean, ExpireReason::CodeTimeout) => {
                format!("{service}에서 제때 마치지 못해 아무것도 확인되지 않았어요.")
            }
            (Korean, ExpireReason::OtherBrowser) => {
                format!("{service}의 요청은 다른 사람이 시작한 것이었어요. 아무것도 확인되지 않았어요.")
            }
            (_, reason) => self.expired(service, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_of_a_step_up_speaks_of_signing_in() {
        let denials = [DenyReason::Declined, DenyReason::NotMe, DenyReason::WrongMatchCode];
        let ends = [
            ExpireReason::Timeout,
            ExpireReason::CodeTimeout,
            ExpireReason::Replaced,
            ExpireReason::Withdrawn,
            ExpireReason::OtherBrowser,
            ExpireReason::SessionEnded,
        ];
        for words in [English, Korean] {
            let denied = denials.map(|reason| words.denied_step_up("Shop", reason));
            let expired = ends.map(|reason| words.expired_step_up("Shop", reason));
            let mut all: Vec<_> =
                denied.into_iter().chain(expired).chain([words.confirmed("Shop")]).collect();
            for said in &all {
                assert!(
                    said.contains("Shop") && !said.contains("sign") && !said.contains("로그인"),
                    "{said}"
                );
            }
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
