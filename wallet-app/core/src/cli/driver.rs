//! `run --approve-with stdin`, for tests only: standard input decides, one JSON object per line, and nobody is
//! asked.
//!
//! ```text
//! {"decision":"approve","challenge_id":"…","match_code":"47","share":["name"],"scopes":["profile"]}
//! {"decision":"deny","challenge_id":"…","reason":"declined" | "not_me"}
//! {"decision":"cancel","challenge_id":"…"}
//! {"decision":"revoke","session_id":"…"}
//! {"decision":"claim","link":"miid://…"}
//! {"decision":"one_click","link":"miid://…"}
//! ```
//!
//! Each is answered by `{"event":"result","decision":…,"ok":true,"status":…}` or `{…,"ok":false,"code":…,
//! "message":…}`; a yes to a linked request has `return_to` in its answer, which nobody opens here. An `id` in the command comes back in its answer. Commands run side by side. With
//! `--events-json` every update of the wallet is a line, too; without it those are left out.

use miid_protocol::link::WalletLink;
use miid_protocol::service::{ChallengeStatus, DenyReason};
use miid_protocol::wallet::DecisionOutcome;
use miid_protocol::{ChallengeId, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::RunArgs;
use super::failure::Failure;
use super::run::{Ended, end, finish, lines, print_json};
use crate::policy::Approval;
use crate::update::WalletUpdate;
use crate::wallet::{DecisionError, OneClick, Wallet};

#[derive(Debug, Deserialize)]
struct Command {
    #[serde(default)]
    id: Option<Value>,
    #[serde(flatten)]
    decision: Decision,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
enum Decision {
    Approve {
        challenge_id: ChallengeId,
        #[serde(flatten)]
        approval: Approval,
    },
    Deny {
        challenge_id: ChallengeId,
        #[serde(default = "declined")]
        reason: DenyReason,
    },
    Cancel {
        challenge_id: ChallengeId,
    },
    Revoke {
        session_id: SessionId,
    },
    Claim {
        link: String,
    },
    OneClick {
        link: String,
    },
}

fn declined() -> DenyReason {
    DenyReason::Declined
}

/// Runs until a signal, or with `--once` until one request is settled.
pub(crate) async fn run(wallet: &Wallet, args: &RunArgs) -> Result<Ended, Failure> {
    let mut under_way = JoinSet::new();
    let ended = obey_all(wallet, args, &mut under_way).await;
    finish(under_way).await;
    ended
}

async fn obey_all(wallet: &Wallet, args: &RunArgs, under_way: &mut JoinSet<()>) -> Result<Ended, Failure> {
    let mut updates = wallet.subscribe();
    wallet.follow();
    let mut commands = lines();
    let mut input_open = true;
    let (sender, mut answers) = mpsc::unbounded_channel();
    let end = end();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(Ended::Well),
            update = updates.next() => {
                let Some(update) = update else { return Ok(Ended::Well) };
                if args.events_json {
                    print_json(&update)?;
                }
                match update {
                    WalletUpdate::Stopped { reason } => return Err(Failure::new(reason).code(5)),
                    WalletUpdate::Active { .. } | WalletUpdate::Confirmed { .. } if args.once => return Ok(Ended::Well),
                    WalletUpdate::Denied { .. } | WalletUpdate::Expired { .. } if args.once => {
                        return Ok(Ended::NotSignedIn);
                    }
                    _ => {}
                }
            }
            line = commands.recv(), if input_open => match line {
                None => input_open = false,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => {
                    let (wallet, sender) = (wallet.clone(), sender.clone());
                    while under_way.try_join_next().is_some() {}
                    under_way.spawn(async move {
                        let _ = sender.send(obey(&wallet, &line).await);
                    });
                }
            },
            Some(answer) = answers.recv() => print_json(&answer)?,
        }
    }
}

async fn obey(wallet: &Wallet, line: &str) -> Value {
    let Command { id, decision } = match serde_json::from_str(line) {
        Ok(command) => command,
        Err(error) => return bad_command(&error.to_string()),
    };
    let (name, about, done) = match decision {
        Decision::Approve { challenge_id, approval } => {
            let done = wallet.approve(challenge_id, &approval).await;
            ("approve", json!({"challenge_id": challenge_id}), done.map(Done::from))
        }
        Decision::Deny { challenge_id, reason } => {
            let done = wallet.deny(challenge_id, reason).await;
            ("deny", json!({"challenge_id": challenge_id}), done.map(Done::from))
        }
        Decision::Cancel { challenge_id } => {
            let done = wallet.cancel(challenge_id).await;
            ("cancel", json!({"challenge_id": challenge_id}), done.map(Done::from))
        }
        Decision::Revoke { session_id } => {
            let done = wallet.revoke(session_id).await;
            ("revoke", json!({"session_id": session_id}), done.map(|outcome| Done(outcome.status, None)))
        }
        Decision::Claim { link } => match WalletLink::parse(&link) {
            Ok(link) => {
                let done = wallet.claim(&link).await.map(|_| Done(ChallengeStatus::Pending, None));
                ("claim", json!({"challenge_id": link.challenge_id}), done)
            }
            Err(error) => return bad_command(&error.to_string()),
        },
        Decision::OneClick { link } => match WalletLink::parse(&link) {
            Ok(link) => {
                let done = wallet.one_click(&link).await.map(|done| match done {
                    OneClick::Approved(outcome) => outcome.into(),
                    OneClick::Ask(_) => Done(ChallengeStatus::Pending, None),
                });
                ("one_click", json!({"challenge_id": link.challenge_id}), done)
            }
            Err(error) => return bad_command(&error.to_string()),
        },
    };
    answer(id, name, about, done)
}

/// Where it stands now, and where a browser goes back to.
struct Done(ChallengeStatus, Option<String>);

impl From<DecisionOutcome> for Done {
    fn from(outcome: DecisionOutcome) -> Self {
        Self(outcome.status, outcome.return_to)
    }
}

fn bad_command(message: &str) -> Value {
    json!({"event": "result", "ok": false, "code": "bad_command", "message": message})
}

fn answer(id: Option<Value>, name: &str, about: Value, done: Result<Done, DecisionError>) -> Value {
    let mut answer = about;
    answer["event"] = json!("result");
    answer["decision"] = json!(name);
    if let Some(id) = id {
        answer["id"] = id;
    }
    match done {
        Ok(Done(status, return_to)) => {
            answer["ok"] = json!(true);
            answer["status"] = json!(status);
            if let Some(address) = return_to {
                answer["return_to"] = json!(address);
            }
        }
        Err(error) => {
            answer["ok"] = json!(false);
            answer["code"] = json!(error.code());
            answer["message"] = json!(error.to_string());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::id;

    #[test]
    fn commands_are_read() {
        let line = format!(
            r#"{{"id":7,"decision":"approve","challenge_id":"{}","match_code":"47","share":["name"]}}"#,
            id(1)
        );
        let command: Command = serde_json::from_str(&line).expect("command");
        assert_eq!(command.id, Some(json!(7)));
        let Decision::Approve { challenge_id, approval } = command.decision else {
            panic!("not an approval")
        };
        assert_eq!((challenge_id, approval.match_code.as_deref()), (id(1), Some("47")));
        assert_eq!(approval.share, ["name".to_owned()].into());
        assert!(serde_json::from_str::<Command>(r#"{"decision":"shrug"}"#).is_err());
    }
}
