//! One line per request: its name, who, which route, what became of it. Never a token, a path or a query. Lines
//! are collected and written a few times a second: a system call for each would cost more than forwarding.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use miid_protocol::Timestamp;
use tokio_util::sync::CancellationToken;

use super::ids::RequestId;

/// Between two writes.
const EVERY: Duration = Duration::from_millis(200);
/// More than this is not kept: whoever reads is too slow, and requests do not wait for logs.
const MOST: usize = 4 << 20;

/// What is to be said of a request.
pub(crate) struct Line<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request_id: &'a RequestId,
    pub(crate) subject: &'a str,
    pub(crate) route: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) verdict: &'a str,
    pub(crate) took: Duration,
}

/// The log of one instance.
pub(crate) struct AccessLog {
    lines: Mutex<String>,
    json: bool,
}

impl AccessLog {
    pub(crate) fn new(json: bool) -> Self {
        Self { lines: Mutex::default(), json }
    }

    /// One more line. Everything in it is a plain word: names of ours, and what was checked to be one.
    pub(crate) fn add(&self, line: &Line<'_>) {
        let method = match line.method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let (at, id, took_us) = (line.at, line.request_id.as_str(), line.took.as_micros());
        let (subject, route, verdict, status) =
            (line.subject, line.route, line.verdict, line.status.as_u16());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() > MOST {
            return;
        }
        let _ = if self.json {
            writeln!(
                lines,
                r#"{{"timestamp":"{at}","level":"INFO","target":"edge","request_id":"{id}","subject":"{subject}","route":"{route}","method":"{method}","status":{status},"verdict":"{verdict}","took_us":{took_us}}}"#
            )
        } else {
            writeln!(
                lines,
                "{at}  INFO edge: request_id={id} subject={subject} route={route} method={method} status={status} verdict={verdict} took_us={took_us}"
            )
        };
    }

    /// Writes what was collected, until stopped.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self.write();
        }
        self.write();
    }

    fn write(&self) {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty() {
            let _ = std::io::stderr().write_all(lines.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_where_logs_are() {
        let log = AccessLog::new(true);
        let (method, request_id) = (Method::GET, RequestId::of(&http::HeaderMap::new()));
        log.add(&Line {
            at: Timestamp::from_millis(0),
            request_id: &request_id,
            subject: "s",
            route: "orders",
            method: &method,
            status: StatusCode::OK,
            verdict: "ok",
            took: Duration::from_micros(7),
        });
        let text = log.lines.lock().expect("lines").clone();
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["route"], &value["took_us"]), (&"orders".into(), &7.into()));
    }
}
