//! The history, searched and exported.

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::{Desk, blocking};
use crate::history::{Entry, History, Search};
use crate::vault::Outline;

/// Most entries in one answer.
const MAX_PAGE: usize = 200;

/// What is looked for.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Any part of a name; empty is everything.
    #[serde(default)]
    pub query: String,
    /// One identity's only.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub identity: Option<String>,
    /// Older than the entry of this id.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub before: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// What was found, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct HistoryPage {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// Whether there are older ones.
    pub more: bool,
}

/// Something that was decided, or happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct HistoryEntry {
    /// For the next page.
    pub id: String,
    /// When.
    pub at: String,
    /// Whose: the identity's name, or its short DID where it is not here any more.
    pub identity: String,
    /// Where.
    pub gateway: String,
    /// What.
    pub what: String,
    /// Whose service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub service_name: Option<String>,
    /// Its `client_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub service_id: Option<String>,
    /// What a step-up was for, in the service's words; a sign-in has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub step_up: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reason: Option<String>,
    /// `done`, or why not.
    pub outcome: String,
    /// Names of what was shared.
    pub shared: Vec<String>,
    /// What was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub statement: Option<String>,
}

/// Where the history was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ExportedHistory {
    /// The file.
    pub path: String,
    /// How many entries.
    pub entries: usize,
}

impl Desk {
    /// Looks something up. Not while it is locked: where somebody signs in is nobody else's business.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Fault> {
        self.inner.vault()?;
        let outlines = self.inner.state().outline.clone();
        let did = match &query.identity {
            Some(name) => Some(self.inner.person(name)?.did),
            None => None,
        };
        let dir = self.inner.dir.clone();
        let found = blocking(move || {
            let search = Search {
                text: &query.query,
                identities: &outlines,
                did: did.as_ref(),
                before: query.before.as_deref(),
                limit: query.limit.clamp(1, MAX_PAGE),
            };
            let page = History::new(&dir).search(&search)?;
            let entries =
                page.entries.into_iter().map(|found| shown(found.id, found.entry, &outlines)).collect();
            Ok::<_, crate::files::FileError>(HistoryPage { entries, more: page.more })
        });
        Ok(found.await??)
    }

    /// Writes all of it into a new file that only its owner reads.
    pub async fn export_history(&self, path: Option<&str>) -> Result<ExportedHistory, Fault> {
        self.inner.vault()?;
        let path = self.inner.place(path, "MiID history", "json")?;
        let (dir, written, now) = (self.inner.dir.clone(), path.clone(), self.inner.now());
        let entries = blocking(move || {
            let (bytes, entries) = History::new(&dir).to_json(None, now)?;
            super::people::write(&written, &bytes)?;
            Ok::<_, crate::files::FileError>(entries)
        });
        let entries = entries.await??;
        Ok(ExportedHistory { path: path.display().to_string(), entries })
    }
}

fn shown(id: String, entry: Entry, outlines: &[Outline]) -> HistoryEntry {
    let plain = |text: String| crate::request::plain(&text);
    let known = outlines.iter().find(|outline| outline.did == entry.did);
    let what = serde_json::to_value(entry.what).ok();
    HistoryEntry {
        id,
        at: entry.at.to_string(),
        identity: known.map_or_else(|| crate::identity::short(&entry.did), |outline| outline.name.clone()),
        gateway: entry.gateway.to_string(),
        what: what.and_then(|what| what.as_str().map(str::to_owned)).unwrap_or_default(),
        service_name: entry.service_name.map(plain),
        service_id: entry.service_id.map(|id| id.to_string()),
        step_up: entry.step_up.map(plain),
        reason: entry.reason.map(plain),
        outcome: plain(entry.outcome),
        shared: entry.shared.into_iter().map(plain).collect(),
        statement: entry.statement.map(plain),
    }
}
