//! A real browser: Debian's Chromium without a screen, driven through chromedriver on a port of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::WindowHandle;
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
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts one.
    ///
    /// # Panics
    /// When Chromium or its driver is not installed: a scenario is not skipped in silence.
    pub async fn start(world: &World) -> Self {
        Self::start_as(world, "chromium").await
    }

    /// Starts one with a profile of this name: somebody else's browser shares no cookie.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_as(world: &World, profile: &str) -> Self {
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
        let driver = Program::start(command, &world.logs(), &format!("{profile}-driver"));
        let (http, ready) = (world.http(), format!("{}/status", port.origin()));
        eventually("chromedriver is ready", || async {
            let response = http.get(&ready).send().await.ok()?;
            (response.status() == 200).then_some(())
        })
        .await;

        // Not in the world's folder, where no secret may lie: a browser writes down every address that it was sent
        // to, with what stands behind the `#`. By then that is spent.
        let folder = tempfile::Builder::new().prefix("miid-e2e-").tempdir().expect("a temporary folder");
        let profile = folder.path().join(profile);
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
        Self { client, _driver: driver, _port: port, _profile: folder }
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
        eventually(&format!("the page's {selector} says something"), || async {
            let text = self.client.find(Locator::Css(selector)).await.ok()?.text().await.ok()?;
            (!text.trim().is_empty()).then_some(text)
        })
        .await
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

    /// Waits until such an element can be seen.
    pub async fn appears(&self, selector: &str) {
        eventually(&format!("the page shows {selector}"), || async {
            self.shows(selector).await.then_some(())
        })
        .await;
    }

    /// Whether such an element can be seen now.
    pub async fn shows(&self, selector: &str) -> bool {
        match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element.is_displayed().await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Clicks an element as soon as it is there. By a script: after a link to a program the browser asks in a
    /// dialog of its own, which swallows presses and which no driver can answer.
    pub async fn click(&self, selector: &str) {
        let script = format!("document.querySelector({}).click()", json!(selector));
        eventually(&format!("the page's {selector} can be clicked"), || async {
            let is_live = self.shows(selector).await;
            if is_live { self.client.execute(&script, Vec::new()).await.ok().map(drop) } else { None }
        })
        .await;
    }

    /// An attribute of an element, as soon as there is one with a value.
    pub async fn attribute(&self, selector: &str, name: &str) -> String {
        eventually(&format!("the page's {selector} has {name}"), || async {
            let element = self.client.find(Locator::Css(selector)).await.ok()?;
            element.attr(name).await.ok()?.filter(|value| !value.is_empty())
        })
        .await
    }

    /// Presses a button or a link, as soon as it is there. By script: the browser's own question whether to open
    /// a wallet lies over the page and takes the mouse.
    pub async fn press(&self, selector: &str) {
        let wait = self.client.wait().at_most(BOUND);
        wait.for_element(Locator::Css(selector))
            .await
            .unwrap_or_else(|error| panic!("{selector} does not appear: {error}"));
        let press = format!("document.querySelector({selector:?}).click()");
        self.client.execute(&press, Vec::new()).await.expect("it can be pressed");
    }

    /// Opens an address in a new tab, as another program has a browser do it, and goes there.
    pub async fn open_tab(&self, url: &str) -> Tab {
        let before = self.client.window().await.expect("a window");
        let tab = self.client.new_window(true).await.expect("a tab opens");
        self.client.switch_to_window(tab.handle).await.expect("a tab can be gone to");
        self.open(url).await;
        Tab(before)
    }

    /// Goes back to the tab from which another was opened.
    pub async fn go_to(&self, tab: Tab) {
        self.client.switch_to_window(tab.0).await.expect("a tab can be gone to");
    }

    /// Keeps a picture of the window in `e2e/pictures`.
    pub async fn picture(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures").join(format!("{name}.png"));
        std::fs::create_dir_all(file.parent().expect("a folder of ours")).expect("a folder for pictures");
        let png = self.client.screenshot().await.expect("Chromium takes a picture");
        std::fs::write(file, png).expect("the picture is written");
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.client.close().await.expect("Chromium closes");
    }
}

/// A tab that was left.
#[derive(Debug)]
pub struct Tab(WindowHandle);

/// Where a program of one of these names is.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
    })
}
