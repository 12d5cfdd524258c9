//! The wallet as a person has it: the program with its tray icon and its window.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::Signal;
use serde_json::json;

use super::processes::Process;
use super::window::Window;
use super::{Desktop, Home};
use crate::port::Port;
use crate::program::{self, Program, Ran};
use crate::wait::eventually;

/// The program under test.
const PROGRAM: &str = "miid-wallet-app";
/// What its window is called, in the scenarios' language.
const TITLE: &str = "MiID";

/// One running wallet. Its window's methods are its own.
#[derive(Debug)]
pub struct DesktopWallet<'a> {
    desktop: &'a Desktop,
    window: Window,
    started: Instant,
    driver: Program,
    _port: Port,
}

impl Drop for DesktopWallet<'_> {
    /// What stood on the screen when a scenario failed says more than its last line.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = picture(&format!("failed-{}", self.desktop.name));
            self.desktop.screen.picture_now(&file);
            eprintln!("--- what was on the screen: {}", file.display());
        }
    }
}

impl std::ops::Deref for DesktopWallet<'_> {
    type Target = Window;
    fn deref(&self) -> &Window {
        &self.window
    }
}

impl Desktop {
    /// Starts the wallet, and waits until its window knows what to show.
    ///
    /// # Panics
    /// When WebKit's WebDriver is not installed: a scenario is not skipped in silence.
    pub async fn start_wallet(&self) -> DesktopWallet<'_> {
        self.start_wallet_with(&[]).await
    }

    /// The same, with these words on its command line.
    pub async fn start_wallet_with(&self, words: &[&str]) -> DesktopWallet<'_> {
        DesktopWallet::start(self, program::bin(PROGRAM), words).await
    }

    /// The same, of a program that is somewhere else than where it was built.
    pub async fn start_installed(&self, program: PathBuf) -> DesktopWallet<'_> {
        DesktopWallet::start(self, program, &[]).await
    }

    /// Starts the program as the desktop does for a link or an icon that was clicked, and waits until it has
    /// ended: it hands its words to the wallet that runs.
    pub async fn click_link(&self, link: &str) -> Ran {
        self.world.secrets().add_all_in(link);
        let mut command = self.command(program::bin(PROGRAM));
        command.arg(link);
        program::capture(command).await
    }

    /// The same without a link: the icon in the desktop's menu.
    pub async fn click_icon(&self) -> Ran {
        program::capture(self.command(program::bin(PROGRAM))).await
    }

    /// Whether the wallet's window is on the screen, waited for.
    pub async fn window_is_shown(&self, wanted: bool) {
        let what = if wanted { "the window is on the screen" } else { "the window is gone from the screen" };
        eventually(what, || async {
            let titles = self.screen.windows().await;
            (titles.iter().any(|title| title.contains(TITLE)) == wanted).then_some(())
        })
        .await;
    }

    /// Closes the window by the button in its title bar: the window manager asks the program to close it. (Not by
    /// a key, which reaches whoever holds the keyboard at that moment.)
    pub async fn close_window(&self) {
        self.window_is_shown(true).await;
        self.screen.close(TITLE).await;
        self.window_is_shown(false).await;
    }

    /// Runs the command line beside the window, on the same folder.
    pub async fn command_line(&self, words: &[&str], passphrase: &str) -> Ran {
        let mut command = Command::new(program::bin("miid-wallet"));
        self.dress(&mut command);
        command.args(words).env("MIID_WALLET_PASSPHRASE", passphrase);
        // Without a session bus there is no keychain to ask.
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        program::capture(command).await
    }

    /// Starts the program without a driver: nobody looks into its window.
    pub fn launch(&self, program: &std::path::Path, words: &[&str]) -> Program {
        let mut command = self.command(program);
        command.args(words);
        Program::start(command, &self.world.logs(), &format!("{}-launched", self.name))
    }

    /// The memory of all the wallet's processes in KiB, what they share with others counted in part.
    pub fn wallet_memory_kib(&self) -> u64 {
        self.wallet_processes().iter().map(Process::memory_kib).sum()
    }

    /// What of the wallet runs now: its own process and those that draw its pages.
    fn wallet_processes(&self) -> Vec<Process> {
        Process::of(self.home.folder())
            .into_iter()
            .filter(|process| process.name == PROGRAM || process.name.starts_with("WebKit"))
            .filter(|process| process.name != "WebKitWebDriver")
            .collect()
    }

    /// Waits until nothing of the wallet runs.
    pub async fn nothing_is_left(&self) {
        eventually("nothing of the wallet runs any more", || {
            std::future::ready(self.wallet_processes().is_empty().then_some(()))
        })
        .await;
    }
}

impl<'a> DesktopWallet<'a> {
    async fn start(desktop: &'a Desktop, program: PathBuf, words: &[&str]) -> Self {
        let port = Port::take();
        let mut command = desktop.command("WebKitWebDriver");
        command
            .arg(format!("--port={}", port.number()))
            .arg("--host=127.0.0.1")
            .env("TAURI_AUTOMATION", "true")
            .env("TAURI_WEBVIEW_AUTOMATION", "true");
        // The wallet writes where its driver does.
        let log = format!("{}-wallet", desktop.name);
        let driver = Program::start(command, &desktop.world.logs(), &log);
        let (http, ready) = (desktop.world.http(), format!("{}/status", port.origin()));
        eventually("WebKit's WebDriver is ready", || async {
            http.get(&ready).send().await.ok().filter(|answer| answer.status() == 200)
        })
        .await;

        let options = json!({"binary": program, "args": words});
        let capabilities = [("webkitgtk:browserOptions".to_owned(), options)].into_iter().collect();
        let started = Instant::now();
        let client = tokio::time::timeout(
            Duration::from_secs(60),
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&port.origin()),
        )
        .await
        .expect("the wallet's window opens within a minute")
        .expect("the wallet's window opens");
        let wallet = Self { desktop, window: Window(client), started, driver, _port: port };
        wallet.appears("[data-stage]:not([data-stage=looking])").await;
        wallet
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whose it is.
    pub fn home(&self) -> &Home {
        &self.desktop.home
    }

    /// Waits for a stage of the window: `first_run`, `locked`, `open`, …
    pub async fn stage(&self, stage: &str) {
        self.appears(&format!("[data-stage={stage}]")).await;
    }

    /// Types the passphrase.
    pub async fn unlock(&self, passphrase: &str) {
        self.fill("#unlock-passphrase", passphrase).await;
        self.click("#unlock").await;
        self.stage("open").await;
    }

    /// Waits until it hears its gateways.
    pub async fn is_connected(&self) {
        self.appears("[data-connection=connected]").await;
    }

    /// Asks it to end as the system does at log-out, and checks that all of it is gone.
    pub async fn stop(self) {
        let own: Vec<_> =
            self.desktop.wallet_processes().into_iter().filter(|process| process.name == PROGRAM).collect();
        assert!(!own.is_empty(), "the wallet runs until it is asked to stop");
        for process in own {
            process.signal(Signal::SIGTERM);
        }
        self.desktop.nothing_is_left().await;
    }

    /// Ends it as a crash would.
    pub async fn kill(self) {
        for process in self.desktop.wallet_processes() {
            process.signal(Signal::SIGKILL);
        }
        self.desktop.nothing_is_left().await;
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        self.driver.errors()
    }

    /// Keeps a picture of the window in `e2e/pictures/desktop`.
    pub async fn keep(&self, name: &str) {
        self.window.picture(&picture(name)).await;
    }

    /// Keeps one of the whole screen.
    pub async fn keep_screen(&self, name: &str) {
        self.window.is_drawn().await;
        self.desktop.screen.picture(&picture(name)).await;
    }
}

fn picture(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures/desktop");
    std::fs::create_dir_all(&folder).expect("a folder for pictures");
    folder.join(format!("{name}.png"))
}
