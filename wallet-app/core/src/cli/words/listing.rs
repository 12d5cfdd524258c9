//! What commands list and say about identities, sessions and the history.

use super::Words::{self, English, Korean};

impl Words {
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

    pub(crate) fn left(self, name: &str, gateway: &str) -> String {
        match self {
            English => format!("{name} has left {gateway}."),
            Korean => format!("{name}이(가) {gateway}에서 나왔어요."),
        }
    }

    pub(crate) fn restored(self, name: &str) -> String {
        match self {
            English => format!("Brought the identity back as {name}."),
            Korean => format!("신원을 {name}(으)로 되찾았어요."),
        }
    }

    pub(crate) fn sheet_written(self, path: &str) -> String {
        match self {
            English => format!("The sheet is in {path}. Print it, and take it off this computer."),
            Korean => format!("시트를 {path}에 저장했어요. 인쇄한 뒤 이 컴퓨터에서 지워 주세요."),
        }
    }

    pub(crate) fn retired(self, identity: &str, gateway: &str) -> String {
        match self {
            English => format!("Ended {identity} at {gateway}, with every session."),
            Korean => format!("{gateway}에서 {identity}을(를) 폐기하고 모든 세션을 종료했어요."),
        }
    }

    pub(crate) fn damaged_lines(self, count: usize) -> String {
        match self {
            English => format!("{count} lines of the history cannot be read and are left out"),
            Korean => format!("기록 {count}줄을 읽을 수 없어 건너뛰어요"),
        }
    }

    pub(crate) fn exported(self, count: usize, path: &str) -> String {
        match self {
            English => format!("Wrote {count} entries to {path}."),
            Korean => format!("{path}에 {count}건을 저장했어요."),
        }
    }
}
