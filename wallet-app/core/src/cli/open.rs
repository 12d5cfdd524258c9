//! From arguments to an open wallet: which folder, which key to it, which identity, which gateway.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miid_protocol::Issuer;
use zeroize::Zeroizing;

use super::args::Args;
use super::failure::Failure;
use super::words::Words;
use crate::client::GatewayClient;
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::keychain::{KeyStore as _, KeychainError, SystemKeychain};
use crate::memory::VaultMemory;
use crate::seal::{Cost, MIN_PASSPHRASE, Passphrase};
use crate::settings::Settings;
use crate::stream::StreamSettings;
use crate::vault::{Enrolment, Newcomer, Opener, Outline, SealedBy, Vault, VaultError};
use crate::wallet::Wallet;

const PASSPHRASE_VARIABLE: &str = "MIID_WALLET_PASSPHRASE";

/// The wallet's folder.
pub(crate) fn dir(args: &Args) -> Result<PathBuf, Failure> {
    let chosen = args.dir.clone().or_else(crate::desk::default_dir);
    chosen.ok_or_else(|| Failure::usage("there is no home folder to keep a wallet in", "name one: --dir DIR"))
}

/// The settings; a damaged file is said and set aside.
pub(crate) fn settings(args: &Args) -> Result<Settings, Failure> {
    let loaded = Settings::load(&dir(args)?, &SystemClock)?;
    if let Some(aside) = loaded.set_aside {
        eprintln!(
            "miid-wallet: the settings were damaged; they were set aside as {}, and the usual ones hold",
            shown(&aside)
        );
    }
    Ok(loaded.settings)
}

/// Opens the vault that is there.
pub(crate) fn vault(args: &Args, words: Words) -> Result<Vault, Failure> {
    let dir = dir(args)?;
    let (sealed_by, _) = Vault::outline(&dir, &SystemClock)?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    match sealed_by {
        SealedBy::Keychain => Ok(Vault::open(&dir, &Opener::Keychain(&SystemKeychain), clock, entropy)?),
        SealedBy::Passphrase => {
            let passphrase = match given_passphrase(args, words)? {
                Some(passphrase) => passphrase,
                None => ask(words.ask_passphrase())?,
            };
            Ok(Vault::open(&dir, &Opener::Passphrase(&passphrase), clock, entropy)?)
        }
    }
}

/// Makes a vault where there is none, with its first identity: by a given passphrase, by the keychain where there
/// is one, or by a passphrase that the person makes up.
pub(crate) fn new_vault(
    args: &Args,
    keychain: bool,
    first: &Newcomer<'_>,
    words: Words,
) -> Result<(Vault, Outline), Failure> {
    let dir = dir(args)?;
    let create = |opener: &Opener<'_>| {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        Vault::create_with(&dir, opener, Cost::STANDARD, clock, entropy, first)
    };
    if keychain {
        return Ok(create(&Opener::Keychain(&SystemKeychain))?);
    }
    let passphrase = match given_passphrase(args, words)? {
        Some(passphrase) => passphrase,
        None => {
            // Whether there is one: asked for an entry that cannot exist.
            let there = matches!(SystemKeychain.load("is there a keychain"), Err(KeychainError::Missing));
            if there {
                return Ok(create(&Opener::Keychain(&SystemKeychain))?);
            }
            let passphrase = ask(words.new_passphrase())?;
            if passphrase.is_too_short() {
                return Err(VaultError::PassphraseTooShort.into());
            }
            if !passphrase.matches(&ask(words.once_more())?) {
                return Err(Failure::new("the two passphrases differ")
                    .hint("nothing was made; try again")
                    .code(2));
            }
            passphrase
        }
    };
    if passphrase.is_too_short() {
        let line = format!("a passphrase has at least {MIN_PASSPHRASE} characters");
        return Err(Failure::usage(line, "nothing was made; choose a longer one"));
    }
    Ok(create(&Opener::Passphrase(&passphrase))?)
}

fn given_passphrase(args: &Args, words: Words) -> Result<Option<Passphrase>, Failure> {
    if let Some(path) = &args.passphrase_file {
        let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|e| {
            Failure::new(format!("cannot read {}: {e}", path.display()))
                .code(2)
                .hint("it is named by --passphrase-file")
        })?;
        if is_open(path) {
            eprintln!("miid-wallet: {}", words.open_passphrase_file(&shown(path)));
        }
        let line = text.lines().next().unwrap_or_default().to_owned();
        return Ok(Some(Passphrase::new(line)));
    }
    match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(text) => Ok(Some(Passphrase::new(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::usage(format!("{PASSPHRASE_VARIABLE} is not text"), "set it to the passphrase"))
        }
    }
}

/// Whether others than its owner may read a file. Said and not refused: a secret that a container mounts
/// often is.
fn is_open(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    if !std::io::stdin().is_terminal() {
        let hint = format!("set {PASSPHRASE_VARIABLE}, or give --passphrase-file FILE");
        return Err(Failure::usage("the passphrase is needed, and there is no terminal to ask on", hint)
            .kind("no_passphrase"));
    }
    Ok(Passphrase::new(rpassword::prompt_password(prompt)?))
}

/// One identity, by its name or DID; the only one where nothing was said.
pub(crate) fn choose(identities: &[Outline], wanted: Option<&str>) -> Result<Outline, Failure> {
    let names = || identities.iter().map(|outline| outline.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, identities) {
        (Some(wanted), _) => {
            let found = identities.iter().find(|one| one.name == wanted || one.did.as_str() == wanted);
            found.cloned().ok_or_else(|| VaultError::NoSuchIdentity(wanted.to_owned()).into())
        }
        (None, [one]) => Ok(one.clone()),
        (None, []) => Err(Failure::new("there is no identity in this wallet")
            .code(7)
            .kind("no_wallet")
            .hint("make one: miid-wallet init --name <NAME>")),
        (None, _) => Err(Failure::usage(
            "there are several identities",
            format!("choose with --identity: {}", names()),
        )),
    }
}

/// An identity at a gateway, ready for anything.
pub(crate) struct Opened {
    pub(crate) outline: Outline,
    pub(crate) enrolment: Enrolment,
    pub(crate) vault: Arc<Vault>,
    client: GatewayClient,
}

impl Opened {
    /// A wallet that follows once it is told to.
    pub(crate) fn wallet(&self) -> Wallet {
        let memory = VaultMemory::new(self.vault.clone(), &self.outline.name);
        Wallet::new(self.client.clone(), Arc::new(memory), StreamSettings::default())
    }
}

/// Opens what the arguments name.
pub(crate) fn open(args: &Args, words: Words) -> Result<Opened, Failure> {
    let vault = vault(args, words)?;
    let (outline, enrolment) = choose_both(args, &vault)?;
    at(args, &Arc::new(vault), outline, enrolment)
}

/// The identity and the gateway that the arguments name.
pub(crate) fn choose_both(args: &Args, vault: &Vault) -> Result<(Outline, Enrolment), Failure> {
    let outline = choose(&vault.identities()?, args.identity.as_deref())?;
    let gateways = vault.look(&outline.name, |record| record.gateways.clone())?;
    let enrolment = choose_gateway(&gateways, args.gateway.as_ref())?;
    Ok((outline, enrolment))
}

/// An identity at one of its gateways.
pub(crate) fn at(
    args: &Args,
    vault: &Arc<Vault>,
    outline: Outline,
    enrolment: Enrolment,
) -> Result<Opened, Failure> {
    let identity = Arc::new(vault.identity(&outline.name)?);
    let issuer = enrolment.issuer.clone();
    let address = args.gateway_address.clone().unwrap_or_else(|| issuer.clone());
    if address != issuer && address.is_https() {
        return Err(Failure::usage("--gateway-address is for loopback addresses", "leave it away"));
    }
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let client = GatewayClient::with(identity, issuer, address, clock, entropy)?;
    Ok(Opened { outline, enrolment, vault: vault.clone(), client })
}

/// Asks for the passphrase once more, where one seals the wallet. One that was given by file or environment is the
/// answer to this question, too.
pub(crate) fn ask_again(args: &Args, vault: &Vault, words: Words) -> Result<(), Failure> {
    if vault.sealed_by() == SealedBy::Keychain {
        return Ok(());
    }
    let passphrase = match given_passphrase(args, words)? {
        Some(passphrase) => passphrase,
        None => ask(words.passphrase_again())?,
    };
    Ok(vault.verify(&passphrase)?)
}

/// One gateway of an identity; the only one where nothing was said.
pub(crate) fn choose_gateway(gateways: &[Enrolment], wanted: Option<&Issuer>) -> Result<Enrolment, Failure> {
    let names = || gateways.iter().map(|one| one.issuer.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, gateways) {
        (Some(wanted), _) => gateways.iter().find(|one| one.issuer == *wanted).cloned().ok_or_else(|| {
            let hint = format!("it is with {}; add it: miid-wallet enrol {wanted}", names());
            Failure::usage(format!("this identity is not enrolled with {wanted}"), hint)
        }),
        (None, [one]) => Ok(one.clone()),
        (None, _) => Err(Failure::usage(
            "this identity is enrolled with several gateways",
            format!("choose with --gateway: {}", names()),
        )),
    }
}

/// As text for a line.
pub(crate) fn shown(path: &Path) -> String {
    crate::request::plain(&path.display().to_string())
}
