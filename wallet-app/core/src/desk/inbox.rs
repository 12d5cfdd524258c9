//! Links that were opened and wait: for the person's “Continue”, or for the wallet to be unlocked. Pure.
//!
//! Any page can open any link as often as it likes, so the inbox is small, forgets, and takes each link once.

use std::collections::VecDeque;

use miid_protocol::link::WalletLink;
use miid_protocol::{ChallengeId, Issuer, Lifetime, Timestamp};

/// Most links kept; then the oldest goes, since the newest is what the person has just clicked.
pub const MAX_LINKS: usize = 8;
/// How long one is kept. A gateway keeps a challenge for five minutes unless told otherwise.
pub const KEPT_FOR: Lifetime = Lifetime::from_secs(10 * 60);
/// How many links may be claimed without a question in [`ALONE_WINDOW`]: a page that opens one after the other
/// gets questions, not claims.
pub const MAX_ALONE: usize = 6;
/// See [`MAX_ALONE`].
pub const ALONE_WINDOW: Lifetime = Lifetime::from_secs(60);

/// A link in the inbox.
#[derive(Debug, Clone)]
pub struct Kept {
    /// For commands.
    pub id: String,
    /// The link; its secret is in it, so it has no way to the page.
    pub link: WalletLink,
    since: Timestamp,
}

/// The links, newest first.
#[derive(Debug, Default)]
pub struct Inbox {
    links: VecDeque<Kept>,
    numbered: u64,
    claimed_alone: VecDeque<Timestamp>,
}

impl Inbox {
    /// Takes a link in; `None` where it is there already.
    pub fn put(&mut self, link: WalletLink, now: Timestamp) -> Option<String> {
        self.forget_old(now);
        if self.links.iter().any(|kept| is_same(&kept.link, link.challenge_id, &link.issuer)) {
            return None;
        }
        self.numbered += 1;
        let id = format!("link-{}", self.numbered);
        self.links.push_front(Kept { id: id.clone(), link, since: now });
        self.links.truncate(MAX_LINKS);
        Some(id)
    }

    /// All that wait, newest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Kept> {
        self.links.iter()
    }

    /// The one that is the same link.
    pub fn id_of(&self, link: &WalletLink) -> Option<String> {
        let mut same = self.links.iter().filter(|kept| is_same(&kept.link, link.challenge_id, &link.issuer));
        same.next().map(|kept| kept.id.clone())
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Option<&Kept> {
        self.links.iter().find(|kept| kept.id == id)
    }

    /// Takes one out.
    pub fn take(&mut self, id: &str) -> Option<WalletLink> {
        let place = self.links.iter().position(|kept| kept.id == id)?;
        self.links.remove(place).map(|kept| kept.link)
    }

    /// Takes all out, oldest first.
    pub fn take_all(&mut self, now: Timestamp) -> Vec<WalletLink> {
        self.forget_old(now);
        self.links.drain(..).rev().map(|kept| kept.link).collect()
    }

    /// Puts one back that was taken out and could not be used.
    pub fn put_back(&mut self, id: &str, link: WalletLink, now: Timestamp) {
        if !self.links.iter().any(|kept| is_same(&kept.link, link.challenge_id, &link.issuer)) {
            self.links.push_front(Kept { id: id.to_owned(), link, since: now });
            self.links.truncate(MAX_LINKS);
        }
    }

    /// Drops what has waited for too long; says whether anything went.
    pub fn forget_old(&mut self, now: Timestamp) -> bool {
        let before = self.links.len();
        self.links.retain(|kept| kept.since.plus(KEPT_FOR) > now && kept.since <= now);
        self.links.len() < before
    }

    /// Whether one more link may be claimed without a question; counts it where it may.
    pub fn may_claim_alone(&mut self, now: Timestamp) -> bool {
        self.claimed_alone.retain(|at| at.plus(ALONE_WINDOW) > now && *at <= now);
        let may = self.claimed_alone.len() < MAX_ALONE;
        if may {
            self.claimed_alone.push_back(now);
        }
        may
    }
}

fn is_same(link: &WalletLink, challenge_id: ChallengeId, issuer: &Issuer) -> bool {
    link.challenge_id == challenge_id && link.issuer == *issuer
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn after(s: i64) -> Timestamp {
        T.plus(Lifetime::from_secs(s))
    }

    fn link(n: u32) -> WalletLink {
        let secret = miid_protocol::secret::Secret::<miid_protocol::secret::LinkSecret>::from_bytes([7; 32]);
        let id = format!("0198e0a0-0000-7000-8000-{n:012}");
        WalletLink::parse(&format!("miid://challenge/{id}?iss=https://id.example&s={}", secret.expose()))
            .expect("a link")
    }

    #[test]
    fn a_link_that_is_opened_twice_waits_once() {
        let mut inbox = Inbox::default();
        assert!(inbox.put(link(1), T).is_some());
        assert!(inbox.put(link(1), T).is_none());
        assert!(inbox.put(link(2), T).is_some());
        assert_eq!(inbox.waiting().count(), 2);
    }

    #[test]
    fn it_is_bounded_and_the_newest_stays() {
        let mut inbox = Inbox::default();
        for n in 0..100 {
            inbox.put(link(n), T);
        }
        let kept: Vec<_> = inbox.waiting().map(|kept| kept.link.challenge_id).collect();
        assert_eq!(kept.len(), MAX_LINKS);
        assert_eq!(kept[0], link(99).challenge_id);
    }

    #[test]
    fn what_nobody_takes_is_forgotten() {
        let mut inbox = Inbox::default();
        inbox.put(link(1), T);
        assert!(!inbox.forget_old(after(599)));
        inbox.put(link(2), after(599));
        assert!(inbox.forget_old(after(600)));
        assert_eq!(inbox.take_all(after(600)).len(), 1);
    }

    #[test]
    fn a_page_that_opens_link_after_link_gets_questions() {
        let mut inbox = Inbox::default();
        for _ in 0..MAX_ALONE {
            assert!(inbox.may_claim_alone(T));
        }
        assert!(!inbox.may_claim_alone(after(59)));
        assert!(inbox.may_claim_alone(after(60)));
    }

    #[test]
    fn a_link_is_taken_by_one() {
        let mut inbox = Inbox::default();
        let id = inbox.put(link(1), T).expect("taken in");
        assert!(inbox.find(&id).is_some());
        assert!(inbox.take(&id).is_some());
        assert!(inbox.take(&id).is_none());
    }
}
