//! The key file, and what is made from it. A service must present some secrets again (its refresh
//! tokens, a `code_verifier`, an authorization code after a crash), so hashes do not do: verifiers are
//! derived and never stored, the rest is sealed with XChaCha20-Poly1305. Whoever has the database
//! without the key file has nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::outside::Outside;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It can be neither read nor made.
    #[error("the key file {path} can be neither read nor made")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{0} is no key file of this program (one line of 43 base64url characters)")]
    Malformed(PathBuf),
    /// Others could read it.
    #[error("the key file {0} can be read by others; give it mode 0600")]
    TooOpen(PathBuf),
}

/// The keys derived from the key file, one for each purpose.
pub(crate) struct Keys {
    seal: XChaCha20Poly1305,
    verifier: Zeroizing<[u8; 32]>,
    hint: Zeroizing<[u8; 32]>,
    check: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Reads the key file, or makes it (mode 0600) where there is none.
    pub(crate) fn open(path: &Path, outside: &Outside) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        match read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                create(path, &Zeroizing::new(outside.random::<32>())).map_err(io)?;
                // What stands there now, which may be another instance's that was quicker.
                read(path)
            }
            result => result,
        }
        .map(|master| Self::derive(&master))
    }

    fn derive(master: &[u8; 32]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, master);
        let expand = |label: &str| {
            let mut key = Zeroizing::new([0; 32]);
            match hkdf.expand(label.as_bytes(), &mut *key) {
                Ok(()) => key,
                Err(_) => unreachable!("32 bytes are a valid length"),
            }
        };
        Self {
            seal: XChaCha20Poly1305::new((&*expand("miid-service 1 seal")).into()),
            verifier: expand("miid-service 1 code_verifier"),
            hint: expand("miid-service 1 hint"),
            check: expand("miid-service 1 check"),
        }
    }

    /// The PKCE verifier (RFC 7636) of the login with this seed.
    pub(crate) fn code_verifier(&self, seed: &str) -> Zeroizing<String> {
        Zeroizing::new(digest(&self.verifier, seed))
    }

    /// Whom somebody asked for, so that two can be compared and neither be read.
    pub(crate) fn hint_digest(&self, normalised_hint: &str) -> String {
        digest(&self.hint, normalised_hint)
    }

    /// What a database remembers, to notice another key file.
    pub(crate) fn check(&self) -> String {
        digest(&self.check, "check")
    }

    /// Seals `secret` for one place (`what` and the row's id), where alone it can be opened.
    pub(crate) fn seal(&self, outside: &Outside, what: &str, row: &str, secret: &str) -> String {
        let nonce: [u8; 24] = outside.random();
        let place = format!("{what}:{row}");
        let payload = Payload { msg: secret.as_bytes(), aad: place.as_bytes() };
        match self.seal.encrypt(&XNonce::from(nonce), payload) {
            Ok(sealed) => URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()),
            Err(_) => unreachable!("a token is far shorter than what one nonce can seal"),
        }
    }

    /// Opens what [`Keys::seal`] made; `None` where it was made elsewhere or altered.
    pub(crate) fn open_sealed(&self, what: &str, row: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(24)?;
        let nonce: [u8; 24] = nonce.try_into().ok()?;
        let place = format!("{what}:{row}");
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let opened = self.seal.decrypt(&XNonce::from(nonce), payload).ok()?;
        String::from_utf8(opened).ok().map(Zeroizing::new)
    }
}

fn digest(key: &[u8; 32], text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { unreachable!("HMAC takes any key") };
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata(path).map_err(io)?.mode() & 0o077 != 0 {
            return Err(KeyError::TooOpen(path.to_owned()));
        }
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).unwrap_or_default());
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(Zeroizing::new(key))
}

/// Writes a whole file beside and links it into place: nobody ever reads half a key, and of two
/// instances that start at once the second keeps the first one's.
fn create(path: &Path, key: &[u8; 32]) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&beside)?;
    let line = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(key)));
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_only_in_its_own_place() {
        let outside = Outside::real();
        let keys = Keys::derive(&[7; 32]);
        let sealed = keys.seal(&outside, "refresh", "row", "miid_rt_secret");
        assert!(!sealed.contains("secret"));
        assert_eq!(keys.open_sealed("refresh", "row", &sealed).expect("opens").as_str(), "miid_rt_secret");
        assert!(keys.open_sealed("refresh", "other row", &sealed).is_none());
        assert!(keys.open_sealed("access", "row", &sealed).is_none());
        assert!(Keys::derive(&[8; 32]).open_sealed("refresh", "row", &sealed).is_none());
        for broken in ["", "AAAA", &sealed[1..]] {
            assert!(keys.open_sealed("refresh", "row", broken).is_none());
        }
    }

    #[test]
    fn the_key_file_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("below").join("service.key");
        let first = Keys::open(&path, &Outside::real()).expect("made");
        let again = Keys::open(&path, &Outside::real()).expect("read");
        assert_eq!(first.check(), again.check());
        assert!(miid_protocol::text::is_code_verifier(&first.code_verifier("seed")));
        assert_eq!(std::fs::read_dir(folder.path().join("below")).expect("folder").count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
            assert!(matches!(Keys::open(&path, &Outside::real()), Err(KeyError::TooOpen(_))));
        }
    }
}
