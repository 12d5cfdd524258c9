//! `open`: a link of a page on this computer. Any page can make one, so the person is asked before it is taken,
//! and a gateway that nobody here is enrolled with is told nothing.

use std::sync::Arc;

use miid_protocol::link::WalletLink;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::{Args, OpenArgs};
use super::dialogue::Dialogue;
use super::failure::Failure;
use super::open::{self, Opened};
use super::run::{Ended, Screen, Talk, lines};
use super::words::Words;
use super::{block_on, typed};
use crate::update::{Updates, WalletUpdate};
use crate::vault::Vault;
use crate::wallet::{OneClick, Wallet};

pub(crate) fn open(args: &Args, wanted: &OpenArgs, words: Words) -> Result<Ended, Failure> {
    let link = read(&wanted.link)?;
    let vault = Arc::new(open::vault(args, words)?);
    let candidates = candidates(args, &vault, &link)?;
    if candidates.is_empty() {
        let hint = format!("nothing was sent; if you trust that gateway: miid-wallet enrol {}", link.issuer);
        return Err(Failure::usage(words.not_ours(link.issuer.as_str()), hint).kind("not_ours"));
    }
    block_on(follow(&link, &candidates, wanted.print_return, words))
}

fn read(text: &str) -> Result<WalletLink, Failure> {
    // A link holds a secret, and arguments are seen by everybody on this computer: `-` is the better way.
    let text = if text == "-" { typed::line("")?.unwrap_or_default() } else { text.to_owned() };
    WalletLink::parse(text.trim()).map_err(|_| {
        Failure::usage(
            "that is not a link to a sign-in request",
            "nothing was sent; open it from the page again",
        )
    })
}

/// Who could take it: enrolled with exactly that gateway, and not over there.
fn candidates(args: &Args, vault: &Arc<Vault>, link: &WalletLink) -> Result<Vec<Opened>, Failure> {
    let all = vault.identities()?;
    let identities = match &args.identity {
        Some(wanted) => vec![open::choose(&all, Some(wanted))?],
        None => all,
    };
    let mut candidates = Vec::new();
    for outline in identities {
        let gateways = vault.look(&outline.name, |record| record.gateways.clone())?;
        let fits = gateways.into_iter().find(|one| one.issuer == link.issuer && one.retired_at.is_none());
        if let Some(enrolment) = fits {
            candidates.push(open::at(args, vault, outline, enrolment)?);
        }
    }
    Ok(candidates)
}

async fn follow(
    link: &WalletLink,
    candidates: &[Opened],
    print_return: bool,
    words: Words,
) -> Result<Ended, Failure> {
    let mut screen = if print_return { Screen::beside() } else { Screen::new(false) };
    let mut lines = lines();
    // A rule is a person's for one identity: where another could be meant, it is asked.
    if let [one] = candidates {
        let wallet = one.wallet();
        if wallet.may_act_alone().await? {
            return by_rule(wallet, one, link, screen, lines, print_return, words).await;
        }
    }
    let Some(chosen) = ask(link, candidates, &mut screen, &mut lines, words).await? else {
        screen.say(words.nothing_was_sent())?;
        return Ok(Ended::NotSignedIn);
    };
    let wallet = chosen.wallet();
    let updates = listen(&wallet).await;
    let id = wallet.claim(link).await?;
    let talk = Talk { wallet: &wallet, words, screen, once: true, print_return, under_way: JoinSet::new() };
    let ended = talk.go_on(Dialogue::about(words, &chosen.outline.name, id), lines, updates).await;
    wallet.stop().await;
    ended
}

/// Listens first: a browser may be quicker than a stream that opens only after the yes, and how it ended would
/// not be heard. A gateway that is away says so to what is asked of it next.
async fn listen(wallet: &Wallet) -> Updates {
    let mut updates = wallet.subscribe();
    wallet.follow();
    while let Some(update) = updates.next().await {
        let is_settled = matches!(
            update,
            WalletUpdate::Connected { .. } | WalletUpdate::Disconnected { .. } | WalletUpdate::Stopped { .. }
        );
        if is_settled {
            break;
        }
    }
    updates
}

/// “Continue?”, and as whom.
async fn ask<'a>(
    link: &WalletLink,
    candidates: &'a [Opened],
    screen: &mut Screen,
    lines: &mut mpsc::UnboundedReceiver<String>,
    words: Words,
) -> Result<Option<&'a Opened>, Failure> {
    let gateway = link.issuer.as_str();
    if let [one] = candidates {
        screen.ask(&words.continue_as(gateway, &one.outline.name))?;
        let line = lines.recv().await.unwrap_or_default();
        return Ok(super::dialogue::is_yes(line.trim()).then_some(one));
    }
    let names: Vec<_> = candidates.iter().map(|one| one.outline.name.as_str()).collect();
    screen.ask(&words.continue_as_which(gateway, &names))?;
    let line = lines.recv().await.unwrap_or_default();
    let number = line.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    Ok(number.and_then(|number| candidates.get(number)))
}

/// A one-click rule may hold; where it does not the person is asked about the request itself.
async fn by_rule(
    wallet: Wallet,
    one: &Opened,
    link: &WalletLink,
    screen: Screen,
    lines: mpsc::UnboundedReceiver<String>,
    print_return: bool,
    words: Words,
) -> Result<Ended, Failure> {
    let updates = listen(&wallet).await;
    let done = wallet.one_click(link).await?;
    let dialogue = Dialogue::about(words, &one.outline.name, link.challenge_id);
    let mut talk =
        Talk { wallet: &wallet, words, screen, once: true, print_return, under_way: JoinSet::new() };
    if let OneClick::Approved(_) = done {
        let service = wallet.snapshot().requests.into_iter().map(|shown| shown.request);
        let service = service.into_iter().find(|request| request.challenge_id == link.challenge_id);
        let name = service.map(|request| request.service.name).unwrap_or_default();
        talk.screen.say(&words.one_click(&name))?;
        if let Some(ended) = talk.send_back(link.challenge_id)? {
            return Ok(ended);
        }
    }
    let ended = talk.go_on(dialogue, lines, updates).await;
    wallet.stop().await;
    ended
}
