//! The stage: a gateway with a memory, a desk in a folder of its own, a keychain and a browser that keep what they
//! were given.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::{Issuer, Timestamp};
use miid_wallet::desk::view::{Identity, Stage};
use miid_wallet::desk::{Attention, Browser, Desk, NewIdentity, Notice, Options, View, Yes};
use miid_wallet::entropy::{Entropy, EntropyError, SystemEntropy};
use miid_wallet::keychain::{KeyStore, KeychainError};
use miid_wallet::seal::{Cost, Passphrase};
use miid_wallet::vault::{Opener, Vault};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use zeroize::Zeroizing;

use crate::support::requests::id;
use crate::support::{Hand, Reply, Scripted, Seen, T, ok, problem, quick};

pub const PASSPHRASE: &str = "correct horse";

/// What the gateway knows.
#[derive(Default)]
pub struct Model {
    pub streams: Vec<mpsc::UnboundedSender<String>>,
    pub listed: Vec<Value>,
    /// Linked requests that can still be claimed, by id.
    pub claimable: HashMap<String, Value>,
    pub sessions: Vec<Value>,
    /// The next approval is answered once this is said.
    pub hold: Option<oneshot::Receiver<()>>,
    pub refuse: Option<ErrorCode>,
    /// The same of an approval.
    pub refuse_yes: Option<ErrorCode>,
}

pub struct Gateway {
    pub scripted: Scripted,
    pub model: Arc<Mutex<Model>>,
}

impl Gateway {
    pub async fn start() -> Self {
        let model = Arc::new(Mutex::new(Model::default()));
        let kept = model.clone();
        let scripted = Scripted::start(move |seen, _| reply(&mut kept.lock().expect("lock"), seen)).await;
        Self { scripted, model }
    }

    pub fn issuer(&self) -> &Issuer {
        &self.scripted.issuer
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("lock")
    }

    /// Says something on every stream that is open.
    pub fn say(&self, text: &str) {
        self.model().streams.retain(|stream| stream.send(text.to_owned()).is_ok());
    }

    pub fn count(&self, method: &str, end_of_path: &str) -> usize {
        self.scripted.count(method, end_of_path)
    }
}

fn reply(model: &mut Model, seen: &Seen) -> Reply {
    let path = seen.path.as_str();
    let about = path.split('/').nth(4).unwrap_or_default().to_owned();
    let at = Timestamp::from_millis(T);
    let outcome = |status: &str, return_to: Option<String>| {
        let mut body = json!({"challenge_id": about, "status": status, "at": at});
        if let Some(return_to) = return_to {
            body["return_to"] = json!(return_to);
        }
        ok(body.to_string())
    };
    match (seen.method.as_str(), path) {
        ("GET", "/v1/wallet/events") => {
            let (say, said) = mpsc::unbounded_channel();
            model.streams.push(say);
            Reply::Live(said)
        }
        ("GET", "/v1/wallet/challenges") => ok(json!({"challenges": model.listed}).to_string()),
        ("GET", "/v1/wallet/sessions") => ok(json!({"sessions": model.sessions}).to_string()),
        ("PUT", "/v1/wallet/handle") => ok(seen.body.clone()),
        ("POST", "/v1/wallet/retire") => {
            let did = seen.token.split('.').next().map(did_of).unwrap_or_default();
            ok(json!({"did": did, "at": at}).to_string())
        }
        (_, path) if path.ends_with("/claim") => {
            if let Some(code) = model.refuse {
                return problem(code);
            }
            match model.claimable.get(&about) {
                Some(listed) => ok(listed.to_string()),
                None => problem(ErrorCode::ChallengeNotFound),
            }
        }
        (_, path) if path.ends_with("/approve") => {
            if let Some(code) = model.refuse_yes {
                return problem(code);
            }
            let return_to = model.claimable.get(&about).and_then(|listed| listed["test_return_to"].as_str());
            let reply = outcome("approved", return_to.map(str::to_owned));
            match model.hold.take() {
                Some(hold) => Reply::Later(hold, Box::new(reply)),
                None => reply,
            }
        }
        (_, path) if path.ends_with("/deny") => outcome("denied", None),
        (_, path) if path.ends_with("/cancel") => outcome("pending", None),
        (_, path) if path.ends_with("/revoke") => {
            model.sessions.retain(|session| session["session_id"] != json!(about));
            ok(json!({"session_id": about, "status": "revoked", "at": at}).to_string())
        }
        other => panic!("nobody asks for {other:?}"),
    }
}

/// The DID out of a proof's header.
fn did_of(header: &str) -> String {
    let bytes = miid_protocol::jws::decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&bytes).expect("json");
    let kid = header["kid"].as_str().expect("a key");
    kid.split('#').next().expect("a did").to_owned()
}

/// A keychain in memory; with `None` there is none.
#[derive(Default)]
pub struct Drawer(pub Option<Mutex<HashMap<String, [u8; 32]>>>);

impl Drawer {
    pub fn there() -> Self {
        Self(Some(Mutex::default()))
    }

    fn keys(&self) -> Result<MutexGuard<'_, HashMap<String, [u8; 32]>>, KeychainError> {
        Ok(self.0.as_ref().ok_or(KeychainError::None)?.lock().expect("lock"))
    }
}

impl KeyStore for Drawer {
    fn store(&self, entry: &str, key: &[u8; 32]) -> Result<(), KeychainError> {
        self.keys()?.insert(entry.to_owned(), *key);
        Ok(())
    }
    fn load(&self, entry: &str) -> Result<Zeroizing<[u8; 32]>, KeychainError> {
        self.keys()?.get(entry).map(|key| Zeroizing::new(*key)).ok_or(KeychainError::Missing)
    }
    fn remove(&self, entry: &str) -> Result<(), KeychainError> {
        self.keys()?.remove(entry);
        Ok(())
    }
}

/// Randomness that fails from the `n`th time on, until it is told how often it may be used from there.
pub struct Runs(pub AtomicI64);

impl Entropy for Runs {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(EntropyError);
        }
        SystemEntropy.fill(bytes)
    }
}

/// A browser that keeps what it was sent to.
#[derive(Default)]
pub struct Tabs(pub Mutex<Vec<String>>);

impl Browser for Tabs {
    fn open(&self, address: &str) -> bool {
        self.0.lock().expect("lock").push(address.to_owned());
        true
    }
}

/// A desk with all that it was given.
pub struct Stand {
    pub desk: Desk,
    pub dir: PathBuf,
    pub clock: Arc<Hand>,
    pub tabs: Arc<Tabs>,
    pub keychain: Arc<Drawer>,
    pub documents: PathBuf,
    views: watch::Receiver<View>,
    pub notices: broadcast::Receiver<Notice>,
    pub calls: broadcast::Receiver<Attention>,
    _home: Option<Arc<tempfile::TempDir>>,
}

pub const CHEAP: Cost = Cost { m_kib: 8 * 1024, t: 1, p: 1 };

impl Stand {
    /// In a folder of its own.
    pub async fn new() -> Self {
        Self::with(Drawer::default()).await
    }

    pub async fn with(keychain: Drawer) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("temporary folder"));
        let dir = home.path().join("wallet");
        Self::open(&dir, Arc::new(keychain), Some(home)).await
    }

    /// Another one in the same folder, as after a restart.
    pub async fn again(&self) -> Self {
        Self::open(&self.dir, self.keychain.clone(), self._home.clone()).await
    }

    pub async fn open(dir: &Path, keychain: Arc<Drawer>, home: Option<Arc<tempfile::TempDir>>) -> Self {
        Self::open_by(dir, keychain, home, Arc::new(SystemEntropy)).await
    }

    /// By a randomness of the caller's.
    pub async fn open_by(
        dir: &Path,
        keychain: Arc<Drawer>,
        home: Option<Arc<tempfile::TempDir>>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let clock = Arc::new(Hand(AtomicI64::new(T)));
        let tabs = Arc::new(Tabs::default());
        let documents = dir.parent().expect("a folder").join("documents");
        let mut options = Options::new(tabs.clone());
        options.keychain = keychain.clone();
        options.clock = clock.clone();
        options.entropy = entropy;
        options.cost = CHEAP;
        options.stream = quick();
        options.tick = Duration::from_millis(5);
        options.documents = Some(documents.clone());
        let desk = Desk::open(dir, options).await;
        let (views, notices, calls) = (desk.watch(), desk.notices(), desk.attention());
        let dir = dir.to_owned();
        Self { desk, dir, clock, tabs, keychain, documents, views, notices, calls, _home: home }
    }

    /// With a vault, one identity called `Me`, and its gateway heard.
    pub async fn at(gateway: &Gateway) -> Self {
        let mut stand = Self::new().await;
        stand.create("Me", gateway).await;
        stand.connected(1).await;
        stand
    }

    pub async fn create(&self, name: &str, gateway: &Gateway) -> Identity {
        self.desk.create_identity(new(name, gateway.issuer())).await.expect("made")
    }

    /// Waits until so many gateways are heard.
    pub async fn connected(&mut self, wanted: usize) -> View {
        self.until(|view| {
            let gateways = view.identities.iter().flat_map(|identity| &identity.gateways);
            let state = miid_wallet::desk::view::ConnectionState::Connected;
            gateways.filter(|gateway| gateway.connection.state == state).count() >= wanted
        })
        .await
    }

    /// Waits for a view, with a bound.
    pub async fn until(&mut self, wanted: impl Fn(&View) -> bool) -> View {
        let found = self.views.wait_for(|view| wanted(view));
        match tokio::time::timeout(Duration::from_secs(20), found).await {
            Ok(view) => view.expect("the desk lives").clone(),
            Err(_) => panic!("not drawn in time; it is {:#?}", self.desk.view()),
        }
    }

    pub async fn stage(&mut self, stage: Stage) -> View {
        self.until(|view| view.stage == stage).await
    }

    pub async fn notice(&mut self, kind: &str) -> Notice {
        let found = async {
            loop {
                let notice = self.notices.recv().await.expect("the desk lives");
                if notice.kind == kind {
                    return notice;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("said in time")
    }

    pub async fn call(&mut self) -> Attention {
        let call = tokio::time::timeout(Duration::from_secs(20), self.calls.recv()).await;
        call.expect("called in time").expect("the desk lives")
    }

    /// The only wallet's name for the page.
    pub fn wallet(&self) -> String {
        self.desk.view().identities[0].gateways[0].wallet.clone()
    }

    pub fn opened(&self) -> Vec<String> {
        self.tabs.0.lock().expect("lock").clone()
    }

    pub fn pass(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }
}

pub fn new(name: &str, issuer: &Issuer) -> NewIdentity {
    NewIdentity {
        name: name.into(),
        passphrase: Some(PASSPHRASE.into()),
        keychain: false,
        gateway: issuer.to_string(),
        words: None,
    }
}

pub fn typed() -> Option<String> {
    Some(PASSPHRASE.into())
}

/// The vault, as a command line beside the desk opens it.
pub fn open_from_outside(stand: &Stand) -> Vault {
    let passphrase = Passphrase::new(PASSPHRASE.into());
    Vault::open(&stand.dir, &Opener::Passphrase(&passphrase), stand.clock.clone(), Arc::new(SystemEntropy))
        .expect("opens")
}

/// A yes with the number.
pub fn yes() -> Yes {
    Yes {
        digest: None,
        match_code: Some("47".into()),
        scopes: vec!["profile".into()],
        share: HashMap::from([("name".to_owned(), "Alice Kim".to_owned())]).into_iter().collect(),
        remember: Vec::new(),
        rule: None,
    }
}

/// A yes to a linked request.
pub fn linked_yes() -> Yes {
    Yes { match_code: None, ..yes() }
}

pub fn session(n: u32) -> Value {
    json!({
        "session_id": id(9_000 + n), "service": {"id": "demo-shop", "name": "Demo Shop"}, "scopes": ["profile"],
        "claims": ["name"], "created_at": Timestamp::from_millis(T), "last_used_at": Timestamp::from_millis(T),
        "expires_at": Timestamp::from_millis(T + 86_400_000),
    })
}

/// A request ended as this event says it.
pub fn event(position: u32, name: &str, data: &Value) -> String {
    format!("id: {position}\nevent: {name}\ndata: {data}\n\n")
}
