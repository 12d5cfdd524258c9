//! What the wallet's command line does beyond `run`: links, sheets, the end of an identity, rules. The browser's
//! half is raw HTTP; no window is opened.

use std::process::Stdio;

use miid_e2e::wait::within;
use miid_e2e::{Browser, Terminal, World, eventually, on_both, on_sqlite};
use miid_protocol::browser::{LoginStatus, StartResponse};
use miid_protocol::link::Returned;
use miid_protocol::service::{ChallengeStatus, EndReason, ExpireReason};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::sign_in::{is_active, reaches};

on_both!(a_link_opened_on_the_command_line_signs_the_browser_in);
on_sqlite!(
    a_link_that_somebody_else_began_signs_nobody_in_and_the_wallet_says_so,
    a_link_that_another_wallet_has_taken_is_refused,
    a_link_of_another_gateway_is_refused_and_tells_it_nothing,
    of_two_identities_the_person_says_which_one_takes_a_link,
    a_one_click_rule_answers_a_link_and_no_number,
    a_sheet_ends_an_identity_without_any_wallet,
    the_words_of_a_sheet_end_an_identity_without_any_wallet,
    a_wallet_ends_its_own_identity_by_its_name,
    a_restored_identity_is_the_same_and_sees_its_sessions,
);

/// A command of the wallet that is talked to. It runs on pipes, so that what it says about a way back, which is a
/// secret, lies in no file.
struct Typing {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    said: String,
    read: usize,
}

impl Typing {
    fn start(wallet: &Terminal, world: &World, words: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(wallet.command(words));
        // Nothing there opens a browser: it says where to go instead.
        command.env("PATH", world.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the wallet runs");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, stdin, stdout, said: String::new(), read: 0 }
    }

    /// Opens a link, which goes in by standard input: an argument would be seen by everybody.
    async fn open(wallet: &Terminal, world: &World, started: &StartResponse) -> Self {
        let link = started.wallet_link.as_deref().expect("a linked login has a link");
        world.secrets().add_all_in(link);
        let mut typing = Self::start(wallet, world, &["open", "-"]);
        typing.types(link).await;
        typing
    }

    async fn types(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Waits until it has said this, after what was waited for before.
    async fn says(&mut self, part: &str) {
        let what = format!("the wallet says “{part}”");
        let reading = async {
            loop {
                if let Some(at) = self.said[self.read..].find(part) {
                    self.read += at + part.len();
                    return;
                }
                let mut bytes = [0; 4096];
                let count = self.stdout.read(&mut bytes).await.expect("read");
                assert!(count > 0, "it ended and said only:\n{}", self.said);
                self.said.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        within(&what, reading).await;
    }

    /// Answers a linked request: yes, and the name from the profile.
    async fn approves(&mut self) {
        self.says("Approve (y = yes").await;
        assert!(self.said.contains("Demo Shop asks to sign you in"), "{}", self.said);
        self.types("y").await;
        self.says("share: name").await;
        self.types("").await;
    }

    /// Where the browser is to go back to.
    async fn way_back(&mut self, world: &World) -> Returned {
        self.says("No browser could be opened").await;
        self.says("/auth/return#").await;
        let from = self.read;
        self.says("\n").await;
        let fragment = self.said[from..].lines().next().expect("a line").to_owned();
        world.secrets().add_all_in(&fragment);
        Returned::parse(&fragment).expect("a way back")
    }

    /// Its exit code, and all that it said.
    async fn ends(mut self) -> (Option<i32>, String) {
        drop(self.stdin);
        let mut rest = String::new();
        within("the wallet ends", self.stdout.read_to_string(&mut rest)).await.expect("text");
        let mut complaint = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut complaint).await.expect("text");
        let status = within("the wallet ends", self.child.wait()).await.expect("ended");
        assert!(!complaint.contains("panicked"), "{complaint}");
        (status.code(), format!("{}{rest}{complaint}", self.said))
    }
}

/// Alice, with a name in her profile.
async fn alice(world: &World, gateway: &miid_e2e::Gateway) -> Terminal {
    let alice = Terminal::init(world, gateway, "Alice").await;
    alice.run(&["profile", "set", "name=Alice Kim"]).await.ok();
    alice
}

/// Signs a browser in by a link that the wallet opens.
async fn sign_in(world: &World, alice: &Terminal, browser: &Browser) -> StartResponse {
    let started = browser.start_linked().await;
    let mut opening = Typing::open(alice, world, &started).await;
    opening.says("Continue as Alice").await;
    opening.types("y").await;
    opening.approves().await;
    let back = opening.way_back(world).await;
    browser.come_back(&back).await.is(200);
    is_active(browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    let (code, said) = opening.ends().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Signed in at Demo Shop."), "{said}");
    started
}

async fn a_link_opened_on_the_command_line_signs_the_browser_in(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let browser = world.browser(&shop);
    sign_in(&world, &alice, &browser).await;
    let session = browser.session().await;
    assert_eq!(session.did, alice.did().await);
    assert_eq!(
        (session.approved_claims.as_slice(), &session.claims["name"]),
        (&["name".to_owned()][..], &"Alice Kim".into())
    );
    let sessions = alice.run(&["sessions"]).await.ok();
    assert!(sessions.contains("Demo Shop") && sessions.contains("shared: name"), "{sessions}");
    let history: Value = serde_json::from_str(&alice.run(&["history", "--export", "-"]).await.ok()).unwrap();
    let approved = &history["entries"][0];
    assert_eq!((&approved["what"], &approved["outcome"]), (&"approved".into(), &"done".into()));
    assert!(approved["statement"].is_string() && approved["request"].is_string(), "{approved}");
    alice.run(&["revoke", "--all"]).await.ok();
    eventually("the browser is out", || async { (!browser.is_signed_in().await).then_some(()) }).await;
    let found = alice.run(&["history", "--search", "demo ended"]).await.ok();
    assert!(!found.contains("approved"), "{found}");
}

async fn a_link_that_somebody_else_began_signs_nobody_in_and_the_wallet_says_so(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let (mallory, own) = (world.browser(&shop), world.browser(&shop));
    let started = mallory.start_linked().await;
    // Mallory sends the link to Alice, who says yes to everything.
    let mut opening = Typing::open(&alice, &world, &started).await;
    opening.says("Continue as Alice").await;
    opening.types("y").await;
    opening.approves().await;
    let back = opening.way_back(&world).await;
    let told: LoginStatus = own.come_back(&back).await.is(200).ok();
    assert_eq!(told.status, ChallengeStatus::Expired);
    let over = reaches(&mallory, &started, ChallengeStatus::Expired).await;
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::OtherBrowser)));
    opening.says("Somebody else began this sign-in").await;
    let (code, said) = opening.ends().await;
    assert_eq!(code, Some(1), "{said}");
    for browser in [&mallory, &own] {
        assert!(!browser.is_signed_in().await);
    }
    assert!(alice.run(&["sessions"]).await.ok().contains("No live sessions"));
    // Nor with what she was sent back with, by Mallory's own hand.
    mallory.come_back(&back).await;
    assert!(!mallory.is_signed_in().await);
    let history = alice.run(&["history"]).await.ok();
    assert!(history.contains("somebody else began it"), "{history}");
}

async fn a_link_that_another_wallet_has_taken_is_refused(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let bob = Terminal::init(&world, &gateway, "Bob").await;
    let browser = world.browser(&shop);
    let started = browser.start_linked().await;
    let mut first = Typing::open(&bob, &world, &started).await;
    first.says("Continue as Bob").await;
    first.types("y").await;
    first.says("Approve (y = yes").await;
    let mut second = Typing::open(&alice, &world, &started).await;
    second.says("Continue as Alice").await;
    second.types("y").await;
    let (code, said) = second.ends().await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("already_claimed") && !said.contains("asks to sign you in"), "{said}");
    // The first one can still say no.
    first.types("d").await;
    let (code, said) = first.ends().await;
    assert_eq!(code, Some(1), "{said}");
    reaches(&browser, &started, ChallengeStatus::Denied).await;
}

async fn a_link_of_another_gateway_is_refused_and_tells_it_nothing(world: World) {
    let (_gateway, shop) = world.gateway_and_shop(&[]).await;
    let other = world.other_gateway("other").await;
    let alice = alice(&world, &other).await;
    let browser = world.browser(&shop);
    let started = browser.start_linked().await;
    let (code, said) = Typing::open(&alice, &world, &started).await.ends().await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no identity here is enrolled with that gateway"), "{said}");
    let now = browser.status(started.challenge_id).await;
    assert_eq!((now.status, now.claimed), (ChallengeStatus::Pending, false));
}

async fn of_two_identities_the_person_says_which_one_takes_a_link(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    alice.run(&["init", "--name", "Work", "--gateway", gateway.issuer.as_str()]).await.ok();
    let browser = world.browser(&shop);
    let started = browser.start_linked().await;
    let mut left = Typing::open(&alice, &world, &started).await;
    left.says("Continue as which").await;
    left.types("3").await;
    let (code, said) = left.ends().await;
    assert!(code == Some(1) && said.contains("Nothing was sent."), "{said}");
    assert!(!browser.status(started.challenge_id).await.claimed);

    let mut opening = Typing::open(&alice, &world, &started).await;
    opening.says("2 Work").await;
    opening.says("Continue as which").await;
    opening.types("2").await;
    opening.says("Approve (y = yes").await;
    opening.types("y").await;
    let back = opening.way_back(&world).await;
    browser.come_back(&back).await.is(200);
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    let work = alice.run(&["--identity", "Work", "did"]).await.ok();
    assert_eq!(browser.session().await.did.as_str(), work.trim());
    assert_eq!(opening.ends().await.0, Some(0));
}

async fn a_one_click_rule_answers_a_link_and_no_number(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let mut alice = alice(&world, &gateway).await;
    let browser = world.browser(&shop);
    let rule =
        ["rules", "add", "demo-shop", "--kind", "one-click", "--scopes", "profile,email", "--claims", "name"];
    alice.run(&rule).await.ok();
    // Not before the first sign-in there: this one is asked about.
    sign_in(&world, &alice, &browser).await;
    // Nor for what the rule does not name: the shop asks for an e-mail address, too.
    let asked = browser.start_linked().await;
    let mut opening = Typing::open(&alice, &world, &asked).await;
    opening.says("Approve (y = yes").await;
    opening.types("s").await;
    assert_eq!(opening.ends().await.0, Some(1));

    alice.run(&["profile", "set", "email=alice@example.com", "nickname=Al"]).await.ok();
    let wider = [
        "rules",
        "add",
        "demo-shop",
        "--kind",
        "one-click",
        "--scopes",
        "profile,email",
        "--claims",
        "name,email,nickname",
    ];
    alice.run(&wider).await.ok();
    let started = browser.start_linked().await;
    let mut opening = Typing::open(&alice, &world, &started).await;
    opening.says("approved by your rule").await;
    let back = opening.way_back(&world).await;
    browser.come_back(&back).await.is(200);
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    let (code, said) = opening.ends().await;
    assert!(code == Some(0) && !said.contains("Continue as"), "{said}");
    let history = alice.run(&["history"]).await.ok();
    assert!(history.contains("by your rule"), "{history}");
    let rules: Value = serde_json::from_str(&alice.run(&["rules", "list", "--json"]).await.ok()).unwrap();
    assert_eq!(rules[0]["rule"]["used"], 1);

    // The same rule leaves an addressed request alone: it waits for its number.
    alice.run(&["handle", "alice"]).await.ok();
    alice.listen().await;
    let started = browser.start("@alice").await;
    alice.is_asked(started.challenge_id).await;
    alice.approve(started.challenge_id, started.match_code.as_deref().unwrap(), &["name"]);
    is_active(&browser, &started).await;
    let rules: Value = serde_json::from_str(&alice.run(&["rules", "list", "--json"]).await.ok()).unwrap();
    assert_eq!(rules[0]["rule"]["used"], 1);
}

/// The sheet of the only identity, as text.
async fn sheet(wallet: &Terminal) -> String {
    wallet.run(&["sheet"]).await.ok()
}

/// The 24 words on it, as somebody types them off.
fn words(sheet: &str) -> String {
    let is_row = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    sheet.lines().filter(is_row).collect::<Vec<_>>().join(" ")
}

/// What a command says that gets all of this on its standard input.
async fn given(wallet: &Terminal, world: &World, command: &[&str], input: &str) -> (Option<i32>, String) {
    let mut typing = Typing::start(wallet, world, command);
    typing.types(input).await;
    typing.ends().await
}

async fn a_sheet_ends_an_identity_without_any_wallet(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let browser = world.browser(&shop);
    let paper = sheet(&alice).await;
    sign_in(&world, &alice, &browser).await;
    let mut page = browser.session_stream().await;
    // Somebody took the computer with the wallet; the paper is elsewhere.
    let borrowed = Terminal::elsewhere(&world, "borrowed");
    let (code, first) =
        given(&borrowed, &world, &["retire", "--statement-file", "-", "--json"], &paper).await;
    assert_eq!(code, Some(0), "{first}");
    assert!(!world.folder().join("wallet-borrowed").exists(), "no wallet was made for it");
    let told = page.next().await.unwrap();
    assert_eq!((told.name.as_str(), &told.json()["reason"]), ("force_logout", &"retired".into()));
    assert!(!browser.is_signed_in().await);
    // Sent twice it says the same.
    let (code, second) =
        given(&borrowed, &world, &["retire", "--statement-file", "-", "--json"], &paper).await;
    assert_eq!((code, &second), (Some(0), &first));

    let refused = alice.run(&["sessions"]).await;
    assert_eq!(refused.status.code(), Some(5));
    assert!(refused.complaint().contains("did_retired"));
    let again = browser.start_linked().await;
    // The wallet has not heard of it, asks, and learns it from the gateway.
    let mut opening = Typing::open(&alice, &world, &again).await;
    opening.says("Continue as Alice").await;
    opening.types("y").await;
    let (code, said) = opening.ends().await;
    assert!(code == Some(5) && said.contains("did_retired"), "{said}");
    // And keeps it.
    let (code, said) = Typing::open(&alice, &world, &again).await.ends().await;
    assert!(code == Some(2) && said.contains("no identity here"), "{said}");
}

async fn the_words_of_a_sheet_end_an_identity_without_any_wallet(world: World) {
    let gateway = world.gateway(&[]).await;
    let alice = alice(&world, &gateway).await;
    let paper = sheet(&alice).await;
    let borrowed = Terminal::elsewhere(&world, "borrowed");
    let retire = ["--gateway", gateway.issuer.as_str(), "retire", "--words"];
    let (code, said) = given(&borrowed, &world, &retire, &words(&paper).replacen("1. ", "1. x", 1)).await;
    assert!(code == Some(2) && said.contains("word 1"), "{said}");
    alice.run(&["sessions"]).await.ok();
    let (code, said) = given(&borrowed, &world, &retire, &words(&paper)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(alice.run(&["sessions"]).await.complaint().contains("did_retired"));
}

async fn a_wallet_ends_its_own_identity_by_its_name(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let browser = world.browser(&shop);
    sign_in(&world, &alice, &browser).await;
    assert_eq!(given(&alice, &world, &["retire"], "alice").await.0, Some(2));
    assert!(browser.is_signed_in().await);
    let (code, said) = given(&alice, &world, &["retire"], "Alice").await;
    assert_eq!(code, Some(0), "{said}");
    eventually("the browser is out", || async { (!browser.is_signed_in().await).then_some(()) }).await;
    let history: Value = serde_json::from_str(&alice.run(&["history", "--json"]).await.ok()).unwrap();
    let last = history.as_array().unwrap().last().unwrap();
    assert_eq!((&last["what"], &last["outcome"]), (&"retired".into(), &"done".into()));
    assert!(last["statement"].is_string());
}

async fn a_restored_identity_is_the_same_and_sees_its_sessions(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = alice(&world, &gateway).await;
    let browser = world.browser(&shop);
    sign_in(&world, &alice, &browser).await;
    let paper = sheet(&alice).await;
    let laptop = Terminal::elsewhere(&world, "laptop");
    let restore = ["restore", "--name", "Alice", "--gateway", gateway.issuer.as_str()];
    let (code, said) = given(&laptop, &world, &restore, &words(&paper)).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(laptop.did().await, alice.did().await);
    assert!(laptop.run(&["sessions"]).await.ok().contains("Demo Shop"));
    laptop.run(&["revoke", "--all"]).await.ok();
    eventually("the browser is out", || async { (!browser.is_signed_in().await).then_some(()) }).await;
}
