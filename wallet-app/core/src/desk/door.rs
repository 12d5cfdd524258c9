//! How the vault is made, opened and locked, and what is looked at while nobody does anything.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use miid_protocol::Timestamp;

use super::fault::{Fault, Told};
use super::inbox::Inbox;
use super::people::Applicant;
use super::state::State;
use super::view::{Notice, Stage};
use super::{Desk, Inner, Options, blocking, draw};
use crate::keychain::{KeyStore, KeychainError};
use crate::seal::Passphrase;
use crate::settings::{Loaded, Settings, SettingsError};
use crate::vault::{Opener, SealedBy, Vault, VaultError};

impl Desk {
    /// Opens the vault. `passphrase` is what the person typed; none where the keychain opens it.
    pub async fn unlock(&self, passphrase: Option<String>) -> Result<(), Fault> {
        self.inner.unlock(passphrase.map(Passphrase::new)).await
    }

    /// Locks at once: keys wiped, lists forgotten. What is under way and not yet sent is not sent any more.
    pub fn lock(&self) {
        self.inner.lock_now();
    }
}

impl Inner {
    pub(super) async fn unlock(self: &Arc<Self>, passphrase: Option<Passphrase>) -> Result<(), Fault> {
        let _door = self.door.lock().await;
        let turn = {
            let state = self.state();
            if state.vault.is_some() {
                return Ok(());
            }
            state.turn
        };
        let (dir, options) = (self.dir.clone(), self.options.clone());
        let opened = blocking(move || {
            let opener = match &passphrase {
                Some(passphrase) => Opener::Passphrase(passphrase),
                None => Opener::Keychain(&*options.keychain),
            };
            Vault::open(&dir, &opener, options.clock.clone(), options.entropy.clone())
        });
        match opened.await? {
            Ok(vault) => self.enter(Arc::new(vault), turn).await,
            Err(error) => Err(self.learn_from(error)),
        }
    }

    /// The vault is open: everybody starts. Unless it was locked meanwhile: whoever locks wins.
    pub(super) async fn enter(self: &Arc<Self>, vault: Arc<Vault>, turn: u64) -> Result<(), Fault> {
        let sealed_by = vault.sealed_by();
        let now = self.now();
        let before = self.change(|state| {
            if state.turn != turn {
                vault.lock();
                return Err(Fault::Locked);
            }
            state.turn += 1;
            state.stage = Stage::Open;
            state.fault = None;
            state.sealed_by = Some(sealed_by);
            state.vault = Some(vault.clone());
            state.touched = now;
            state.calls.clear();
            state.unseen_until = None;
            state.unseen_owed = false;
            Ok(std::mem::take(&mut state.counting))
        })?;
        for wallet in before {
            tokio::spawn(wallet.stop());
        }
        self.reload().await?;
        self.sort_links();
        Ok(())
    }

    /// Locks now, and waits for nothing.
    pub(super) fn lock_now(&self) {
        self.change(|state| {
            // Also where an unlocking is on its way: it will find that it came too late.
            state.turn += 1;
            let Some(vault) = state.vault.take() else { return };
            for running in state.crew.drain(..) {
                running.wallet.lock();
                state.counting.push(running.wallet);
            }
            vault.lock();
            state.people.clear();
            state.calls.clear();
            state.stage = Stage::Locked;
        });
    }

    /// A keychain that answers opens its vault by itself; asked behind everything else, since it may ask the
    /// person.
    pub(super) async fn try_keychain(self: Arc<Self>) {
        let keychain = self.options.keychain.clone();
        let Ok(answers) = blocking(move || answers(&*keychain)).await else { return };
        self.change(|state| state.keychain = answers);
        let by_keychain = {
            let state = self.state();
            state.stage == Stage::Locked && state.sealed_by == Some(SealedBy::Keychain)
        };
        if by_keychain && let Err(error) = self.unlock(None).await {
            tracing::info!(%error, "the keychain did not open the wallet");
        }
    }

    /// Every now and then: has the person gone, has a command line changed the vault, has a link grown old?
    pub(super) async fn keep_looking(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.options.tick).await;
            let now = self.now();
            self.lock_if_idle();
            let grown_old = self.state().inbox.forget_old(now);
            // What waits while it is locked runs out by the clock alone.
            let waits = draw::unseen(&self.state());
            let shown = self.view.borrow().unseen;
            let is_owed = self.state().call_what_is_owed(waits > 0, now);
            if grown_old || waits != shown || is_owed {
                self.redraw();
            }
            let (path, seen) = (self.dir.join("vault"), self.state().read_at);
            let Ok(written) = blocking(move || written_at(&path)).await else { continue };
            if written != seen {
                self.look_again().await;
            }
        }
    }

    /// Locks where nobody was there for as long as the settings say; says whether it did. Asked before anything is
    /// done for the person, too: after this computer slept the next look may come too late.
    pub(super) fn lock_if_idle(&self) -> bool {
        let is_idle = self.is_idle(self.now());
        if is_idle {
            tracing::info!("nobody was here for a while: locked");
            self.lock_now();
        }
        is_idle
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let minutes = i64::from(state.settings.lock_after_min);
        if state.vault.is_none() || minutes == 0 {
            return false;
        }
        if now < state.touched {
            // The clock was set back: from here on, then.
            state.touched = now;
        }
        now.millis() - state.touched.millis() >= minutes * 60_000
    }

    /// Somebody else wrote the vault's file.
    async fn look_again(self: &Arc<Self>) {
        let _door = self.door.lock().await;
        if self.state().vault.is_some() {
            if let Err(error) = self.reload().await {
                tracing::info!(%error, "the vault could not be read anew");
            }
            return;
        }
        let (dir, options) = (self.dir.clone(), self.options.clone());
        let Ok(outer) = blocking(move || Outer::look(&dir, &options)).await else { return };
        self.change(|state| {
            // A damaged file was set aside: that it is gone now is no news.
            let is_known = state.stage == Stage::Damaged
                && match outer.stage {
                    Stage::FirstRun => true,
                    Stage::Damaged => path_of(&outer.fault) == path_of(&state.fault),
                    _ => false,
                };
            if state.vault.is_none() && !is_known {
                outer.put(state);
            } else {
                state.read_at = outer.read_at;
            }
        });
    }

    /// What an error of the vault says about all of it; what it says to the person goes back.
    pub(super) fn learn_from(&self, error: VaultError) -> Fault {
        let (stage, was_sealed_anew) = match &error {
            VaultError::Damaged { .. } => (Some(Stage::Damaged), false),
            // While one is open this is no news: its file is being exchanged, and another lies there from long ago.
            VaultError::WasDamaged { .. } if self.state().vault.is_some() => (None, false),
            VaultError::WasDamaged { .. } => (Some(Stage::Damaged), false),
            VaultError::Newer { .. } => (Some(Stage::Newer), false),
            VaultError::SealedAnew => (None, true),
            _ => (None, false),
        };
        let fault = Fault::from(error);
        if stage.is_some() || was_sealed_anew {
            self.lock_now();
        }
        if let Some(stage) = stage {
            let told = fault.told();
            self.change(|state| {
                state.stage = stage;
                state.fault = Some(told);
            });
        }
        fault
    }

    /// Makes a vault where there is none, with its first identity. Under the door.
    pub(super) async fn make_vault(
        self: &Arc<Self>,
        passphrase: Option<Passphrase>,
        keychain: bool,
        first: Applicant,
    ) -> Result<Vault, Fault> {
        if passphrase.is_none() && !keychain {
            return Err(Fault::NothingToSealWith);
        }
        let (dir, options) = (self.dir.clone(), self.options.clone());
        let made = blocking(move || {
            let opener = match &passphrase {
                Some(passphrase) => Opener::Passphrase(passphrase),
                None => Opener::Keychain(&*options.keychain),
            };
            let (clock, entropy) = (options.clock.clone(), options.entropy.clone());
            Vault::create_with(&dir, &opener, options.cost, clock, entropy, &first.newcomer())
        });
        let (vault, _) = made.await?.map_err(|error| self.learn_from(error))?;
        Ok(vault)
    }
}

fn path_of(fault: &Option<Told>) -> Option<&str> {
    fault.as_ref()?.path.as_deref()
}

/// What the folder says from outside.
struct Outer {
    stage: Stage,
    fault: Option<Told>,
    sealed_by: Option<SealedBy>,
    outline: Vec<crate::vault::Outline>,
    read_at: Option<Written>,
}

impl Outer {
    fn look(dir: &Path, options: &Options) -> Self {
        let read_at = written_at(&dir.join("vault"));
        let none =
            Self { stage: Stage::FirstRun, fault: None, sealed_by: None, outline: Vec::new(), read_at };
        match Vault::outline(dir, &*options.clock) {
            Ok((sealed_by, outline)) => {
                Self { stage: Stage::Locked, sealed_by: Some(sealed_by), outline, ..none }
            }
            Err(VaultError::NotFound { .. }) => none,
            Err(error) => {
                let stage =
                    if matches!(error, VaultError::Newer { .. }) { Stage::Newer } else { Stage::Damaged };
                Self { stage, fault: Some(Fault::from(error).told()), ..none }
            }
        }
    }

    fn put(self, state: &mut State) {
        state.stage = self.stage;
        state.fault = self.fault;
        state.sealed_by = self.sealed_by;
        state.outline = self.outline;
        state.read_at = self.read_at;
    }
}

/// The first look at a folder.
pub(super) async fn look(dir: &Path, options: &Options) -> State {
    let (dir, given) = (dir.to_owned(), options.clone());
    let looked = blocking(move || (Outer::look(&dir, &given), Settings::load(&dir, &*given.clock))).await;
    let (outer, (settings, of_settings)) = match looked {
        Ok((outer, loaded)) => (Some(outer), of_settings(loaded)),
        Err(_) => (None, (Settings::default(), None)),
    };
    let mut state = State {
        stage: Stage::FirstRun,
        fault: None,
        sealed_by: None,
        keychain: false,
        tray: true,
        default_gateway: options.gateway.clone().unwrap_or_else(|| settings.gateway.clone()),
        settings,
        outline: Vec::new(),
        vault: None,
        people: Vec::new(),
        crew: Vec::new(),
        counting: Vec::new(),
        inbox: Inbox::default(),
        calls: Vec::new(),
        unseen_until: None,
        unseen_owed: false,
        touched: options.clock.now(),
        turn: 0,
        read_at: None,
        of_settings,
    };
    if let Some(outer) = outer {
        outer.put(&mut state);
    }
    state
}

/// The settings that hold, and what is to be said of the file. What a later program wrote, or the disk does not
/// give, is left as it is: no change of the settings writes over it.
fn of_settings(loaded: Result<Loaded, SettingsError>) -> (Settings, Option<Notice>) {
    let notice = |kind: &str, reason: String| {
        Some(Notice { kind: kind.to_owned(), reason: Some(reason), ..Notice::default() })
    };
    match loaded {
        Ok(Loaded { settings, set_aside }) => {
            let said = set_aside.and_then(|aside| notice("settings_set_aside", aside.display().to_string()));
            (settings, said)
        }
        Err(error) => {
            tracing::warn!(%error, "the settings could not be read");
            (Settings::default(), notice("settings_unread", error.to_string()))
        }
    }
}

/// Asked for an entry that cannot exist: a keychain that works says so.
fn answers(keychain: &dyn KeyStore) -> bool {
    matches!(keychain.load("is there a keychain"), Err(KeychainError::Missing))
}

pub(super) fn written_at(path: &Path) -> Option<Written> {
    let data = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let file = std::os::unix::fs::MetadataExt::ino(&data);
    #[cfg(not(unix))]
    let file = data.len();
    Some(Written { at: data.modified().ok()?, file })
}

/// Which writing of a file it is. Each makes a file anew, and two may be of the same moment as the system counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    at: SystemTime,
    file: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn two_writings_of_one_moment_are_two() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("vault");
        let mut before = None;
        for n in 0..200 {
            crate::files::replace(&path, format!("{n}").as_bytes()).expect("written");
            let now = written_at(&path);
            assert!(now.is_some() && now != before, "{n}");
            before = now;
        }
    }
}
