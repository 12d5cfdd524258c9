//! The wallet's window, through WebKit's WebDriver. Every wait is for a level: what is there already counts.

use std::path::Path;

use fantoccini::Client;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;

use crate::wait::{eventually, within};

/// The page in the window.
#[derive(Debug, Clone)]
pub struct Window(pub(super) Client);

impl Window {
    /// The WebDriver's own side of it.
    pub fn client(&self) -> &Client {
        &self.0
    }

    async fn find(&self, css: &str) -> Option<Element> {
        self.0.find(fantoccini::Locator::Css(css)).await.ok()
    }

    /// Whether such an element can be seen now.
    pub async fn shows(&self, css: &str) -> bool {
        match self.find(css).await {
            Some(element) => element.is_displayed().await.unwrap_or(false),
            None => false,
        }
    }

    /// Waits until such an element can be seen.
    pub async fn appears(&self, css: &str) -> Element {
        eventually(&format!("the window shows {css}"), || async {
            let element = self.find(css).await?;
            element.is_displayed().await.ok()?.then_some(element)
        })
        .await
    }

    /// Waits until no such element is there.
    pub async fn disappears(&self, css: &str) {
        eventually(&format!("the window shows {css} no more"), || async {
            let found = self.0.find_all(fantoccini::Locator::Css(css)).await.ok()?;
            found.is_empty().then_some(())
        })
        .await;
    }

    /// Whether a button can be used, as soon as it is there. One that cannot says so without losing the focus. Where
    /// it is drawn anew meanwhile, the new one is asked.
    pub async fn is_live(&self, css: &str) -> bool {
        eventually(&format!("{css} can be used or not"), || async {
            let button = self.find(css).await?;
            if !button.is_displayed().await.ok()? {
                return None;
            }
            let says_not = button.attr("aria-disabled").await.ok()?.as_deref() == Some("true");
            Some(!says_not && button.is_enabled().await.ok()?)
        })
        .await
    }

    /// Whether a box is ticked, as soon as it is there.
    pub async fn is_ticked(&self, css: &str) -> bool {
        eventually(&format!("{css} is ticked or not"), || async {
            self.find(css).await?.is_selected().await.ok()
        })
        .await
    }

    /// Waits until a button can be used.
    pub async fn becomes_live(&self, css: &str) {
        eventually(&format!("{css} can be used"), || async { self.is_live(css).await.then_some(()) }).await;
    }

    /// Waits until such an element can be used and lies still, and clicks it once.
    pub async fn click(&self, css: &str) {
        eventually(&format!("{css} can be clicked"), || async {
            if !self.shows(css).await || !self.is_live(css).await {
                return None;
            }
            // The driver looks where it is, and presses there: what moves in between is missed.
            self.is_drawn().await;
            self.try_click(css).await.then_some(())
        })
        .await;
    }

    /// Answers a request with one of its card's buttons.
    pub async fn answer(&self, request: impl std::fmt::Display, button: &str) {
        self.press_until_gone(&format!("[data-request=\"{request}\"] {button}")).await;
    }

    /// Presses a button until it counts. What has just appeared takes no answer, since the press may have been
    /// meant for what stood there before.
    pub async fn press_until_gone(&self, css: &str) {
        self.appears(css).await;
        eventually(&format!("{css} was pressed and counted"), || async {
            if !self.shows(css).await {
                return Some(());
            }
            self.try_click(css).await;
            None
        })
        .await;
    }

    /// Waits until what is there has been drawn.
    pub async fn is_drawn(&self) {
        self.is_at_rest().await;
        let script = "const done = arguments[arguments.length - 1]; \
                      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0)));";
        within("two frames", self.0.execute_async(script, Vec::new())).await.expect("a script runs");
    }

    async fn try_click(&self, css: &str) -> bool {
        let Some(element) = self.find(css).await else { return false };
        match element.click().await {
            Ok(()) => true,
            // It moved or was drawn anew: nothing was clicked.
            Err(CmdError::Standard(_)) => false,
            Err(error) => panic!("cannot click {css}: {error}"),
        }
    }

    /// Writes a text into a field, in place of what is in it. Where the field is drawn anew meanwhile, it begins again.
    pub async fn fill(&self, css: &str, text: &str) {
        eventually(&format!("{css} takes \"{text}\""), || async {
            let field = self.appears(css).await;
            for done in [field.clear().await, field.send_keys(text).await] {
                match done {
                    Ok(()) => {}
                    Err(error) if error.is_stale_element_reference() => return None,
                    Err(error) => panic!("{css} takes no text: {error}"),
                }
            }
            Some(())
        })
        .await;
    }

    /// Chooses one of a list's values.
    pub async fn select(&self, css: &str, value: &str) {
        self.appears(css).await;
        // By script: a list that opens is a window of the toolkit's own, which a driver may press into nothing.
        let (css_text, value_text) = (serde_json::json!(css), serde_json::json!(value));
        let script = format!(
            "const list = document.querySelector({css_text}); \
             if (list === null || list.disabled) return false; \
             if (list.value === {value_text}) return true; \
             list.value = {value_text}; \
             list.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             list.dispatchEvent(new Event('change', {{ bubbles: true }})); \
             return false"
        );
        eventually(&format!("{css} is set to {value}"), || async {
            (self.script(&script).await == true).then_some(())
        })
        .await;
    }

    /// Whether an element has the focus now.
    pub async fn has_focus(&self, css: &str) -> bool {
        let script = format!("return document.activeElement?.matches({}) ?? false", serde_json::json!(css));
        self.script(&script).await == true
    }

    /// Waits until an element has the focus.
    pub async fn focus_is_on(&self, css: &str) {
        eventually(&format!("{css} has the focus"), || async { self.has_focus(css).await.then_some(()) })
            .await;
    }

    /// What an element says, as soon as it is there and says something.
    pub async fn text(&self, css: &str) -> String {
        eventually(&format!("{css} says something"), || async {
            let text = self.find(css).await?.text().await.ok()?;
            (!text.trim().is_empty()).then_some(text)
        })
        .await
    }

    /// Everything that can be read now.
    pub async fn all_text(&self) -> String {
        match self.find("body").await {
            Some(body) => body.text().await.unwrap_or_default(),
            None => String::new(),
        }
    }

    /// Waits until the window says this somewhere.
    pub async fn says(&self, wanted: &str) {
        eventually(&format!("the window says \"{wanted}\""), || async {
            self.all_text().await.contains(wanted).then_some(())
        })
        .await;
    }

    /// An attribute of an element, as soon as there is one with a value.
    pub async fn attribute(&self, css: &str, name: &str) -> String {
        eventually(&format!("{css} has {name}"), || async {
            self.find(css).await?.attr(name).await.ok()?.filter(|value| !value.is_empty())
        })
        .await
    }

    /// How many such elements there are.
    pub async fn count(&self, css: &str) -> usize {
        self.0.find_all(fantoccini::Locator::Css(css)).await.map_or(0, |found| found.len())
    }

    /// Runs a script in the page and gives what it returns.
    pub async fn script(&self, script: &str) -> serde_json::Value {
        self.0.execute(script, Vec::new()).await.expect("a script runs")
    }

    /// Waits until nothing moves or fades any more.
    async fn is_at_rest(&self) {
        let script = "return document.querySelector('[data-settled=false]') === null && \
                      document.getAnimations().every((a) => \
                        !(a instanceof CSSTransition) || a.playState !== 'running')";
        eventually("the window is at rest", || async { (self.script(script).await == true).then_some(()) })
            .await;
    }

    /// Keeps a picture of what the window shows.
    pub async fn picture(&self, file: &Path) {
        self.is_at_rest().await;
        let png = within("a picture", self.0.screenshot()).await.expect("the window can be drawn");
        std::fs::write(file, png).expect("the picture is written");
    }
}
