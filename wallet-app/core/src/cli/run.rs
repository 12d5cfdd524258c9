//! `run`: connects and asks on the terminal. The conversation itself is in [`dialogue`](super::dialogue); here
//! it meets the wallet, standard input, the signals and the screen.

use std::collections::HashSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::RunArgs;
use super::dialogue::{Dialogue, Effect};
use super::failure::Failure;
use super::open::Opened;
use super::words::Words;
use super::{browser, driver};
use crate::update::{Updates, WalletUpdate};
use crate::wallet::{DecisionError, Wallet};
use miid_protocol::wallet::DecisionOutcome;
use miid_protocol::{ChallengeId, ClientId};

/// How a run ended.
pub(crate) enum Ended {
    /// By a signal, or since what `--once` waited for went well.
    Well,
    /// What `--once` waited for did not.
    NotSignedIn,
}

/// Runs until a signal, or with `--once` until one request is settled.
pub(crate) async fn run(opened: &Opened, args: &RunArgs, words: Words) -> Result<Ended, Failure> {
    let wallet = opened.wallet();
    let ended = if args.approve_with.is_some() {
        eprintln!("miid-wallet: {}", words.test_mode());
        driver::run(&wallet, args).await
    } else {
        let dialogue = Dialogue::new(words, &opened.outline.name);
        let screen = Screen::new(args.events_json);
        let talk = Talk {
            wallet: &wallet,
            words,
            screen,
            once: args.once,
            print_return: false,
            under_way: JoinSet::new(),
        };
        let updates = wallet.subscribe();
        wallet.follow();
        talk.go_on(dialogue, lines(), updates).await
    };
    wallet.stop().await;
    ended
}

/// A conversation on the terminal, with all that it needs.
pub(crate) struct Talk<'a> {
    pub(crate) wallet: &'a Wallet,
    pub(crate) words: Words,
    pub(crate) screen: Screen,
    /// Ends with one request.
    pub(crate) once: bool,
    /// Prints where the browser goes back to and ends, instead of opening it.
    pub(crate) print_return: bool,
    /// What was handed to the wallet and is not done.
    pub(crate) under_way: JoinSet<()>,
}

/// How long a decision that is under way may take when everything else is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets what is under way end, history line and all: its news may come before its answer.
pub(crate) async fn finish(mut under_way: JoinSet<()>) {
    let all = async { while under_way.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

impl Talk<'_> {
    pub(crate) async fn go_on(
        mut self,
        dialogue: Dialogue,
        lines: mpsc::UnboundedReceiver<String>,
        updates: Updates,
    ) -> Result<Ended, Failure> {
        let ended = self.converse(dialogue, lines, updates).await;
        finish(self.under_way).await;
        ended
    }

    async fn converse(
        &mut self,
        mut dialogue: Dialogue,
        mut lines: mpsc::UnboundedReceiver<String>,
        mut updates: Updates,
    ) -> Result<Ended, Failure> {
        let wallet = self.wallet;
        let mut input_open = true;
        let (results, mut settled) = mpsc::unbounded_channel();
        let end = end();
        tokio::pin!(end);
        dialogue.mute(muted(wallet).await);
        // What was taken by a link is there already.
        let mut effects = dialogue.on_snapshot(&wallet.snapshot().requests, wallet.now());
        loop {
            for effect in effects {
                if let Some(ended) = self.carry_out(effect, &results)? {
                    return Ok(ended);
                }
            }
            effects = tokio::select! {
                () = &mut end => {
                    self.screen.leave();
                    return Ok(Ended::Well);
                }
                update = updates.next() => {
                    let Some(update) = update else { return Ok(Ended::Well) };
                    self.screen.event(&update)?;
                    match &update {
                        WalletUpdate::Stopped { reason } => {
                            return Err(Failure::new(self.words.stopped(reason)).code(5));
                        }
                        WalletUpdate::ChallengeCreated { .. } => dialogue.mute(muted(wallet).await),
                        _ => {}
                    }
                    if update == WalletUpdate::Missed {
                        dialogue.on_snapshot(&wallet.snapshot().requests, wallet.now())
                    } else {
                        dialogue.on_update(&update, wallet.now())
                    }
                }
                line = lines.recv(), if input_open => match line {
                    Some(line) => dialogue.on_line(&line),
                    None => {
                        input_open = false;
                        dialogue.on_eof()
                    }
                },
                Some(result) = settled.recv() => match result {
                    Settled::Proposal(id, proposal) => dialogue.on_proposal(id, proposal, wallet.now()),
                    Settled::Decision(id, result) => dialogue.on_result(id, *result),
                },
            };
        }
    }

    /// Says it, or hands it to the wallet; `Some` ends the conversation.
    fn carry_out(
        &mut self,
        effect: Effect,
        results: &mpsc::UnboundedSender<Settled>,
    ) -> Result<Option<Ended>, Failure> {
        match effect {
            Effect::Say(text) => self.screen.say(&text)?,
            Effect::Ask(text) => self.screen.ask(&text)?,
            Effect::Settled(well) if self.once => {
                return Ok(Some(if well { Ended::Well } else { Ended::NotSignedIn }));
            }
            Effect::Settled(_) => {}
            Effect::Return(id) => return self.send_back(id),
            effect => self.decide(effect, results),
        }
        Ok(None)
    }

    /// Hands an effect to the wallet; its result comes back as [`Settled`].
    fn decide(&mut self, effect: Effect, results: &mpsc::UnboundedSender<Settled>) {
        let (wallet, results) = (self.wallet.clone(), results.clone());
        while self.under_way.try_join_next().is_some() {}
        self.under_way.spawn(async move {
            let settled = match effect {
                Effect::Propose(id) => Settled::Proposal(id, wallet.proposal(id).await.ok()),
                Effect::Approve(id, approval) => {
                    Settled::Decision(id, Box::new(wallet.approve(id, &approval).await))
                }
                Effect::Deny(id, reason) => Settled::Decision(id, Box::new(wallet.deny(id, reason).await)),
                Effect::Cancel(id) => Settled::Decision(id, Box::new(wallet.cancel(id).await)),
                Effect::Say(_) | Effect::Ask(_) | Effect::Settled(_) | Effect::Return(_) => return,
            };
            // Nobody waits any more when the run has ended.
            let _ = results.send(settled);
        });
    }

    /// Sends the person's browser back to the page.
    pub(crate) fn send_back(&mut self, id: ChallengeId) -> Result<Option<Ended>, Failure> {
        let address = self.wallet.return_to(id)?;
        if self.print_return {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", address.as_str())?;
            out.flush()?;
            return Ok(Some(Ended::Well));
        }
        if !browser::open(&address) {
            self.screen.say(&self.words.no_browser(address.as_str()))?;
        }
        Ok(None)
    }
}

/// Whom the person does not want to hear now; a vault that cannot be read silences nobody.
async fn muted(wallet: &Wallet) -> HashSet<ClientId> {
    let mutes = wallet.mutes().await.unwrap_or_default();
    mutes.into_iter().map(|(service, _)| service).collect()
}

enum Settled {
    Proposal(ChallengeId, Option<crate::policy::Proposal>),
    Decision(ChallengeId, Box<Result<DecisionOutcome, DecisionError>>),
}

/// Lines of standard input, from a thread of their own: a read there cannot be interrupted, and must not hold
/// up the end of the program.
pub(crate) fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Ctrl-C or SIGTERM.
pub(crate) async fn end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Colour is for terminals, and for people who did not say no (<https://no-color.org>).
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One update as one line of JSON.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut line = serde_json::to_vec(value).map_err(|e| Failure::new(e.to_string()))?;
    line.push(b'\n');
    out.write_all(&line)?;
    Ok(out.flush()?)
}

pub(crate) struct Screen {
    events_json: bool,
    /// Words go to standard error, since standard output is for a program.
    beside: bool,
    colour: bool,
}

impl Screen {
    pub(crate) fn new(events_json: bool) -> Self {
        Self { events_json, beside: events_json, colour: colour() }
    }

    /// Standard output is for the one thing that was asked for.
    pub(crate) fn beside() -> Self {
        Self { events_json: false, beside: true, colour: false }
    }

    /// Words go beside the events, not between them.
    fn write(&self, text: &str) -> Result<(), Failure> {
        if self.beside {
            let mut err = std::io::stderr().lock();
            err.write_all(text.as_bytes())?;
            Ok(err.flush()?)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            Ok(out.flush()?)
        }
    }

    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        // What is indented are details; what is not is what happened.
        let strong = self.colour && !text.is_empty() && !text.starts_with(' ');
        if strong {
            self.write(&format!("\u{1b}[1m{text}\u{1b}[0m\n"))
        } else {
            self.write(&format!("{text}\n"))
        }
    }

    pub(crate) fn ask(&mut self, text: &str) -> Result<(), Failure> {
        if self.colour { self.write(&format!("\u{1b}[36m{text}\u{1b}[0m")) } else { self.write(text) }
    }

    fn event(&self, update: &WalletUpdate) -> Result<(), Failure> {
        if self.events_json { print_json(update) } else { Ok(()) }
    }

    /// The shell's prompt begins on a line of its own.
    fn leave(&self) {
        let _ = self.write("\n");
    }
}
