//! `run`: connects and asks on the terminal. The conversation itself is in [`dialogue`](super::dialogue); here
//! it meets the wallet, standard input, the signals and the screen.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use tokio::sync::mpsc;

use super::dialogue::{Dialogue, Effect};
use super::failure::Failure;
use super::words::Words;
use super::{RunArgs, driver};
use crate::cli::open::Opened;
use crate::update::WalletUpdate;
use crate::wallet::{DecisionError, Wallet};
use miid_protocol::ChallengeId;
use miid_protocol::wallet::DecisionOutcome;

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
        talk(&wallet, opened, args, words).await
    };
    wallet.stop().await;
    ended
}

async fn talk(wallet: &Wallet, opened: &Opened, args: &RunArgs, words: Words) -> Result<Ended, Failure> {
    let mut updates = wallet.subscribe();
    wallet.follow();
    let mut lines = lines();
    let mut input_open = true;
    let mut dialogue = Dialogue::new(words, &opened.outline.name);
    let mut screen = Screen { events_json: args.events_json, colour: colour() };
    let (results, mut settled) = mpsc::unbounded_channel();
    let end = end();
    tokio::pin!(end);
    loop {
        let effects = tokio::select! {
            () = &mut end => {
                screen.leave();
                return Ok(Ended::Well);
            }
            update = updates.next() => {
                let Some(update) = update else { return Ok(Ended::Well) };
                screen.event(&update)?;
                if let WalletUpdate::Stopped { reason } = &update {
                    return Err(Failure::new(words.stopped(reason)).code(5));
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
        for effect in effects {
            match effect {
                Effect::Say(text) => screen.say(&text)?,
                Effect::Ask(text) => screen.ask(&text)?,
                Effect::Settled(well) if args.once => {
                    return Ok(if well { Ended::Well } else { Ended::NotSignedIn });
                }
                Effect::Settled(_) => {}
                effect => carry_out(wallet, effect, &results),
            }
        }
    }
}

enum Settled {
    Proposal(ChallengeId, Option<crate::policy::Proposal>),
    Decision(ChallengeId, Box<Result<DecisionOutcome, DecisionError>>),
}

/// Hands an effect to the wallet; its result comes back as [`Settled`].
fn carry_out(wallet: &Wallet, effect: Effect, results: &mpsc::UnboundedSender<Settled>) {
    let (wallet, results) = (wallet.clone(), results.clone());
    tokio::spawn(async move {
        let settled = match effect {
            Effect::Propose(id) => Settled::Proposal(id, wallet.proposal(id).await.ok()),
            Effect::Approve(id, approval) => {
                Settled::Decision(id, Box::new(wallet.approve(id, &approval).await))
            }
            Effect::Deny(id, reason) => Settled::Decision(id, Box::new(wallet.deny(id, reason).await)),
            Effect::Cancel(id) => Settled::Decision(id, Box::new(wallet.cancel(id).await)),
            Effect::Say(_) | Effect::Ask(_) | Effect::Settled(_) => return,
        };
        // Nobody waits any more when the run has ended.
        let _ = results.send(settled);
    });
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

struct Screen {
    events_json: bool,
    colour: bool,
}

impl Screen {
    /// Words go beside the events, not between them.
    fn write(&self, text: &str) -> Result<(), Failure> {
        if self.events_json {
            let mut err = std::io::stderr().lock();
            err.write_all(text.as_bytes())?;
            Ok(err.flush()?)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            Ok(out.flush()?)
        }
    }

    fn say(&mut self, text: &str) -> Result<(), Failure> {
        // What is indented are details; what is not is what happened.
        let strong = self.colour && !text.is_empty() && !text.starts_with(' ');
        if strong {
            self.write(&format!("\u{1b}[1m{text}\u{1b}[0m\n"))
        } else {
            self.write(&format!("{text}\n"))
        }
    }

    fn ask(&mut self, text: &str) -> Result<(), Failure> {
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
