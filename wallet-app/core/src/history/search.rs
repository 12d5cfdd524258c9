//! Finding something again: newest first, a page at a time.

use miid_protocol::{Did, jws};
use serde::Serialize;

use super::{Entry, History, What};
use crate::files::FileError;
use crate::vault::Outline;

/// Most entries of one page.
pub const MAX_PAGE: usize = 500;
/// Characters of an entry's name that tell it from others: 96 bits.
const ID: usize = 16;

/// What to look for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search<'a> {
    /// Words that must all stand somewhere in it, in any case: service, identity, what happened, what for, why. None finds all.
    pub text: &'a str,
    /// Who is who: the history knows DIDs alone.
    pub identities: &'a [Outline],
    /// Of this identity alone.
    pub did: Option<&'a Did>,
    /// Older than this one.
    pub before: Option<&'a str>,
    /// At most so many, [`MAX_PAGE`] in any case.
    pub limit: usize,
}

/// One that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its name, which stays the same when older ones are cut off.
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<Found>,
    /// Whether there are older ones.
    pub more: bool,
    /// How many lines of the whole history cannot be read.
    pub damaged: usize,
}

impl History {
    /// Looks for something.
    pub fn search(&self, search: &Search<'_>) -> Result<Page, FileError> {
        let lines = self.lines()?;
        let words: Vec<String> = search.text.split_whitespace().map(str::to_lowercase).collect();
        let limit = search.limit.min(MAX_PAGE);
        let mut page = Page { damaged: lines.damaged, ..Page::default() };
        // Where the page before ended; should that one be gone by now, there is nothing older either.
        let mut behind = search.before.is_none();
        for entry in lines.entries.into_iter().rev() {
            if search.did.is_some_and(|did| entry.did != *did) || !entry.has(&words, search.identities) {
                continue;
            }
            let id = entry.id();
            if !behind {
                behind = search.before == Some(id.as_str());
                continue;
            }
            if page.entries.len() == limit {
                page.more = true;
                break;
            }
            page.entries.push(Found { id, entry });
        }
        Ok(page)
    }
}

impl Entry {
    fn id(&self) -> String {
        let mut name = match serde_json::to_vec(self) {
            Ok(line) => jws::digest(&line),
            Err(_) => unreachable!("plain structs serialise"),
        };
        name.truncate(ID);
        name
    }

    fn has(&self, words: &[String], identities: &[Outline]) -> bool {
        if words.is_empty() {
            return true;
        }
        let name = identities.iter().find(|one| one.did == self.did).map(|one| one.name.as_str());
        let service_id = self.service_id.as_ref().map(|id| id.as_str());
        let parts = [
            self.service_name.as_deref(),
            self.step_up.as_deref(),
            service_id,
            name,
            Some(self.did.as_str()),
            Some(self.gateway.as_str()),
            Some(self.what.as_str()),
            self.reason.as_deref(),
            Some(self.outcome.as_str()),
        ];
        let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n").to_lowercase();
        for shared in &self.shared {
            text.push('\n');
            text.push_str(shared);
        }
        words.iter().all(|word| text.contains(word.as_str()))
    }
}

impl What {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Revoked => "revoked",
            Self::SignedIn => "signed_in",
            Self::Confirmed => "confirmed",
            Self::Expired => "expired",
            Self::SessionEnded => "session_ended",
            Self::OneClick => "one_click",
            Self::Retired => "retired",
        }
    }
}

#[cfg(test)]
mod tests {
    use miid_protocol::{ClientId, Timestamp};

    use super::*;
    use crate::history::tests::entry;

    fn history(dir: &std::path::Path) -> (History, Vec<Outline>) {
        let history = History::new(dir);
        let (alice, bob) = (entry("").did, entry("").did);
        let say = |n: i64, did: &Did, service: &str, what, reason: &str| {
            let entry = Entry {
                at: Timestamp::from_millis(1_800_000_000_000 + n),
                did: did.clone(),
                what,
                service_id: Some(ClientId::parse("shop-1").expect("id")),
                service_name: Some(service.into()),
                ..entry(reason)
            };
            history.append(&entry).expect("appended");
        };
        say(1, &alice, "Demo Shop", What::Approved, "");
        say(2, &alice, "데모 가게", What::Denied, "not_me");
        say(3, &bob, "Demo Shop", What::SessionEnded, "superseded");
        say(4, &alice, "Demo Shop", What::OneClick, "");
        let outline = |name: &str, did| Outline { name: name.into(), did };
        (history, vec![outline("Alice", alice), outline("밥", bob)])
    }

    fn found(page: &Page) -> Vec<What> {
        page.entries.iter().map(|found| found.entry.what).collect()
    }

    #[test]
    fn every_word_has_to_stand_somewhere_whatever_its_case() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (history, identities) = history(dir.path());
        let find = |text: &str| {
            let search = Search { text, identities: &identities, limit: 10, ..Search::default() };
            found(&history.search(&search).expect("searched"))
        };
        assert_eq!(find(""), [What::OneClick, What::SessionEnded, What::Denied, What::Approved]);
        assert_eq!(find("demo SHOP"), [What::OneClick, What::SessionEnded, What::Approved]);
        assert_eq!(find("가게"), [What::Denied]);
        assert_eq!(find("alice demo"), [What::OneClick, What::Approved]);
        assert_eq!(find("밥"), [What::SessionEnded]);
        assert_eq!(find("not_me"), [What::Denied]);
        assert_eq!(find("one_click"), [What::OneClick]);
        assert_eq!(find("shop-1 superseded"), [What::SessionEnded]);
        assert_eq!(find("shop nobody"), []);
    }

    #[test]
    fn pages_follow_one_another_without_a_gap_or_a_repetition() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (history, identities) = history(dir.path());
        let did = Some(&identities[0].did);
        let page = |before, limit| {
            history
                .search(&Search { did, before, limit, identities: &identities, text: "" })
                .expect("searched")
        };
        let first = page(None, 2);
        assert_eq!((found(&first), first.more), (vec![What::OneClick, What::Denied], true));
        // What happens meanwhile comes before the first page.
        history.append(&Entry { did: identities[0].did.clone(), ..entry("later") }).expect("appended");
        let second = page(Some(&first.entries[1].id), 2);
        assert_eq!((found(&second), second.more), (vec![What::Approved], false));
        assert_eq!(page(Some(&second.entries[0].id), 2), Page::default());
        assert_eq!(page(Some("never seen"), 2), Page::default());
        assert_eq!(page(None, 0), Page { more: true, ..Page::default() });
        assert!(history.search(&Search { limit: usize::MAX, ..Search::default() }).is_ok());
    }
}
