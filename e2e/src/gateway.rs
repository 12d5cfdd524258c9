//! A gateway that runs.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use miid_protocol::{Issuer, paths};
use reqwest::Method;

use crate::answer::Answer;
use crate::database::Database;
use crate::port::Port;
use crate::program::{self, Program, Ran};
use crate::wait::eventually;
use crate::world::World;
use crate::{Service, sse};

/// Where a gateway is: the name it has, and the address of one instance.
#[derive(Debug, Clone)]
pub struct Address {
    /// What proofs and tokens are about.
    pub issuer: Issuer,
    /// Where this instance listens, as an origin.
    pub origin: String,
}

/// One running instance.
#[derive(Debug)]
pub struct Gateway {
    world: World,
    name: String,
    at: Address,
    port: Arc<Port>,
    /// Its database, which other instances may share.
    pub database: Database,
    /// Its data dir.
    pub data_dir: PathBuf,
    flags: Vec<String>,
    program: Program,
}

impl Deref for Gateway {
    type Target = Address;
    fn deref(&self) -> &Address {
        &self.at
    }
}

impl Gateway {
    /// Starts one on `database` with its own data dir, and waits until it is ready.
    pub(crate) async fn start(world: &World, database: Database, flags: &[&str]) -> Self {
        Self::start_as(world, "gateway", database, flags).await
    }

    /// The same with a name of its own, beside which others have theirs.
    pub(crate) async fn start_as(world: &World, name: &str, database: Database, flags: &[&str]) -> Self {
        let port = Arc::new(Port::take());
        let issuer = Issuer::parse(&port.origin()).expect("an origin on loopback is an issuer");
        let data_dir = world.folder().join(format!("{name}-data"));
        let flags = flags.iter().map(ToString::to_string).collect();
        Self::launch(world, name, issuer, port, database, data_dir, flags).await
    }

    /// Starts a second instance of the same gateway: the same name, database and keys.
    pub async fn another(&self, name: &str) -> Self {
        let (world, database) = (&self.world, self.database.clone());
        let port = Arc::new(Port::take());
        let (issuer, data_dir) = (self.at.issuer.clone(), self.data_dir.clone());
        Self::launch(world, name, issuer, port, database, data_dir, self.flags.clone()).await
    }

    /// The same with flags of its own, where instances must differ.
    pub async fn another_with(&self, name: &str, flags: &[&str]) -> Self {
        let (world, database) = (&self.world, self.database.clone());
        let (issuer, data_dir) = (self.at.issuer.clone(), self.data_dir.clone());
        let flags = flags.iter().map(ToString::to_string).collect();
        Self::launch(world, name, issuer, Arc::new(Port::take()), database, data_dir, flags).await
    }

    /// The same, which reaches the database in a way of its own.
    pub async fn another_on(&self, name: &str, database: Database, flags: &[&str]) -> Self {
        let (issuer, data_dir) = (self.at.issuer.clone(), self.data_dir.clone());
        let flags = flags.iter().map(ToString::to_string).collect();
        Self::launch(&self.world, name, issuer, Arc::new(Port::take()), database, data_dir, flags).await
    }

    /// The same, as on another machine: a data dir of its own, and the keys from a file.
    pub async fn another_elsewhere(&self, name: &str) -> Self {
        let world = &self.world;
        let keys = self.data_dir.join("gateway.keys");
        let mut flags = self.flags.clone();
        flags.extend(["--keys-file".to_owned(), keys.to_str().expect("a path of ours is text").to_owned()]);
        let data_dir = world.folder().join(format!("{name}-data"));
        let (issuer, database) = (self.at.issuer.clone(), self.database.clone());
        Self::launch(world, name, issuer, Arc::new(Port::take()), database, data_dir, flags).await
    }

    async fn launch(
        world: &World,
        name: &str,
        issuer: Issuer,
        port: Arc<Port>,
        database: Database,
        data_dir: PathBuf,
        flags: Vec<String>,
    ) -> Self {
        let at = Address { issuer, origin: port.origin() };
        let command = serve(&at, &port, &database, &data_dir, &flags);
        let program = Program::start(command, &world.logs(), name);
        let mut gateway = Self {
            world: world.clone(),
            name: name.to_owned(),
            at,
            port,
            database,
            data_dir,
            flags,
            program,
        };
        gateway.wait_until_ready().await;
        gateway
    }

    /// Starts the same instance again on its port, after [`Self::kill`] or [`Self::stop`].
    pub async fn restart(&mut self) {
        self.launch_again();
        self.wait_until_ready().await;
    }

    fn launch_again(&mut self) {
        assert!(!self.program.is_running(), "a gateway is ended before it is started again");
        let command = serve(&self.at, &self.port, &self.database, &self.data_dir, &self.flags);
        self.program = Program::start(command, &self.world.logs(), &self.name);
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGKILL, and up again.
    pub async fn crash(&mut self) {
        self.kill();
        self.restart().await;
    }

    /// Ends it with SIGTERM; fails where it does not end well.
    pub async fn stop(&mut self) {
        let status = self.program.stop().await;
        assert!(status.success(), "a gateway that is asked to stop ends well, not with {status}");
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    async fn wait_until_ready(&mut self) {
        match self.program.line("listening on ").await {
            Ok(origin) => assert_eq!(origin.trim(), self.at.origin),
            Err(status) => panic!("the gateway ended: {status}\n{}", self.program.errors()),
        }
        let (world, at) = (&self.world, &self.at);
        eventually("the gateway is ready", || async {
            let answer = world.try_get(at, paths::READYZ).await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Registers a service; `flags` as `--session-policy multiple`.
    pub async fn add_service(&self, client_id: &str, flags: &[&str]) -> Service {
        let mut words = vec!["service", "add", client_id, "--name", "Demo Shop", "--json"];
        words.extend(["--return-url", crate::service::RETURN_URL]);
        words.extend(flags);
        let output = self.run(&words).await.ok();
        let answer: serde_json::Value = serde_json::from_str(&output).expect("--json prints JSON");
        assert_eq!(answer["client_id"], client_id);
        let secret = answer["client_secret"].as_str().expect("a client_secret");
        self.world.secrets().add(secret);
        Service::new(&self.world, client_id, secret)
    }

    /// Runs a command of the gateway's program on this database.
    pub async fn run(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(program::bin("miid-gateway"));
        command.args(words).args(["--database-url", self.database.url()]);
        command.arg("--data-dir").arg(&self.data_dir);
        program::capture(clean(command)).await
    }
}

/// `serve` for one instance.
fn serve(
    at: &Address,
    port: &Port,
    database: &Database,
    data_dir: &std::path::Path,
    flags: &[String],
) -> Command {
    let mut command = program::command(program::bin("miid-gateway"), "KILL");
    command.args(["serve", "--listen", &port.address(), "--issuer", at.issuer.as_str()]);
    command.args(["--database-url", database.url()]).arg("--data-dir").arg(data_dir).args(flags);
    clean(command)
}

/// Without what this process's environment may say to the programs.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("MIID_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
    }
    command
}

impl World {
    /// `GET` without credentials; `None` when nobody answers.
    pub async fn try_get(&self, at: &Address, path: &str) -> Option<Answer> {
        let response = self.http().get(format!("{}{path}", at.origin)).send().await.ok()?;
        Answer::read(response, self.secrets()).await.ok()
    }

    /// `GET` without credentials.
    pub async fn get(&self, at: &Address, path: &str) -> Answer {
        self.try_get(at, path).await.expect("the gateway answers")
    }

    /// Any request; `build` adds what the scenario wants.
    pub async fn send(
        &self,
        at: &Address,
        method: Method,
        path: &str,
        build: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let request = self.http().request(method, format!("{}{path}", at.origin));
        let response = build(request).send().await.expect("the gateway answers");
        Answer::read(response, self.secrets()).await.expect("the answer is whole")
    }

    /// Opens an event stream.
    pub(crate) async fn open(&self, request: reqwest::RequestBuilder) -> sse::Stream {
        let response = request.send().await.expect("the server answers");
        sse::Stream::open(response, self.secrets()).await
    }
}
