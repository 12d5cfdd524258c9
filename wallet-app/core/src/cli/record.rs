//! `history`: what was asked and decided.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;

use super::args::{Args, HistoryArgs};
use super::failure::Failure;
use super::open;
use super::run::print_json;
use super::words::Words;
use crate::clock::{Clock as _, SystemClock};
use crate::history::{Entry, History, MAX_PAGE, Search, What};
use crate::request::plain;
use crate::vault::Vault;

/// Needs no key: the history lies in the clear.
pub(crate) fn history(args: &Args, wanted: &HistoryArgs, words: Words) -> Result<(), Failure> {
    let dir = open::dir(args)?;
    let (_, identities) = Vault::outline(&dir, &SystemClock)?;
    let did = match &args.identity {
        Some(wanted) => Some(open::choose(&identities, Some(wanted))?.did),
        None => None,
    };
    let history = History::new(&dir);
    if let Some(path) = &wanted.export {
        return export(&history, path, did.as_ref(), words);
    }
    let mut entries = Vec::new();
    let (text, most) = (wanted.search.as_deref().unwrap_or_default(), wanted.limit.unwrap_or(usize::MAX));
    let mut before = None;
    loop {
        let limit = most.saturating_sub(entries.len()).min(MAX_PAGE);
        let search =
            Search { text, identities: &identities, did: did.as_ref(), before: before.as_deref(), limit };
        let page = history.search(&search)?;
        if before.is_none() && page.damaged > 0 {
            eprintln!("miid-wallet: {}", words.damaged_lines(page.damaged));
        }
        before = page.entries.last().map(|found| found.id.clone());
        entries.extend(page.entries.into_iter().map(|found| found.entry));
        if !page.more || before.is_none() {
            break;
        }
    }
    entries.reverse();
    if wanted.json { print_json(&entries) } else { list(&entries, words) }
}

fn export(
    history: &History,
    path: &Path,
    did: Option<&miid_protocol::Did>,
    words: Words,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    if path == Path::new("-") {
        let (bytes, _) = history.to_json(did, now)?;
        return Ok(std::io::stdout().lock().write_all(&bytes)?);
    }
    let count = history.export(path, did, now)?;
    println!("{}", words.exported(count, &open::shown(path)));
    Ok(())
}

fn list(entries: &[Entry], words: Words) -> Result<(), Failure> {
    if entries.is_empty() {
        println!("{}", words.no_history());
    }
    let now = SystemClock.now();
    // Ending a session here is followed by the gateway's word that it ended: one line says both.
    let ended_here: HashSet<_> = entries
        .iter()
        .filter(|entry| entry.what == What::Revoked && entry.outcome == "done")
        .filter_map(|entry| entry.session_id)
        .collect();
    for entry in entries {
        if entry.what == What::SessionEnded && entry.session_id.is_some_and(|id| ended_here.contains(&id)) {
            continue;
        }
        let service = entry.service_name.as_deref().map(plain).unwrap_or_default();
        let (when, what) = (words.when(entry.at, now), words.what(entry.what));
        let mut line = format!("{}  {}  {service}", padded(&when, 20), padded(what, 14));
        if let Some(message) = &entry.step_up {
            line.push_str(&format!("  “{}”", plain(message)));
        }
        if !entry.shared.is_empty() {
            line.push_str(&format!("  ({})", plain(&entry.shared.join(", "))));
        }
        if let Some(reason) = &entry.reason {
            line.push_str(&format!("  ({})", plain(words.why(reason))));
        }
        if entry.outcome != "done" {
            line.push_str(&format!("  [{}]", plain(words.why(&entry.outcome))));
        }
        println!("{}", line.trim_end());
    }
    Ok(())
}

/// Filled up to a number of columns, of which Korean takes two per character.
fn padded(text: &str, columns: usize) -> String {
    let taken: usize = text.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(taken)))
}
