//! The running wallet behind a window: everything that a window would otherwise have to know, and no pixel of it.
//!
//! 1. [`Desk::open`] looks at the folder: nothing yet, locked, damaged, or sealed by a keychain that opens it.
//! 2. Once open (`door`), every pair of identity and gateway has its [`Wallet`], all started side by side
//!    (`crew`); what they tell becomes [`Notice`]s and [`Attention`].
//! 3. Whatever changed, one [`View`] is drawn (`draw`) and pushed; a window is a function of it.
//! 4. Links that the desktop hands over wait in an [`inbox`] until the person says “Continue”, or the wallet is
//!    unlocked (`links`); only a rule of the person's own lets one through alone.
//! 5. Locked means: no key, no list, no name of a service; what comes in meanwhile is counted.
//!
//! Commands (`decide`, `people`, `record`, `rules`) are methods of [`Desk`]; each says in a [`Fault`] what went
//! wrong. Time, randomness, keychain and browser are arguments ([`Options`]).
//!
//! [`Wallet`]: crate::Wallet

mod crew;
mod decide;
mod door;
mod draw;
mod fault;
pub mod inbox;
mod links;
mod people;
mod record;
mod rules;
mod state;
pub mod view;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miid_protocol::request::SignInRequest;
use miid_protocol::service::Risk;
use miid_protocol::{Issuer, Timestamp};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, SystemEntropy};
use crate::keychain::{KeyStore, SystemKeychain};
use crate::seal::Cost;
use crate::settings::{Settings, SettingsChange};
use crate::stream::StreamSettings;
use state::State;

pub use decide::{Approved, Ended, Proposal, ProposedClaim, RuleWish, Yes};
pub use fault::{Code, Fault, Told};
pub use links::Claimed;
pub use people::{Field, Fields, HandleHeld, NewIdentity, SavedSheet, Sheet, SheetRetire};
pub use record::{ExportedHistory, HistoryEntry, HistoryPage, HistoryQuery};
pub use view::{Notice, View};

/// Two views are at least this far apart: one frame of a screen.
const FRAME: Duration = Duration::from_millis(16);
/// Two calls for attention are at least this far apart; what came between is one.
const CALM: Duration = Duration::from_secs(1);
/// How many notices a slow window may be behind.
const BACKLOG: usize = 64;

/// Where the platform keeps what belongs to a person: the wallet's folder where none is named.
pub fn default_dir() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        variable("APPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
        data.or_else(|| variable("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("miid-wallet"))
}

/// Opens an address in the person's own browser.
pub trait Browser: Send + Sync {
    /// Opens it; says whether that could be done. The address carries a secret and is not to be logged.
    fn open(&self, address: &str) -> bool;
}

/// What a desk is given.
#[derive(Clone)]
pub struct Options {
    /// What a new identity is enrolled with; otherwise what the settings say.
    pub gateway: Option<Issuer>,
    /// The desktop's keychain.
    pub keychain: Arc<dyn KeyStore>,
    /// The person's browser.
    pub browser: Arc<dyn Browser>,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What a guess at a new vault's passphrase costs.
    pub cost: Cost,
    /// How gateways are followed.
    pub stream: StreamSettings,
    /// How often it looks whether the person has gone, and whether a command line changed the vault.
    pub tick: Duration,
    /// Where a recovery sheet and an exported history go; the wallet's own folder where this is absent.
    pub documents: Option<PathBuf>,
}

impl Options {
    /// The machine's own clock, randomness and keychain.
    pub fn new(browser: Arc<dyn Browser>) -> Self {
        Self {
            gateway: None,
            keychain: Arc::new(SystemKeychain),
            browser,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            cost: Cost::STANDARD,
            stream: StreamSettings::default(),
            tick: Duration::from_secs(5),
            documents: None,
        }
    }
}

/// Something wants the person. Several at once are one: the newest of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// What.
    pub call: Call,
    /// How many came together.
    pub count: usize,
}

/// What wants the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A request: it comes to the front.
    Request {
        /// Identity and gateway.
        wallet: String,
        /// Which.
        challenge_id: String,
        /// Who asks, in the service's own words.
        service: String,
        /// Whether it is to confirm something in a session that is there.
        step_up: bool,
    },
    /// An opened link asks “Continue?”: it comes to the front.
    Link {
        /// Which.
        id: String,
    },
    /// A link was opened while there is no open wallet: it comes to the front.
    Door,
    /// Something came while it is locked. Nothing else may be said about it.
    Unseen,
}

impl Call {
    /// For that request of that wallet.
    fn of(wallet: String, request: &SignInRequest) -> Self {
        Self::Request {
            wallet,
            challenge_id: request.challenge_id.to_string(),
            service: request.service.name.clone(),
            step_up: request.risk == Risk::StepUp,
        }
    }

    /// Whether it is still true: what it is about waits.
    pub fn is_shown_in(&self, view: &View) -> bool {
        match self {
            Self::Request { wallet, challenge_id, .. } => view.requests.iter().any(|request| {
                request.standing == view::Standing::Pending
                    && (&request.wallet, &request.challenge_id) == (wallet, challenge_id)
            }),
            Self::Link { id } => view.links.iter().any(|link| link.id == *id),
            Self::Door => view.stage != view::Stage::Open,
            Self::Unseen => view.unseen > 0,
        }
    }
}

/// The running wallet. Cheap to clone; with the last clone it stops.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

struct Inner {
    dir: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Making, opening and reading the vault anew: one at a time. Locking waits for nobody.
    door: tokio::sync::Mutex<()>,
    /// Readings of the vault take turns, or what was read earlier could be put down later.
    reading: tokio::sync::Mutex<()>,
    view: watch::Sender<View>,
    notices: broadcast::Sender<Notice>,
    attention: broadcast::Sender<Attention>,
    changed: Notify,
    stop: CancellationToken,
}

impl Desk {
    /// Looks at the folder and begins. What takes time (a keychain that asks the person) goes on behind.
    pub async fn open(dir: &Path, options: Options) -> Self {
        let state = door::look(dir, &options).await;
        let first = draw::draw(&state, options.clock.now());
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            options,
            state: Mutex::new(state),
            door: tokio::sync::Mutex::new(()),
            reading: tokio::sync::Mutex::new(()),
            view: watch::Sender::new(first),
            notices: broadcast::Sender::new(BACKLOG),
            attention: broadcast::Sender::new(BACKLOG),
            changed: Notify::new(),
            stop: stop.clone(),
        });
        inner.spawn(|inner| async move { inner.keep_drawing().await });
        inner.spawn(|inner| async move { inner.keep_looking().await });
        inner.spawn(|inner| async move { inner.try_keychain().await });
        Self { inner, _stop: Arc::new(stop.drop_guard()) }
    }

    /// The view, as it stands and whenever it changed.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.inner.view.subscribe()
    }

    /// The view as it is at this very moment.
    pub fn view(&self) -> View {
        draw::draw(&self.inner.state(), self.inner.now())
    }

    /// Things to say in passing, from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }

    /// Calls for the person, from now on.
    pub fn attention(&self) -> broadcast::Receiver<Attention> {
        self.inner.attention.subscribe()
    }

    /// The person is there: the time until it locks begins anew. Where it has passed already (this computer slept)
    /// it locks, since whoever is there now may be somebody else.
    pub fn touch(&self) {
        if !self.inner.lock_if_idle() {
            let now = self.inner.now();
            self.inner.state().touched = now;
        }
    }

    /// What is to be said as soon as somebody listens: settings could not be read, and were set aside
    /// (`settings_set_aside`) or left as they are (`settings_unread`).
    pub fn first_notice(&self) -> Option<Notice> {
        self.inner.state().of_settings.take()
    }

    /// Says whether the desktop shows a tray.
    pub fn set_tray(&self, there: bool) {
        self.inner.change(|state| state.tray = there);
    }

    /// Changes some of the settings.
    pub async fn set_settings(&self, change: SettingsChange) -> Result<(), Fault> {
        let inner = self.inner.clone();
        let changed =
            blocking(move || Settings::change(&inner.dir, &*inner.options.clock, &change)).await??;
        self.inner.change(|state| state.settings = changed);
        Ok(())
    }

    /// Reads everything anew: the vault, should the command line have changed it, and the gateways' lists.
    pub async fn refresh(&self) -> Result<(), Fault> {
        self.inner.reload().await?;
        self.inner.read_lists().await
    }

    /// Ends every stream and waits for that, a moment at most.
    pub async fn close(self) {
        self.inner.lock_now();
        self.inner.stop.cancel();
        let wallets = self.inner.state().dismiss();
        let ends = wallets.into_iter().map(|wallet| tokio::spawn(wallet.stop())).collect::<Vec<_>>();
        let all = async {
            for end in ends {
                let _ = end.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Changes the state and has it drawn.
    fn change<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        let result = step(&mut self.state());
        self.changed.notify_one();
        result
    }

    fn redraw(&self) {
        self.changed.notify_one();
    }

    fn notice(&self, notice: Notice) {
        // Nobody listening is fine.
        let _ = self.notices.send(notice);
    }

    /// Runs work until the desk stops; the work does not keep the desk alive.
    fn spawn<F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, work) = (self.stop.clone(), work(self.clone()));
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Draws whenever something changed, at most once per frame; a call for attention follows the view that
    /// shows what it is about.
    async fn keep_drawing(&self) {
        let mut calm_until = tokio::time::Instant::now();
        loop {
            self.changed.notified().await;
            let now = tokio::time::Instant::now();
            let attention = {
                let mut state = self.state();
                let view = draw::draw(&state, self.now());
                let attention = if now >= calm_until { state.take_attention(&view) } else { None };
                self.view.send_replace(view);
                attention
            };
            if let Some(attention) = attention {
                calm_until = now + CALM;
                let _ = self.attention.send(attention);
            }
            tokio::time::sleep(FRAME).await;
            if !self.state().calls.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep_until(calm_until) => self.redraw(),
                    () = self.changed.notified() => self.redraw(),
                }
            }
        }
    }
}

/// Work that touches the disk, a keychain, or makes a hash on purpose slow.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a worker fell over");
        Fault::Internal
    })
}
