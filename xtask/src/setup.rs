//! What the other commands need on this machine: looked for, installed through apt where that may be
//! done, and otherwise named with exactly what to type.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{path, process, say};

/// What something is needed for, so that a command asks only for its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling the Rust programs, all but the wallet's window.
    Build,
    /// Compiling the wallet's window, and running it.
    Window,
    /// Building and checking the pages.
    Pages,
    /// Running the pages in a real browser and taking pictures of them.
    Browser,
    /// A desktop of the tests' own for the wallet's window.
    Desktop,
    /// Making and trying the package.
    Package,
    /// A private PostgreSQL.
    Database,
    /// Fuzzing the parsers.
    Fuzz,
    /// What benches compare with.
    Bench,
}

impl Purpose {
    /// Every purpose there is.
    pub(crate) const ALL: [Self; 8] = [
        Self::Build,
        Self::Window,
        Self::Pages,
        Self::Browser,
        Self::Desktop,
        Self::Package,
        Self::Database,
        Self::Fuzz,
    ];
}

/// One thing that must be there.
struct Need {
    purpose: Purpose,
    /// How a person calls it.
    name: &'static str,
    /// Debian's packages that bring it.
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

/// The oldest Node that Vite runs on.
const NODE: (u32, u32) = (20, 19);

const NEEDS: [Need; 22] = [
    Need {
        purpose: Purpose::Build,
        name: "a C compiler",
        packages: &["gcc", "libc6-dev"],
        is_there: || path::program(&["cc"]).is_some(),
    },
    Need {
        purpose: Purpose::Pages,
        name: "Node.js 20.19 or newer, with npm",
        packages: &["nodejs", "npm"],
        is_there: || {
            node_version().is_some_and(|version| version >= NODE) && path::program(&["npm"]).is_some()
        },
    },
    Need {
        purpose: Purpose::Browser,
        name: "Chromium",
        packages: &["chromium"],
        is_there: || path::program(&["chromium"]).is_some(),
    },
    Need {
        purpose: Purpose::Browser,
        name: "Chromium's WebDriver",
        packages: &["chromium-driver"],
        is_there: || path::program(&["chromedriver"]).is_some(),
    },
    Need {
        purpose: Purpose::Browser,
        name: "a font with Korean, for the pictures",
        packages: &["fontconfig", "fonts-noto-cjk"],
        is_there: || has_font("ko"),
    },
    Need {
        purpose: Purpose::Window,
        name: "pkg-config",
        packages: &["pkg-config"],
        is_there: || path::program(&["pkg-config"]).is_some(),
    },
    Need {
        purpose: Purpose::Window,
        name: "WebKitGTK 4.1, to compile with",
        packages: &["libwebkit2gtk-4.1-dev"],
        is_there: || process::succeeds(process::command("pkg-config").args(["--exists", "webkit2gtk-4.1"])),
    },
    Need {
        purpose: Purpose::Window,
        // Opened when the wallet starts, not linked: a build would not miss it.
        name: "the library that puts icons into trays",
        packages: &["libayatana-appindicator3-1"],
        is_there: || has_library("libayatana-appindicator3.so.1"),
    },
    Need {
        purpose: Purpose::Window,
        name: "xdg-mime, by which the wallet becomes the one for miid:// links",
        packages: &["xdg-utils"],
        is_there: || path::program(&["xdg-mime"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "WebKit's WebDriver",
        packages: &["webkit2gtk-driver"],
        is_there: || path::program(&["WebKitWebDriver"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "an X server without a screen",
        packages: &["xvfb"],
        is_there: || path::program(&["Xvfb"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "a session bus",
        packages: &["dbus-daemon"],
        is_there: || path::program(&["dbus-daemon"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "a window manager",
        packages: &["openbox"],
        is_there: || path::program(&["openbox"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "a panel with a tray, and icons for it",
        packages: &["xfce4-panel", "adwaita-icon-theme"],
        is_there: || path::program(&["xfce4-panel"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "something that presses keys, and something that takes pictures",
        packages: &["xdotool", "imagemagick"],
        is_there: || path::program(&["xdotool"]).is_some() && path::program(&["import"]).is_some(),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "a font",
        packages: &["fontconfig", "fonts-dejavu-core"],
        is_there: || has_font("en"),
    },
    Need {
        purpose: Purpose::Desktop,
        name: "a desktop's keychain",
        packages: &["gnome-keyring"],
        is_there: || path::program(&["gnome-keyring-daemon"]).is_some(),
    },
    Need {
        purpose: Purpose::Package,
        name: "what makes Debian packages",
        packages: &["dpkg-dev", "binutils"],
        is_there: || {
            ["dpkg-deb", "dpkg-shlibdeps", "strip"].iter().all(|name| path::program(&[name]).is_some())
        },
    },
    Need {
        purpose: Purpose::Database,
        name: "PostgreSQL's server programs",
        packages: &["postgresql"],
        is_there: || path::postgres_bin().is_some(),
    },
    Need {
        purpose: Purpose::Database,
        name: "setpriv, to start PostgreSQL as another user than root",
        packages: &["util-linux"],
        is_there: || !nix::unistd::geteuid().is_root() || path::program(&["setpriv"]).is_some(),
    },
    Need {
        purpose: Purpose::Bench,
        name: "haproxy, which the edge is compared with",
        packages: &["haproxy", "openssl"],
        is_there: || Path::new("/usr/sbin/haproxy").exists() || path::program(&["haproxy"]).is_some(),
    },
    Need {
        purpose: Purpose::Fuzz,
        name: "a C++ compiler, for libFuzzer",
        packages: &["g++"],
        is_there: || path::program(&["c++"]).is_some(),
    },
];

/// Makes sure that all of it is there. Silent but for one line when it is.
pub(crate) fn run(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes);
    if !missing.is_empty() {
        install(&missing)?;
        let still = self::missing(purposes);
        if !still.is_empty() {
            return by_hand(&still, "apt-get ran, but these are still missing");
        }
    }
    if purposes.contains(&Purpose::Fuzz) {
        crate::fuzz::install()?;
    }
    say::step("Set-up: everything needed is here");
    Ok(())
}

fn missing(purposes: &[Purpose]) -> Vec<&'static Need> {
    // Other systems bring their own web view and tray.
    let counts = |need: &&Need| cfg!(target_os = "linux") || need.purpose != Purpose::Window;
    NEEDS
        .iter()
        .filter(counts)
        .filter(|need| purposes.contains(&need.purpose) && !(need.is_there)())
        .collect()
}

fn install(missing: &[&'static Need]) -> Result<()> {
    let Some(apt) = Apt::find() else {
        return by_hand(
            missing,
            "apt-get cannot be used from here (not Debian-like, or neither root nor `sudo -n`)",
        );
    };
    for need in missing {
        say::step(&format!("Missing: {}", need.name));
    }
    apt.run(&["update", "-qq"])?;
    let (fitting, unfitting): (Vec<_>, Vec<_>) =
        missing.iter().copied().partition(|need| need.purpose != Purpose::Pages || apt_has_node());
    if !fitting.is_empty() {
        let packages: Vec<_> = fitting.iter().flat_map(|need| need.packages).copied().collect();
        let words = [&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat();
        if apt.run(&words).is_err() {
            process::go_on()?;
            let still: Vec<_> = missing.iter().copied().filter(|need| !(need.is_there)()).collect();
            return by_hand(&still, "apt-get failed; its own words are above");
        }
    }
    if !unfitting.is_empty() {
        return by_hand(&unfitting, "apt has only an older one");
    }
    Ok(())
}

/// An error that says exactly what to type.
fn by_hand(missing: &[&'static Need], why: &str) -> Result<()> {
    let mut words = String::from("something is missing on this machine:");
    for need in missing {
        words.push_str(&format!("\n    {}", need.name));
    }
    words.push_str(&format!("\n  {why}. Type this, then try again:"));
    let packages: Vec<_> = missing
        .iter()
        .filter(|need| need.purpose != Purpose::Pages)
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    if !packages.is_empty() {
        if cfg!(target_os = "macos") {
            words.push_str("\n    xcode-select --install; brew install postgresql@15 chromium chromedriver font-noto-sans-cjk");
        } else {
            let packages = packages.join(" ");
            words.push_str(&format!(
                "\n    sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}"
            ));
            if !Path::new("/etc/debian_version").exists() {
                words.push_str("\n    (these are Debian's names; your system's package manager has its own)");
            }
        }
    }
    if missing.iter().any(|need| need.purpose == Purpose::Pages) {
        let found = match node_version() {
            Some((major, minor)) => format!("found {major}.{minor}"),
            None => "found none".to_owned(),
        };
        words.push_str(&format!(
            "\n    nvm install 22        (Node.js by its version manager; {found}; https://nodejs.org has other ways)"
        ));
    }
    bail!(words)
}

/// apt-get, with the rights to install.
struct Apt {
    sudo: bool,
}

impl Apt {
    fn find() -> Option<Self> {
        path::program(&["apt-get"])?;
        if nix::unistd::geteuid().is_root() {
            return Some(Self { sudo: false });
        }
        // Only where no password is asked for: a prompt in the middle of a test run hangs it.
        let may = path::program(&["sudo"]).is_some()
            && process::succeeds(process::command("sudo").args(["-n", "true"]));
        may.then_some(Self { sudo: true })
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        say::step(&format!("apt-get {}", words.join(" ")));
        let mut command = if self.sudo {
            let mut command = process::command("sudo");
            command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        } else {
            let mut command = process::command("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        process::run(command.args(words).stdin(std::process::Stdio::null()))
    }
}

/// Whether apt would install a Node that is new enough (Debian 12 has 18).
fn apt_has_node() -> bool {
    let Ok(policy) = process::capture(process::command("apt-cache").args(["policy", "nodejs"])) else {
        return false;
    };
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.and_then(version).is_some_and(|version| version >= NODE)
}

fn node_version() -> Option<(u32, u32)> {
    path::program(&["node"])?;
    let text = process::capture(process::command("node").arg("--version")).ok()?;
    version(text.trim().trim_start_matches('v'))
}

/// The first two numbers of a version, a distribution's epoch left out.
fn version(text: &str) -> Option<(u32, u32)> {
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn has_font(language: &str) -> bool {
    process::capture(process::command("fc-list").args([&format!(":lang={language}"), "family"]))
        .is_ok_and(|families| !families.trim().is_empty())
}

/// Whether the loader finds a library of this name.
fn has_library(name: &str) -> bool {
    // Not in every user's PATH.
    let ldconfig = path::program(&["ldconfig"]).unwrap_or_else(|| "/sbin/ldconfig".into());
    process::capture(process::command(ldconfig).arg("-p"))
        .is_ok_and(|libraries| libraries.lines().any(|line| line.split_whitespace().next() == Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_or_without_what_distributions_add() {
        assert_eq!(version("20.19.2"), Some((20, 19)));
        assert_eq!(version("18.20.4+dfsg-1~deb12u1"), Some((18, 20)));
        assert_eq!(version("1:22.1~rc1"), Some((22, 1)));
        assert_eq!(version("(none)"), None);
    }
}
