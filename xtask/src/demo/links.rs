//! While the demo runs, `miid://` links of this desktop open its wallet, so that "Open in wallet" on the demo's
//! page does. Afterwards everything is as it was. Linux only: elsewhere an installed app has the links.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{path, process};

const DESKTOP_FILE: &str = "miid-demo.desktop";
const SCHEME: &str = "x-scheme-handler/miid";

/// Dropping it puts things back.
pub(super) struct Links {
    desktop_file: PathBuf,
    /// The person's own choices, as they were and as they are now.
    choices: PathBuf,
    before: Option<Vec<u8>>,
    now: Option<Vec<u8>>,
}

impl Links {
    /// Makes this program, on this folder, the one that opens them; `None` where that cannot be.
    pub(super) fn take_over(program: &Path, folder: &Path) -> Result<Option<Self>> {
        if !cfg!(target_os = "linux") || path::program(&["xdg-mime"]).is_none() {
            return Ok(None);
        }
        let (Some(data), Some(config)) =
            (base("XDG_DATA_HOME", ".local/share"), base("XDG_CONFIG_HOME", ".config"))
        else {
            return Ok(None);
        };
        let folder_of_files = data.join("applications");
        std::fs::create_dir_all(&folder_of_files)
            .with_context(|| format!("cannot make {}", folder_of_files.display()))?;
        let choices = config.join("mimeapps.list");
        let mut links = Self {
            desktop_file: folder_of_files.join(DESKTOP_FILE),
            before: std::fs::read(&choices).ok(),
            now: None,
            choices,
        };
        let text = entry(program, folder);
        std::fs::write(&links.desktop_file, text)
            .with_context(|| format!("cannot write {}", links.desktop_file.display()))?;
        process::capture(process::command("xdg-mime").args(["default", DESKTOP_FILE, SCHEME]))?;
        links.now = std::fs::read(&links.choices).ok();
        Ok(Some(links))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.desktop_file);
        let found = std::fs::read(&self.choices).ok();
        let _ = match (&self.before, found) {
            // Nobody has chosen anything else in the meantime.
            (Some(before), found) if found == self.now => std::fs::write(&self.choices, before),
            (None, found) if found == self.now => std::fs::remove_file(&self.choices),
            (_, Some(found)) => std::fs::write(&self.choices, without_ours(&String::from_utf8_lossy(&found))),
            (_, None) => Ok(()),
        };
    }
}

/// What other programs have written stays.
fn without_ours(choices: &str) -> String {
    let is_ours = |line: &&str| line.starts_with(SCHEME) && line.contains(DESKTOP_FILE);
    choices.split_inclusive('\n').filter(|line| !is_ours(line)).collect()
}

/// <https://specifications.freedesktop.org/desktop-entry-spec/latest/exec-variables.html>
fn entry(program: &Path, folder: &Path) -> String {
    let quoted = |path: &Path| {
        let mut text = String::from('"');
        for c in path.display().to_string().chars() {
            // Once for the quotes, and once more since a backslash is one for the file's format, too.
            match c {
                '"' | '`' | '$' => text.extend(['\\', '\\', c]),
                '\\' => text.push_str(r"\\\\"),
                '%' => text.push_str("%%"),
                c => text.push(c),
            }
        }
        text.push('"');
        text
    };
    format!(
        "[Desktop Entry]\nType=Application\nName=MiID Wallet (demo)\nNoDisplay=true\nTerminal=false\n\
         Exec={} --dir {} -- %u\nMimeType={SCHEME};\n",
        quoted(program),
        quoted(folder)
    )
}

/// A folder of the XDG base directory specification.
fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    set.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_strange_characters_is_one_word() {
        let text = entry(Path::new("/a b/app"), Path::new("/100% $HOME/\"x\""));
        assert!(text.contains(r#"Exec="/a b/app" --dir "/100%% \\$HOME/\\"x\\"" -- %u"#), "{text}");
    }

    #[test]
    fn only_our_own_choice_is_taken_back() {
        let choices =
            "[Default Applications]\ntext/html=x.desktop\nx-scheme-handler/miid=miid-demo.desktop\n";
        assert_eq!(without_ours(choices), "[Default Applications]\ntext/html=x.desktop\n");
        assert_eq!(
            without_ours("x-scheme-handler/miid=other.desktop\n"),
            "x-scheme-handler/miid=other.desktop\n"
        );
    }
}
