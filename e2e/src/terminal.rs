//! The real wallet, without a window: `miid-wallet`, driven by lines of JSON.

use std::path::PathBuf;
use std::process::Command;

use miid_protocol::{ChallengeId, Did};
use serde_json::{Value, json};

use crate::gateway::{Address, clean};
use crate::program::{self, Program, Ran};
use crate::wait::eventually;
use crate::world::World;

/// Seals the test's vault, which no desktop's keychain must be asked for.
const PASSPHRASE: &str = "a passphrase for one scenario";

/// A wallet's folder, and the program while it runs.
#[derive(Debug)]
pub struct Terminal {
    world: World,
    folder: PathBuf,
    name: String,
    running: Option<Program>,
}

impl Terminal {
    /// Makes an identity that is enrolled with this gateway.
    pub async fn init(world: &World, at: &Address, name: &str) -> Self {
        let terminal = Self::elsewhere(world, name);
        terminal.run(&["init", "--name", name, "--gateway", at.issuer.as_str()]).await.ok();
        terminal
    }

    /// Another computer: a folder in which there is no wallet yet.
    pub fn elsewhere(world: &World, name: &str) -> Self {
        let folder = world.folder().join(format!("wallet-{}", name.to_lowercase()));
        Self { world: world.clone(), folder, name: name.to_owned(), running: None }
    }

    /// Runs a command of the wallet that ends by itself.
    pub async fn run(&self, words: &[&str]) -> Ran {
        program::capture(self.command(words)).await
    }

    /// A command of the wallet, to be run as the caller likes.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program::bin("miid-wallet"));
        self.dress(&mut command);
        command.args(words);
        command
    }

    fn dress(&self, command: &mut Command) {
        let plain = std::mem::replace(command, Command::new("true"));
        *command = clean(plain);
        command.arg("--dir").arg(&self.folder).env("MIID_WALLET_PASSPHRASE", PASSPHRASE);
        // Its words are compared; a developer may read another language.
        command.env("LC_ALL", "C.UTF-8");
        // Without a session bus there is no keychain, and nobody's own is touched.
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
    }

    /// Its name.
    pub async fn did(&self) -> Did {
        let output = self.run(&["did"]).await.ok();
        Did::parse(output.trim()).expect("`did` prints a DID and nothing else")
    }

    /// Begins to listen, and waits until the gateway's stream is open.
    pub async fn listen(&mut self) {
        let mut command = program::command(program::bin("miid-wallet"), "KILL");
        self.dress(&mut command);
        command.args(["run", "--approve-with", "stdin", "--events-json"]);
        let log = format!("wallet-{}", self.name.to_lowercase());
        self.running = Some(Program::start(command, &self.world.logs(), &log));
        self.event("connected", |_| true).await;
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        self.running.as_mut().expect("a wallet that listens")
    }

    /// Waits for an event that the wallet reported in this run; one that was reported before counts.
    pub async fn event(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let program = self.running.as_mut().expect("a wallet that listens");
        eventually(&format!("the wallet reports {name}"), || {
            assert!(program.is_running(), "the wallet ended:\n{}{}", program.output(), program.errors());
            let output = program.output();
            let complete = output.rfind('\n').map_or("", |end| &output[..end]);
            let found = complete
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|event| event["event"] == name && is_it(event));
            std::future::ready(found)
        })
        .await
    }

    /// Waits until the wallet has shown this request to its person.
    pub async fn is_asked(&mut self, id: ChallengeId) -> Value {
        let id = id.to_string();
        self.event("challenge_created", |event| event["challenge_id"] == id.as_str()).await
    }

    /// Tells it to approve.
    pub fn approve(&mut self, id: ChallengeId, number: &str, share: &[&str]) {
        let line = json!({"challenge_id": id, "decision": "approve", "match_code": number, "share": share});
        self.program().tell(&line.to_string());
    }

    /// Tells it to deny.
    pub fn deny(&mut self, id: ChallengeId) {
        self.program().tell(&json!({"challenge_id": id, "decision": "deny"}).to_string());
    }
}
