//! haproxy, which the edge is compared with: one thread on the same core, the same upstream, connections kept.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Result;

/// A running one.
pub struct Haproxy {
    child: Child,
    folder: tempfile::TempDir,
    /// `host:port`
    pub address: String,
}

impl Haproxy {
    /// Starts one before an upstream; `checks` are lines of its frontend, in which `{DIR}` is its folder.
    pub fn start(
        upstream: &str,
        checks: &str,
        prepare: impl FnOnce(&std::path::Path) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        prepare(folder.path())?;
        let port = miid_e2e::port::Port::take().number();
        let checks = checks.replace("{DIR}", &folder.path().display().to_string());
        let config = format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 2s\n  http-reuse always\nfrontend in\n  bind 127.0.0.1:{port}\n{checks}\n  default_backend out\nbackend out\n  server s {upstream}\n"
        );
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, config)?;
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program())
            .args(["-db", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()?;
        let address = format!("127.0.0.1:{port}");
        for _ in 0..200 {
            if std::net::TcpStream::connect(&address).is_ok() {
                return Ok(Self { child, folder, address });
            }
            std::thread::yield_now();
            std::process::Command::new("sleep").arg("0.02").status()?;
        }
        Err("haproxy did not start".into())
    }

    /// With RS256 checked on each request, and a token that holds.
    pub fn with_rs256(upstream: &str) -> Result<(Self, String)> {
        let checks = "  http-request set-var(txn.bearer) http_auth_bearer\n  http-request deny unless { var(txn.bearer),jwt_verify(\"RS256\",\"{DIR}/public.pem\") -m int 1 }";
        let proxy = Self::start(upstream, checks, |folder| {
            openssl(&["genrsa", "-out", "private.pem", "2048"], folder)?;
            openssl(&["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"], folder)
        })?;
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let text = format!(
            "{}.{}",
            part(r#"{"alg":"RS256","typ":"JWT"}"#),
            part(
                r#"{"iss":"http://127.0.0.1:14000","aud":"bench","sub":"0123456789abcdef012345","exp":4000000000}"#
            )
        );
        let folder = proxy.folder.path();
        std::fs::write(folder.join("text"), &text)?;
        openssl(&["dgst", "-sha256", "-sign", "private.pem", "-out", "signature", "text"], folder)?;
        let signature = URL_SAFE_NO_PAD.encode(std::fs::read(folder.join("signature"))?);
        Ok((proxy, format!("{text}.{signature}")))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/haproxy");
    if usual.exists() { usual } else { "haproxy".into() }
}

fn openssl(words: &[&str], folder: &std::path::Path) -> Result<()> {
    let ran = Command::new("openssl").args(words).current_dir(folder).stderr(Stdio::null()).status()?;
    if ran.success() { Ok(()) } else { Err("openssl failed".into()) }
}
