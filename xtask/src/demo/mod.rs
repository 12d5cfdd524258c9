//! `cargo xtask demo`: the whole of it on this machine, with SQLite below `./data`.
//!
//! 1. Set-up, pages, programs.
//! 2. The gateway with its edge, in the background.
//! 3. The demo service, registered with the gateway once, and its API server behind the edge, in the background.
//! 4. A wallet with one identity, made once: its window and its icon in the tray where there is a display,
//!    and where there is none this terminal, on which it asks.
//!
//! Whichever ends first ends the rest.

mod links;
mod wallet;

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;

use self::links::Links;
pub(crate) use self::wallet::{Options as WalletOptions, run as wallet};
use self::wallet::{PASSPHRASE, Running, has_display, wallet_in};
use crate::process::{Foreground, Server};
use crate::setup::Purpose;
use crate::{pages, path, process, ready, say, setup};

const CLIENT_ID: &str = "demo-shop";
/// Of the gateway and of the demo service.
const DEFAULT_PORTS: (u16, u16) = (14000, 15000);
const HANDLE: &str = "alice";
/// What passes the edge; the addresses in it are those of the default ports.
const EDGE: &str = include_str!("edge.toml");
const DEFAULT_API_PORT: u16 = 15080;
/// So far from gateway and service are the ports of edge and API server, unless somebody says otherwise.
const APART: u16 = 80;

/// What `demo` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Port of the gateway, on loopback.
    #[arg(long, default_value_t = DEFAULT_PORTS.0)]
    gateway_port: u16,
    /// Port of the demo service, on loopback.
    #[arg(long, default_value_t = DEFAULT_PORTS.1)]
    service_port: u16,
    /// Port of the gateway's edge, on loopback; by default the gateway's and 80.
    #[arg(long)]
    edge_port: Option<u16>,
    /// Port of the demo's API server, on loopback; by default the demo service's and 80.
    #[arg(long)]
    api_port: Option<u16>,
    /// Do not open a browser, even where there is a display.
    #[arg(long)]
    no_browser: bool,
    /// The wallet on this terminal, even where there is a display.
    #[arg(long)]
    terminal: bool,
}

impl Options {
    fn edge_port(&self) -> u16 {
        self.edge_port.unwrap_or(self.gateway_port.saturating_add(APART))
    }

    fn api_port(&self) -> u16 {
        self.api_port.unwrap_or(self.service_port.saturating_add(APART))
    }

    /// Each with whose it is, and the flag that changes it.
    fn ports(&self) -> [(u16, &'static str, &'static str); 4] {
        [
            (self.gateway_port, "gateway", "--gateway-port"),
            (self.service_port, "demo service", "--service-port"),
            (self.edge_port(), "gateway's edge", "--edge-port"),
            (self.api_port(), "demo's API", "--api-port"),
        ]
    }
}

/// Runs it until the wallet is left or somebody presses Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ports = options.ports();
    for (i, (port, whose, _)) in ports.iter().enumerate() {
        if let Some((_, other, _)) = ports[..i].iter().find(|(earlier, ..)| earlier == port) {
            bail!("{other} and {whose} cannot share port {port}; choose two");
        }
    }
    let in_window = !options.terminal && has_display();
    if in_window {
        setup::run(&[Purpose::Build, Purpose::Pages, Purpose::Window])
            .context("the wallet's window cannot be built; without it: cargo xtask demo --terminal")?;
    } else {
        setup::run(&[Purpose::Build, Purpose::Pages])?;
    }
    // Before the build: nobody wants to wait minutes for this answer.
    for (port, whose, flag) in ports {
        ready::port_is_free(port, whose, flag)?;
    }
    pages::LOGIN.build()?;
    let mut build = process::command("cargo");
    build.args(["build", "-p", "miid-gateway", "-p", "miid-service", "-p", "miid-wallet"]);
    if in_window {
        pages::WINDOW.build()?;
        build.args(["-p", "miid-wallet-app"]);
    }
    say::step("Building gateway, service and wallet");
    process::run(&mut build)?;

    let demo = Demo::new(options, in_window)?;
    say::step("Starting the gateway");
    let mut gateway = demo.start_gateway()?;
    let secret = demo.register_service()?;
    demo.allow_step_ups()?;
    say::step("Starting the demo service");
    let mut api = demo.start_api(&secret)?;
    let mut service = demo.start_service(&secret)?;
    demo.make_wallet()?;
    // Before the browser, whose page may open it at once; the terminal is first used to explain.
    let window = if in_window { Some((demo.start_window()?, demo.take_links_over())) } else { None };
    demo.explain(in_window);
    if !options.no_browser {
        open_browser(&demo.service_url);
    }

    let (mut wallet, _links) = match window {
        Some((window, links)) => (Running::Window(window), links),
        None => (Running::Terminal(Foreground::start(demo.wallet().arg("run"))?), None),
    };
    while !wallet.ended()? {
        if let Err(error) = gateway.check().and_then(|()| api.check()).and_then(|()| service.check()) {
            drop(wallet);
            // The wallet on the terminal was asking something when it was ended; begin a new line.
            eprintln!();
            return Err(error);
        }
        if process::pause().is_err() {
            // Ctrl-C is how a demo ends, not how it fails.
            break;
        }
    }
    drop(wallet);
    service.stop();
    api.stop();
    gateway.stop();
    say::step(&format!("Stopped. The next demo goes on from what is in {}", demo.data.display()));
    Ok(())
}

/// Names and places of one demo. Paths are relative to the workspace's root, where every command runs.
struct Demo {
    data: PathBuf,
    gateway_port: u16,
    service_port: u16,
    edge_port: u16,
    api_port: u16,
    /// Where the wallet is on a terminal, perhaps of another machine, no link opens it: who signed in with a number
    /// approves with one.
    step_up: &'static str,
    gateway_url: String,
    service_url: String,
}

impl Demo {
    fn new(options: &Options, in_window: bool) -> Result<Self> {
        let Options { gateway_port, service_port, .. } = *options;
        let data = data_of(gateway_port, service_port);
        for name in ["gateway", "service", "wallet", "logs"] {
            let folder = path::root().join(&data).join(name);
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .with_context(|| format!("cannot make {}", process::shown(&folder)))?;
        }
        Ok(Self {
            data,
            gateway_port,
            service_port,
            edge_port: options.edge_port(),
            api_port: options.api_port(),
            step_up: if in_window { "linked" } else { "any" },
            gateway_url: format!("http://127.0.0.1:{gateway_port}"),
            service_url: format!("http://127.0.0.1:{service_port}"),
        })
    }

    fn start_gateway(&self) -> Result<Server> {
        let routes = self.write_routes()?;
        let mut command = self.gateway();
        command
            .arg("--config")
            .arg(routes)
            .arg("serve")
            .args(["--edge-listen", &format!("127.0.0.1:{}", self.edge_port)])
            .args(["--listen", &format!("127.0.0.1:{}", self.gateway_port)])
            .args(["--issuer", &self.gateway_url])
            .args(self.gateway_store());
        let mut server = Server::start("the gateway", &mut command, &self.log("gateway"), Signal::SIGTERM)?;
        ready::wait(&mut server, "the gateway", self.gateway_port).map_err(|e| self.or_afresh(e))?;
        Ok(server)
    }

    /// What passes the edge, as a file to look at and to play with.
    fn write_routes(&self) -> Result<PathBuf> {
        let file = self.data.join("gateway/edge.toml");
        let api = format!("127.0.0.1:{}", self.api_port);
        let text = EDGE.replace(&format!("127.0.0.1:{DEFAULT_API_PORT}"), &api);
        std::fs::write(path::root().join(&file), text)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Registers the demo service unless it is, and gives the file with its secret.
    fn register_service(&self) -> Result<PathBuf> {
        let secret_file = self.data.join("service/client-secret");
        let known =
            process::capture(self.gateway().args(["service", "list", "--json"]).args(self.gateway_store()))?;
        let known: serde_json::Value =
            serde_json::from_str(&known).context("`miid-gateway service list --json` did not print JSON")?;
        let is_known = names(&known, CLIENT_ID);
        if is_known && path::root().join(&secret_file).exists() {
            return Ok(secret_file);
        }
        let mut command = self.gateway();
        if is_known {
            say::step("Giving the demo service a new secret: its file is gone");
            command.args(["service", "rotate-secret", CLIENT_ID]);
        } else {
            say::step("Registering the demo service");
            let return_url = format!("{}/auth/return", self.service_url);
            command.args(["service", "add", CLIENT_ID, "--name", "Demo Shop", "--return-url", &return_url]);
        }
        let answer = process::capture(command.arg("--json").args(self.gateway_store()))?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer).context("the gateway's answer is not JSON")?;
        let secret = answer["client_secret"].as_str().context("the gateway's answer has no client_secret")?;
        write_secret(&path::root().join(&secret_file), secret)?;
        Ok(secret_file)
    }

    /// The demo may have run another way before.
    fn allow_step_ups(&self) -> Result<()> {
        let words = ["service", "update", CLIENT_ID, "--step-up", self.step_up];
        process::capture(self.gateway().args(words).args(self.gateway_store())).map(|_| ())
    }

    fn start_api(&self, secret_file: &Path) -> Result<Server> {
        let mut command = process::command(program("miid-service"));
        command
            .arg("demo-api")
            .args(["--listen", &format!("127.0.0.1:{}", self.api_port)])
            .args(["--gateway-url", &self.gateway_url])
            .args(["--client-id", CLIENT_ID])
            .arg("--client-secret-file")
            .arg(secret_file);
        let mut server = Server::start("the demo's API", &mut command, &self.log("api"), Signal::SIGTERM)?;
        ready::wait(&mut server, "the demo's API", self.api_port)?;
        Ok(server)
    }

    fn start_service(&self, secret_file: &Path) -> Result<Server> {
        let mut command = process::command(program("miid-service"));
        command
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", self.service_port)])
            .args(["--gateway-url", &self.gateway_url])
            .args(["--client-id", CLIENT_ID])
            .arg("--client-secret-file")
            .arg(secret_file)
            .args(["--data-dir", &format!("{}/service", self.data.display())])
            .args(["--database-url", &format!("sqlite://{}/service/service.db", self.data.display())])
            .args(["--public-url", &self.service_url])
            .args(["--step-up", self.step_up])
            .args(["--edge-url", &format!("http://127.0.0.1:{}", self.edge_port)])
            .args(["--pages-dir", "frontend/dist"]);
        let mut server =
            Server::start("the demo service", &mut command, &self.log("service"), Signal::SIGTERM)?;
        ready::wait(&mut server, "the demo service", self.service_port).map_err(|e| self.or_afresh(e))?;
        Ok(server)
    }

    /// Makes the wallet's identity, its handle and its profile, once.
    fn make_wallet(&self) -> Result<()> {
        // Beside the gateway's data: when that goes, the handle has to be claimed anew.
        let stamp = path::root().join(&self.data).join("gateway/.demo-wallet");
        let did = process::capture(self.wallet().arg("did")).unwrap_or_default();
        if !did.trim().is_empty() && std::fs::read_to_string(&stamp).is_ok_and(|known| known == did) {
            return Ok(());
        }
        say::step("Making a wallet for Alice");
        if did.trim().is_empty() {
            process::capture(self.wallet().args([
                "init",
                "--name",
                "Alice",
                "--gateway",
                &self.gateway_url,
            ]))?;
        }
        process::capture(self.wallet().args(["handle", HANDLE])).with_context(|| {
            format!(
                "the wallet cannot have the handle {HANDLE}; to start afresh remove {}",
                self.data.display()
            )
        })?;
        process::capture(self.wallet().args([
            "profile",
            "set",
            "name=Alice Kim",
            "email=alice@example.com",
        ]))?;
        let did = process::capture(self.wallet().arg("did"))?;
        std::fs::write(&stamp, did).with_context(|| format!("cannot write {}", process::shown(&stamp)))
    }

    /// Starts the tray app, which says what it has to say in its window.
    fn start_window(&self) -> Result<Server> {
        let mut command = process::command(program("miid-wallet-app"));
        command.arg("--dir").arg(self.wallet_folder());
        Server::start("the wallet", &mut command, &self.log("wallet"), Signal::SIGTERM)
    }

    /// Without them the page's other way, by handle, still works.
    fn take_links_over(&self) -> Option<Links> {
        let links = Links::take_over(&program("miid-wallet-app"), &self.wallet_folder());
        links.unwrap_or_else(|error| {
            say::loud(&format!("links of this page do not open the wallet: {error:#}"));
            None
        })
    }

    fn wallet_folder(&self) -> PathBuf {
        path::root().join(&self.data).join("wallet")
    }

    fn explain(&self, in_window: bool) {
        eprintln!();
        eprintln!("  1. Open {} in your browser.", say::strong(&self.service_url));
        if in_window {
            eprintln!("  2. Choose {}; the wallet asks.", say::strong("Open in wallet"));
            eprintln!("     Or sign in with the handle {}, and type the number there.", say::strong(HANDLE));
            eprintln!("  3. The wallet stays in your tray. If it is locked: {}", say::strong(PASSPHRASE));
            eprintln!("     Quit it there, or press Ctrl-C here, to stop it all.");
        } else {
            eprintln!("  2. Sign in there with the handle {}; the page shows a number.", say::strong(HANDLE));
            eprintln!("  3. Come back here: type the number, choose what to share. Ctrl-C stops it all.");
        }
        eprintln!();
        let ports = match (self.gateway_port, self.service_port) {
            DEFAULT_PORTS => String::new(),
            (gateway, service) => format!("--gateway-port {gateway} --service-port {service} "),
        };
        eprintln!("  Afterwards, in another terminal: cargo xtask wallet {ports}revoke --all");
        eprintln!("  It ends the session, and the page says so.");
        eprintln!();
    }

    /// What an earlier demo left, perhaps of another version, may be what stands in the way.
    fn or_afresh(&self, error: anyhow::Error) -> anyhow::Error {
        if process::stop_asked().is_some() {
            return error;
        }
        anyhow!("{error:#}\n  to start the demo afresh, remove its data: rm -r {}", self.data.display())
    }

    fn gateway(&self) -> Command {
        process::command(program("miid-gateway"))
    }

    fn gateway_store(&self) -> [String; 4] {
        let folder = format!("{}/gateway", self.data.display());
        ["--database-url".into(), format!("sqlite://{folder}/gateway.db"), "--data-dir".into(), folder]
    }

    fn wallet(&self) -> Command {
        wallet_in(&self.data)
    }

    fn log(&self, name: &str) -> PathBuf {
        path::root().join(&self.data).join("logs").join(format!("{name}.log"))
    }
}

/// The gateway's name and the service's return URL carry the ports, and wallets and registrations carry
/// those: other ports, other data.
fn data_of(gateway_port: u16, service_port: u16) -> PathBuf {
    match (gateway_port, service_port) {
        DEFAULT_PORTS => PathBuf::from("data"),
        _ => PathBuf::from(format!("data/ports-{gateway_port}-{service_port}")),
    }
}

fn program(name: &str) -> PathBuf {
    path::target().join("debug").join(name)
}

/// Whether `wanted` is one of the texts in `value`, wherever it is.
fn names(value: &serde_json::Value, wanted: &str) -> bool {
    match value {
        serde_json::Value::String(text) => text == wanted,
        serde_json::Value::Array(items) => items.iter().any(|item| names(item, wanted)),
        serde_json::Value::Object(members) => members.values().any(|member| names(member, wanted)),
        _ => false,
    }
}

fn write_secret(file: &Path, secret: &str) -> Result<()> {
    // Removed first: the mode counts only for a file that is made.
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file),
    }
    .and_then(|mut file| file.write_all(secret.as_bytes()))
    .with_context(|| format!("cannot write {}", process::shown(file)))
}

/// Opens the page where somebody would see it; no browser is no failure, the address is on the screen.
fn open_browser(url: &str) {
    let opener = match () {
        () if cfg!(target_os = "macos") => path::program(&["open"]),
        () if has_display() => path::program(&["xdg-open"]),
        () => None,
    };
    if let Some(opener) = opener
        && let Err(error) = process::leave(opener, url)
    {
        say::loud(&format!("{error:#}"));
    }
}
