//! The sheet as plain text: to be printed, or saved where only its owner reads it.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::RecoverySheet;
use crate::settings::Spoken;

/// Words per line.
const COLUMNS: usize = 4;

impl RecoverySheet {
    /// As text. `miid-wallet retire --statement-file` reads it again.
    pub fn to_text(&self, language: Spoken) -> Zeroizing<String> {
        let says = language.says();
        // Of its final size from the start: a text that grows leaves copies of the words behind.
        let size = 4096 + self.retire.iter().map(|one| one.statement.len() + 200).sum::<usize>();
        let mut text = Zeroizing::new(String::with_capacity(size));
        let made = self.made_at.to_string();
        let made = made.get(..16).unwrap_or(&made).replace('T', " ");
        let gateways: Vec<_> = self.gateways.iter().map(|gateway| gateway.as_str()).collect();
        let _ = writeln!(text, "{}\n", says.title);
        let _ = writeln!(text, "{}: {}", says.identity, crate::request::plain(&self.name));
        let _ = writeln!(text, "{}: {}", says.identifier, self.did);
        let _ = writeln!(text, "{}: {}", says.gateways, gateways.join(", "));
        let _ = writeln!(text, "{}: {made} UTC\n", says.made);
        let _ = writeln!(text, "{}\n\n{}\n", says.warning, says.words);
        for (row, line) in self.words.list().chunks(COLUMNS).enumerate() {
            for (column, word) in line.iter().enumerate() {
                let _ = write!(text, "  {:>2}. {word:<10}", row * COLUMNS + column + 1);
            }
            text.push('\n');
        }
        let _ = writeln!(text, "\n{}\n\n{}\n", says.restore, says.retire);
        for one in &self.retire {
            let _ = writeln!(text, "{}:\n{}\n", one.gateway, one.statement);
        }
        text
    }
}

struct Says {
    title: &'static str,
    identity: &'static str,
    identifier: &'static str,
    gateways: &'static str,
    made: &'static str,
    warning: &'static str,
    words: &'static str,
    restore: &'static str,
    retire: &'static str,
}

impl Spoken {
    fn says(self) -> &'static Says {
        match self {
            Self::English => &Says {
                title: "MiID recovery sheet",
                identity: "Identity",
                identifier: "Identifier",
                gateways: "Gateways",
                made: "Made",
                warning: "Whoever has this sheet can sign in as you. Keep it on paper, where you keep your passport,\n\
                          and not on a computer.",
                words: "The key, in 24 words:",
                restore: "Lost the computer? Choose “Restore” in a new wallet, or run: miid-wallet restore\n\
                          and type the words in this order. It is the same identity then.",
                retire: "Somebody else may have the key? End the identity: in the wallet, or without any wallet by\n\
                         miid-wallet retire --statement-file FILE, where FILE holds the lines below or this whole sheet.\n\
                         Every session ends at once, and the identity is over for good.",
            },
            Self::Korean => &Says {
                title: "MiID 복구 시트",
                identity: "신원",
                identifier: "식별자",
                gateways: "게이트웨이",
                made: "만든 때",
                warning: "이 종이를 가진 사람은 나로 로그인할 수 있어요. 컴퓨터가 아니라 종이로,\n\
                          여권을 두는 곳에 보관해 주세요.",
                words: "키를 나타내는 낱말 24개:",
                restore: "컴퓨터를 잃어버렸나요? 새 지갑에서 “복구”를 고르거나 miid-wallet restore 를 실행하고\n\
                          낱말을 이 순서대로 입력해 주세요. 같은 신원이 돌아와요.",
                retire: "다른 사람이 키를 가졌을지도 모르나요? 지갑에서 신원을 폐기하거나, 지갑 없이\n\
                         miid-wallet retire --statement-file 파일 을 실행해 주세요 (아래 줄이나 이 시트 전체를 담은 파일).\n\
                         모든 세션이 바로 종료되고, 이 신원은 다시 쓸 수 없어요.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use miid_protocol::Timestamp;
    use miid_protocol::statement::Decision;

    use super::*;
    use crate::recovery::{RecoveryWords, RetireStatement, retire};
    use crate::vault::tests::gateway;

    fn sheet() -> RecoverySheet {
        let statement = RetireStatement::parse(&retire::tests::signed(Decision::Retire)).expect("reads");
        RecoverySheet {
            name: "Alice".into(),
            did: statement.did.clone(),
            gateways: vec![gateway()],
            words: RecoveryWords::of_seed(&[7; 32]),
            retire: vec![statement],
            made_at: Timestamp::from_millis(1_800_000_000_000),
        }
    }

    #[test]
    fn a_printed_sheet_holds_what_is_needed_and_can_be_read_again() {
        for language in [Spoken::English, Spoken::Korean] {
            let text = sheet().to_text(language);
            assert!(text.contains("Alice") && text.contains(sheet().did.as_str()), "{}", *text);
            assert!(text.contains("2027-01-15 08:00 UTC"), "{}", *text);
            assert_eq!(RetireStatement::find(&text).len(), 1);
            let rows = text.lines().filter(|line| line.starts_with("   1.") || line.starts_with("   5."));
            assert_eq!(rows.count(), 2, "{}", *text);
            let is_row = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
            let words: Vec<_> = text.lines().filter(is_row).collect();
            let read = RecoveryWords::parse(&words.join(" ")).map(|words| *words.seed());
            assert_eq!(read.ok(), Some([7; 32]), "{}", *text);
            assert!(text.capacity() <= 4096 + 2048, "it grew");
        }
    }

    #[test]
    fn a_sheet_for_a_window_is_words_and_statements() {
        let json = serde_json::to_value(sheet()).expect("json");
        assert_eq!(json["words"].as_array().map(Vec::len), Some(24));
        assert_eq!(json["retire"][0]["gateway"], "http://127.0.0.1:14000");
        assert!(json["retire"][0]["statement"].is_string() && json["made_at"].is_string());
    }
}
