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
                create(path, &Zeroizing::new(outside.random::<32>()), outside).map_err(io)?;
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

/// Makes a folder that other users cannot look into, where it is missing: key and database lie there.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Writes a whole file beside and links it into place: nobody ever reads half a key, and of two
/// instances that start at once the second keeps the first one's. The name beside cannot be guessed, so
/// nobody else's file or link is ever written to.
fn create(path: &Path, key: &[u8; 32], outside: &Outside) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private_folder(folder)?;
    let beside = folder.join(format!(".key-{}", URL_SAFE_NO_PAD.encode(outside.random::<9>())));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let line = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(key)));
    let written =
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).and_then(
            |()| match std::fs::hard_link(&beside, path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                result => result,
            },
        );
    let _ = std::fs::remove_file(&beside);
    written?;
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
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

    #[test]
    fn what_lies_beside_the_key_file_is_never_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let beside = folder.path().join(format!("service.key.{}.new", std::process::id()));
        std::fs::write(&beside, "somebody's").expect("written");
        let outside = Outside::real();
        Keys::open(&folder.path().join("service.key"), &outside).expect("made");
        assert_eq!(std::fs::read_to_string(&beside).expect("kept"), "somebody's");

        // One that came first, whole, is kept; and nothing is left of the second.
        let path = folder.path().join("first.key");
        create(&path, &[1; 32], &outside).expect("made");
        create(&path, &[2; 32], &outside).expect("kept");
        assert_eq!(*read(&path).expect("whole"), [1; 32]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 3);
    }
}
