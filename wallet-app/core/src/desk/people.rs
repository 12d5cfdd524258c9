//! Identities: made, restored, described, printed, ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miid_protocol::{Handle, Issuer, text};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::fault::Fault;
use super::state::Person;
use super::view::Identity;
use super::{Desk, Inner, blocking, draw};
use crate::files::{self, FileError};
use crate::recovery::{RecoverySheet, RecoveryWords};
use crate::seal::Passphrase;
use crate::vault::{MAX_NAME, Newcomer, SealedBy, Vault, VaultError};

/// An identity to be made or restored. The first one makes the vault, too; for later ones `passphrase` and
/// `keychain` mean nothing.
#[derive(Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// What the person calls it.
    pub name: String,
    /// What seals the vault.
    #[serde(default)]
    pub passphrase: Option<String>,
    /// Whether the keychain does.
    #[serde(default)]
    pub keychain: bool,
    /// Where it is enrolled.
    pub gateway: String,
    /// The words of a recovery sheet; absent for a new one.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub words: Option<String>,
}

/// Somebody who is to live here, as the person described them. No `Debug`: the key is in it.
pub(super) struct Applicant {
    name: String,
    words: Option<RecoveryWords>,
    gateway: Issuer,
}

impl Applicant {
    pub(super) fn newcomer(&self) -> Newcomer<'_> {
        Newcomer { name: &self.name, words: self.words.as_ref(), gateway: &self.gateway }
    }
}

/// What the person keeps on paper. No `Debug`: the key is in it.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "RecoverySheet"))]
pub struct Sheet {
    /// What the person calls it.
    pub name: String,
    /// Its DID.
    pub did: String,
    /// Where it is enrolled.
    pub gateways: Vec<String>,
    /// The key.
    pub words: Vec<String>,
    /// What ends it, per gateway.
    pub retire: Vec<SheetRetire>,
    /// When the sheet was made.
    pub made_at: String,
}

impl Drop for Sheet {
    /// The key does not stay behind.
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// A statement that ends an identity at a gateway.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SheetRetire {
    /// Where.
    pub gateway: String,
    /// The signed statement.
    pub statement: String,
}

/// Where a sheet was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SavedSheet {
    /// The file.
    pub path: String,
}

/// The handle that is held now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct HandleHeld {
    /// As the gateway writes it.
    pub handle: Option<String>,
}

/// What an identity says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Fields {
    /// The usual ones first.
    pub fields: Vec<Field>,
}

/// One field of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl Desk {
    /// Makes an identity, or restores one; the first makes the vault.
    pub async fn create_identity(&self, new: NewIdentity) -> Result<Identity, Fault> {
        let inner = &self.inner;
        let NewIdentity { name, passphrase, keychain, gateway, words } = new;
        // Before all else, so that they are wiped on whichever way this ends.
        let (passphrase, words) = (passphrase.map(Passphrase::new), words.map(Zeroizing::new));
        // All that can be wrong is looked at before anything is made.
        let gateway = Issuer::parse(gateway.trim()).map_err(|_| Fault::BadGateway)?;
        let name = name.trim().to_owned();
        if name.is_empty() || name.starts_with("did:") || !text::is_displayable(&name, MAX_NAME) {
            return Err(VaultError::BadName.into());
        }
        let words = words.map(|words| RecoveryWords::parse(&words)).transpose();
        let words = words.map_err(|error| Fault::WrongWords(error.to_string()))?;
        let applicant = Applicant { name: name.clone(), words, gateway };

        let _door = inner.door.lock().await;
        inner.lock_if_idle();
        let (open, turn) = {
            let state = inner.state();
            (state.vault.clone(), state.turn)
        };
        match open {
            Some(vault) => {
                let admitted = blocking(move || vault.admit(&applicant.newcomer())).await?;
                admitted.map_err(|error| inner.learn_from(error))?;
                inner.reload().await?;
            }
            None if inner.state().stage == super::view::Stage::Locked => return Err(Fault::Locked),
            None => {
                let vault = inner.make_vault(passphrase, keychain, applicant).await?;
                inner.enter(Arc::new(vault), turn).await?;
            }
        }
        let state = inner.state();
        let person = state.person(&name).ok_or(Fault::Locked)?;
        let crew: Vec<_> = state.crew.iter().map(|running| (running, running.wallet.snapshot())).collect();
        Ok(draw::identity(person, &crew))
    }

    /// The recovery sheet; for a vault with a passphrase that is asked for again.
    pub async fn recovery_sheet(&self, identity: &str, passphrase: Option<String>) -> Result<Sheet, Fault> {
        let sheet = self.inner.sheet(identity, passphrase.map(Passphrase::new)).await?;
        Ok(Sheet {
            name: sheet.name.clone(),
            did: sheet.did.to_string(),
            gateways: sheet.gateways.iter().map(ToString::to_string).collect(),
            words: sheet.words.list().into_iter().map(str::to_owned).collect(),
            retire: sheet
                .retire
                .iter()
                .map(|one| SheetRetire { gateway: one.gateway.to_string(), statement: one.statement.clone() })
                .collect(),
            made_at: sheet.made_at.to_string(),
        })
    }

    /// Writes the sheet into a file that only its owner reads.
    pub async fn save_sheet(
        &self,
        identity: &str,
        passphrase: Option<String>,
        path: Option<String>,
    ) -> Result<SavedSheet, Fault> {
        let sheet = self.inner.sheet(identity, passphrase.map(Passphrase::new)).await?;
        let language = self.inner.state().settings.language.spoken();
        let path = self.inner.place(path.as_deref(), "MiID recovery sheet", "txt")?;
        let written = path.clone();
        blocking(move || write(&written, sheet.to_text(language).as_bytes())).await??;
        // The sheet is there, whatever becomes of the note about it: that costs a reminder and nothing else.
        if let Err(error) = self.keep_sheet(identity).await {
            tracing::warn!(%error, "it could not be noted that the sheet was saved");
        }
        Ok(SavedSheet { path: path.display().to_string() })
    }

    /// Notes that the person has the sheet: they showed it by two of its words. No reminder of it any more.
    pub async fn keep_sheet(&self, identity: &str) -> Result<(), Fault> {
        let (vault, name) = (self.inner.vault()?, identity.to_owned());
        let noted = blocking(move || vault.keep_sheet(&name)).await?;
        noted.map_err(|error| self.inner.learn_from(error))?;
        self.inner.reload().await
    }

    /// Claims a handle, or lets go of the one held.
    pub async fn set_handle(&self, wallet: &str, handle: Option<&str>) -> Result<HandleHeld, Fault> {
        let handle = handle.map(Handle::parse).transpose().map_err(|_| Fault::BadHandle)?;
        if handle.as_ref().is_some_and(Handle::is_reserved) {
            return Err(Fault::BadHandle);
        }
        let held = self.inner.running(wallet)?.wallet.set_handle(handle.as_ref()).await?;
        self.inner.reload().await?;
        Ok(HandleHeld { handle: held.map(|handle| handle.to_string()) })
    }

    /// What an identity says about itself.
    pub async fn profile(&self, identity: &str) -> Result<Fields, Fault> {
        let (vault, name) = (self.inner.vault()?, identity.to_owned());
        let read = blocking(move || {
            vault.look(&name, |record| {
                let fields = record.profile.iter();
                fields.map(|(name, value)| Field { name: name.to_owned(), value: value.to_owned() }).collect()
            })
        });
        let fields = read.await?.map_err(|error| self.inner.learn_from(error))?;
        Ok(Fields { fields })
    }

    /// Says all of it anew: a field that is not named goes.
    pub async fn set_profile(
        &self,
        identity: &str,
        fields: BTreeMap<String, String>,
    ) -> Result<Fields, Fault> {
        let (vault, name) = (self.inner.vault()?, identity.to_owned());
        let kept = blocking(move || {
            let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            vault.update(&name, |record| Ok::<_, Fault>(record.profile.replace(fields)?))
        });
        kept.await??;
        self.profile(identity).await
    }

    /// Ends an identity at every gateway of its: every session ends, and it is over for good. Says how many
    /// sessions that were.
    pub async fn retire(
        &self,
        identity: &str,
        passphrase: Option<String>,
        confirm: &str,
    ) -> Result<super::Ended, Fault> {
        let (inner, passphrase) = (&self.inner, passphrase.map(Passphrase::new));
        let person = inner.person(identity)?;
        if confirm.trim() != person.name {
            return Err(Fault::BadValue("type the identity's name to end it".into()));
        }
        inner.ask_again(passphrase).await?;
        let crew: Vec<_> = inner.crew()?.into_iter().filter(|running| running.did == person.did).collect();
        let retires: Vec<_> = crew
            .into_iter()
            .map(|running| tokio::spawn(async move { running.wallet.retire().await }))
            .collect();
        let (mut ended, mut failed) = (0, None);
        for retire in retires {
            match retire.await.map_err(|_| Fault::Internal)? {
                Ok(retired) => ended += retired.ended,
                // Somebody was first, from another device or from the paper.
                Err(error) if error.code() == "did_retired" => {}
                Err(error) => failed = failed.or(Some(Fault::from(error))),
            }
        }
        inner.reload().await?;
        match failed {
            Some(fault) => Err(fault),
            None => Ok(super::Ended { ended: u32::try_from(ended).unwrap_or(u32::MAX) }),
        }
    }

    /// Forgets an identity on this computer. One that is not over needs its name typed, and the passphrase again:
    /// without its sheet it is gone.
    pub async fn remove_identity(
        &self,
        identity: &str,
        passphrase: Option<String>,
        confirm: &str,
    ) -> Result<(), Fault> {
        let passphrase = passphrase.map(Passphrase::new);
        let person = self.inner.person(identity)?;
        if person.retired_at.is_none() && confirm.trim() != person.name {
            return Err(Fault::BadValue("type the identity's name to remove it".into()));
        }
        if person.retired_at.is_none() {
            self.inner.ask_again(passphrase).await?;
        }
        let (vault, name) = (self.inner.vault()?, person.name);
        let removed = blocking(move || vault.remove_identity(&name)).await?;
        removed.map_err(|error| self.inner.learn_from(error))?;
        self.inner.reload().await
    }
}

impl Inner {
    /// The open vault.
    pub(super) fn vault(&self) -> Result<Arc<Vault>, Fault> {
        self.lock_if_idle();
        self.state().vault.clone().ok_or(Fault::Locked)
    }

    pub(super) fn person(&self, name: &str) -> Result<Person, Fault> {
        self.lock_if_idle();
        let state = self.state();
        if state.vault.is_none() {
            return Err(Fault::Locked);
        }
        state.person(name).cloned().ok_or(Fault::UnknownIdentity)
    }

    /// Asks for the passphrase again where there is one: an open window is not its owner.
    async fn ask_again(&self, passphrase: Option<Passphrase>) -> Result<(), Fault> {
        let vault = self.vault()?;
        if vault.sealed_by() == SealedBy::Keychain {
            return Ok(());
        }
        let passphrase = passphrase.unwrap_or_else(|| Passphrase::new(String::new()));
        blocking(move || vault.verify(&passphrase)).await?.map_err(|error| self.learn_from(error))
    }

    async fn sheet(&self, identity: &str, passphrase: Option<Passphrase>) -> Result<RecoverySheet, Fault> {
        let person = self.person(identity)?;
        self.ask_again(passphrase).await?;
        let vault = self.vault()?;
        let made = blocking(move || vault.recovery_sheet(&person.name)).await?;
        made.map_err(|error| self.learn_from(error))
    }

    /// Where a file of the person's goes: to `wanted`, or under a name of its own among their documents. Only
    /// below the folder of documents or the home folder, and into no hidden folder: what a page could make up is
    /// not to become a program that the desktop starts.
    pub(super) fn place(&self, wanted: Option<&str>, name: &str, extension: &str) -> Result<PathBuf, Fault> {
        let documents = self.options.documents.clone().unwrap_or_else(|| self.dir.clone());
        let stamp = self.now().to_string().replace([':', '.'], "-");
        let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) else {
            return Ok(documents.join(format!("{name} {}.{extension}", stamp.get(..19).unwrap_or(&stamp))));
        };
        let path = documents.join(wanted);
        let is_allowed = self.options.homes().any(|home| is_plainly_below(&path, &home))
            && path.extension().is_some_and(|found| found == extension);
        if is_allowed {
            Ok(path)
        } else {
            Err(Fault::BadValue(format!("choose a file that ends in .{extension}, in your own folder")))
        }
    }
}

impl super::Options {
    /// Below which folders files of the person's may be written.
    fn homes(&self) -> impl Iterator<Item = PathBuf> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        self.documents.clone().into_iter().chain(home)
    }
}

/// Below it by its letters, with no step up and no hidden folder in between.
fn is_plainly_below(path: &Path, home: &Path) -> bool {
    path.strip_prefix(home).is_ok_and(|rest| {
        rest.components().next().is_some()
            && rest.components().all(|part| {
                matches!(part, std::path::Component::Normal(name) if !name.to_string_lossy().starts_with('.'))
            })
    })
}

/// A file of the person's own, in a folder that may have to be made.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| FileError::new("make", folder, e))?;
    }
    files::create(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_persons_goes_below_their_folder_and_into_no_hidden_one() {
        let home = Path::new("/home/alice");
        for (path, is_allowed) in [
            ("/home/alice/sheet.txt", true),
            ("/home/alice/Documents/MiID/sheet.txt", true),
            ("/home/alice/.config/autostart/sheet.txt", false),
            ("/home/alice/../bob/sheet.txt", false),
            ("/home/alice", false),
            ("/home/alicexx/sheet.txt", false),
            ("/etc/sheet.txt", false),
        ] {
            assert_eq!(is_plainly_below(Path::new(path), home), is_allowed, "{path}");
        }
    }
}
