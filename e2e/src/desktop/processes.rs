//! What runs on a desktop, from the kernel's own list.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// The file name of its program.
    pub(super) name: String,
    /// Its command line, words apart.
    pub(super) words: String,
}

impl Process {
    /// Every process whose home this is, and which so was started on its desktop.
    pub(super) fn of(home: &Path) -> Vec<Self> {
        let needle = [b"HOME=".as_slice(), home.as_os_str().as_bytes()].concat();
        let entries = std::fs::read_dir("/proc").expect("this is Linux").flatten();
        entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let folder = entry.path();
                // One that ended in this moment, or has ended and waits to be noticed, has no environment.
                let environment = std::fs::read(folder.join("environ")).ok()?;
                if !environment.split(|byte| *byte == 0).any(|line| line == needle) {
                    return None;
                }
                let words = std::fs::read(folder.join("cmdline")).ok()?;
                let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
                let program = words.split(' ').next().unwrap_or_default();
                let name = program.rsplit('/').next().unwrap_or_default().to_owned();
                Some(Self { pid, name, words })
            })
            .collect()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended in this moment.
        let _ = nix::sys::signal::kill(Pid::from_raw(self.pid), signal);
    }

    /// Its proportional share of memory in KiB: what is shared is counted once over all who share it.
    pub(super) fn memory_kib(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
            .unwrap_or_default()
    }
}
