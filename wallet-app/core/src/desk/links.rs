//! Links that the desktop hands over. Any page can open one and name any gateway in it, so nothing is claimed
//! before the person says “Continue”, except by a rule of their own; and nothing at all for a gateway that
//! nobody here is enrolled with.

use std::sync::Arc;

use miid_protocol::link::WalletLink;

use super::draw::candidates;
use super::fault::Fault;
use super::state::Running;
use super::view::Notice;
use super::{Call, Desk, Inner};
use crate::wallet::OneClick;

/// The request that came of a link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Claimed {
    /// Identity and gateway.
    pub wallet: String,
    /// Which.
    pub challenge_id: String,
}

impl Desk {
    /// A link was opened. What comes of it is in the view: a question, a request, or only a notice.
    pub fn open_link(&self, text: &str) -> Result<(), Fault> {
        let link = WalletLink::parse(text).map_err(|_| {
            self.inner.notice(Notice { kind: "bad_link".into(), ..Notice::default() });
            Fault::BadLink
        })?;
        // Anybody's page can open one: that is no sign of the person.
        self.inner.lock_if_idle();
        self.inner.receive(link)
    }

    /// “Continue as this identity”: takes the link for it.
    pub async fn continue_link(&self, id: &str, identity: &str) -> Result<Claimed, Fault> {
        let inner = &self.inner;
        inner.lock_if_idle();
        let (link, running) = inner.change(|state| {
            if state.vault.is_none() {
                return Err(Fault::Locked);
            }
            let issuer = state.inbox.find(id).ok_or(Fault::UnknownRequest)?.link.issuer.clone();
            let running = candidates(state, &issuer).find(|running| running.name == identity).cloned();
            let running = running.ok_or(Fault::UnknownIdentity)?;
            Ok((state.inbox.take(id).ok_or(Fault::UnknownRequest)?, running))
        })?;
        let challenge_id = link.challenge_id.to_string();
        let kept = link.clone();
        match inner.claim(&running, link).await {
            // The page goes to the request by itself: nobody has to be called who is there.
            Ok(_) => Ok(Claimed { wallet: running.id, challenge_id }),
            Err(fault) => {
                // What may work a moment later, or for another identity, is asked again; what is over is not.
                if matches!(
                    fault.code(),
                    super::Code::GatewayUnreachable
                        | super::Code::Unanswered
                        | super::Code::RateLimited
                        | super::Code::OtherIdentity
                ) {
                    let now = inner.now();
                    inner.change(|state| state.inbox.put_back(id, kept, now));
                }
                Err(fault)
            }
        }
    }

    /// “No”: the link is forgotten, and nobody hears of it.
    pub fn drop_link(&self, id: &str) -> Result<(), Fault> {
        self.inner.change(|state| state.inbox.take(id)).map(drop).ok_or(Fault::UnknownRequest)
    }
}

impl Inner {
    /// Takes a link in: to be asked about now, or once the wallet is open.
    fn receive(self: &Arc<Self>, link: WalletLink) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.state();
        if state.vault.is_none() {
            let _ = state.inbox.put(link, now);
            state.call(Call::Door);
            drop(state);
            self.redraw();
            return Ok(());
        }
        let mut able = candidates(&state, &link.issuer);
        let (first, is_alone) = (able.next().cloned(), able.next().is_none());
        drop(able);
        let Some(first) = first else {
            drop(state);
            let host = link.issuer.authority().to_owned();
            self.notice(Notice { kind: "not_ours".into(), reason: Some(host.clone()), ..Notice::default() });
            return Err(Fault::NotOurs { host });
        };
        let known = candidates(&state, &link.issuer).find_map(|running| {
            let requests = running.wallet.snapshot().requests;
            let shown = requests.into_iter().find(|shown| shown.request.challenge_id == link.challenge_id)?;
            Some((running.id.clone(), shown.request))
        });
        if let Some((wallet, request)) = known {
            // Opened once more, after it was claimed: the request it became comes to the front.
            state.call(Call::of(wallet, &request));
        } else if let Some(id) = state.inbox.put(link.clone(), now) {
            if is_alone {
                drop(state);
                self.spawn(|inner| async move { inner.try_alone(first, id, link).await });
                return Ok(());
            }
            state.call(Call::Link { id });
        } else if let Some(id) = state.inbox.id_of(&link) {
            state.call(Call::Link { id });
        }
        drop(state);
        self.redraw();
        Ok(())
    }

    /// The wallet was opened: links that waited for it.
    pub(super) fn sort_links(self: &Arc<Self>) {
        let now = self.now();
        let waited = self.state().inbox.take_all(now);
        for link in waited {
            if let Err(error) = self.receive(link) {
                tracing::info!(%error, "a link that waited goes nowhere");
            }
        }
    }

    /// Where a rule of the person's may let it through, and only one identity could take it: claims it without
    /// a question. Everything else is asked.
    async fn try_alone(self: Arc<Self>, running: Running, id: String, link: WalletLink) {
        let may = running.wallet.may_act_alone().await.unwrap_or(false);
        let now = self.now();
        let link = self.change(|state| {
            let still_ours = state.running(&running.id).is_some();
            if may && still_ours && state.inbox.may_claim_alone(now) {
                return state.inbox.take(&id).map(|_| link);
            }
            if still_ours && state.inbox.find(&id).is_some() {
                state.call(Call::Link { id: id.clone() });
            }
            None
        });
        let Some(link) = link else { return };
        let turn = self.state().turn;
        match self.claim(&running, link).await {
            Ok(None) => {}
            Ok(Some(call)) => self.change(|state| {
                if state.turn == turn {
                    state.call(call);
                }
            }),
            Err(fault) => {
                tracing::info!(%fault, "a link could not be taken");
                let reason =
                    serde_json::to_value(fault.code()).ok().and_then(|code| code.as_str().map(str::to_owned));
                self.notice(Notice { kind: "link_failed".into(), reason, ..Notice::default() });
            }
        }
    }

    /// Claims a link. Where a rule allows it this is the approval, too, and the browser opens; else the request
    /// stands in the list, and this gives the call for it.
    async fn claim(&self, running: &Running, link: WalletLink) -> Result<Option<Call>, Fault> {
        let turn = self.state().turn;
        let challenge_id = link.challenge_id;
        let done = running.wallet.one_click(&link).await;
        self.redraw();
        match done? {
            OneClick::Approved(outcome) => {
                self.come_back(turn, outcome.return_to.as_deref())?;
                Ok(None)
            }
            OneClick::Ask(_) => {
                let shown = running.wallet.snapshot().requests;
                let shown = shown.into_iter().find(|shown| shown.request.challenge_id == challenge_id);
                Ok(shown.map(|shown| Call::of(running.id.clone(), &shown.request)))
            }
        }
    }
}
