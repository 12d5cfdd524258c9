//! A real browser: Debian's Chromium without a screen, driven through chromedriver on a port of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::port::Port;
use crate::program::{self, Program};
use crate::wait::{BOUND, eventually};
use crate::world::World;

/// One browser with one window.
#[derive(Debug)]
pub struct Chromium {
    // Order matters: the page is left before the driver and its browser are killed.
    client: Client,
    _driver: Program,
    _port: Port,
}

impl Chromium {
    /// Starts one.
    ///
    /// # Panics
    /// When Chromium or its driver is not installed: a scenario is not skipped in silence.
    pub async fn start(world: &World) -> Self {
        let browser = find(&["chromium", "chromium-browser", "google-chrome"]);
        let driver = find(&["chromedriver"]);
        let (Some(browser), Some(driver)) = (browser, driver) else {
            panic!(
                "Chromium or its driver is missing: apt-get install --no-install-recommends chromium chromium-driver"
            )
        };
        let port = Port::take();
        let mut command: Command = program::command(driver, "KILL");
        command.arg(format!("--port={}", port.number())).arg("--log-level=WARNING");
        let driver = Program::start(command, &world.logs(), "chromedriver");
        let (http, ready) = (world.http(), format!("{}/status", port.origin()));
        eventually("chromedriver is ready", || async {
            let response = http.get(&ready).send().await.ok()?;
            (response.status() == 200).then_some(())
        })
        .await;

        let profile = world.folder().join("chromium");
        let options = json!({
            "binary": browser,
            // Its words are compared; a developer may read another language.
            "prefs": {"intl.accept_languages": "en-US,en"},
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-default-apps", "--no-first-run", "--metrics-recording-only",
                // No name is ever looked up: a page that wanted anything from outside would show it.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--window-size=900,1100", "--hide-scrollbars",
                format!("--user-data-dir={}", profile.display()),
            ],
        });
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        let client = tokio::time::timeout(
            Duration::from_secs(60),
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&port.origin()),
        )
        .await
        .expect("Chromium starts within a minute")
        .expect("Chromium starts");
        Self { client, _driver: driver, _port: port }
    }

    /// The window.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// The text of an element, as soon as it is there and has some.
    pub async fn text(&self, selector: &str) -> String {
        let element =
            self.client.wait().at_most(BOUND).for_element(Locator::Css(selector)).await.unwrap_or_else(
                |error| {
                    panic!("{selector} does not appear: {error}");
                },
            );
        element.text().await.expect("an element has text")
    }

    /// Waits until the whole page's text says this.
    pub async fn says(&self, wanted: &str) {
        eventually(&format!("the page says \"{wanted}\""), || async {
            let text = self.page_text().await?;
            text.contains(wanted).then_some(())
        })
        .await;
    }

    /// Everything that a person could read on the page now.
    pub async fn page_text(&self) -> Option<String> {
        self.client.find(Locator::Css("body")).await.ok()?.text().await.ok()
    }

    /// Types into a field, and sends its form.
    pub async fn submit(&self, selector: &str, text: &str) {
        let wait = self.client.wait().at_most(BOUND);
        let field = wait.for_element(Locator::Css(selector)).await.expect("the field is there");
        field.clear().await.expect("a field can be cleared");
        field.send_keys(&format!("{text}\u{e007}")).await.expect("a field takes keys");
    }

    /// Keeps a picture of the window in `e2e/pictures`.
    pub async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let png = self.client.screenshot().await.expect("Chromium takes a picture");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("the picture is written");
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.client.close().await.expect("Chromium closes");
    }
}

/// Where a program of one of these names is.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
    })
}
