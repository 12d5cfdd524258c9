//! One line per request: its name, who, which route, what became of it. Never a token, a path or a query. Lines
//! are collected and written a few times a second: a system call for each would cost more than forwarding.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use miid_protocol::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::ids::RequestId;

/// Between two writes.
const EVERY: Duration = Duration::from_millis(200);
/// More than this is not kept: whoever reads is too slow, and requests do not wait for logs.
const MOST: usize = 4 << 20;
/// For the last lines of an instance that stops.
const LAST: Duration = Duration::from_secs(1);

/// What is to be said of a request.
pub(crate) struct Line<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request_id: &'a RequestId,
    pub(crate) subject: &'a str,
    pub(crate) route: &'a str,
    /// None where what came was no request.
    pub(crate) method: Option<&'a Method>,
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
        let method = match line.method.map(Method::as_str) {
            Some(known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS")) => known,
            Some(_) => "other",
            None => "-",
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

    /// Writes what was collected, until stopped. On a thread of its own: whoever reads may be slow, and nobody
    /// else is to wait for them.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        self.write_to(std::io::stderr(), stop).await;
    }

    async fn write_to(&self, mut to: impl std::io::Write + Send + 'static, stop: CancellationToken) {
        let (lines, mut next) = mpsc::channel::<String>(1);
        let (done, is_done) = oneshot::channel::<()>();
        let writer = std::thread::Builder::new().name("edge-log".into()).spawn(move || {
            while let Some(lines) = next.blocking_recv() {
                let _ = to.write_all(lines.as_bytes());
            }
            let _ = done.send(());
        });
        if let Err(error) = writer {
            tracing::error!(%error, "there is no access log");
        }
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if let Ok(place) = lines.try_reserve()
                && let collected = self.take()
                && !collected.is_empty()
            {
                place.send(collected);
            }
        }
        let last = async {
            let _ = lines.send(self.take()).await;
            drop(lines);
            let _ = is_done.await;
        };
        let _ = tokio::time::timeout(LAST, last).await;
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_one(log: &AccessLog) {
        let (method, request_id) = (Method::GET, RequestId::of(&http::HeaderMap::new()));
        log.add(&Line {
            at: Timestamp::from_millis(0),
            request_id: &request_id,
            subject: "s",
            route: "orders",
            method: Some(&method),
            status: StatusCode::OK,
            verdict: "ok",
            took: Duration::from_micros(7),
        });
    }

    /// A reader that takes one piece, and then nothing more until it is told to.
    struct Slow(std::sync::mpsc::Sender<usize>, std::sync::mpsc::Receiver<()>);

    impl std::io::Write for Slow {
        fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(piece.len());
            let _ = self.1.recv();
            Ok(piece.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_holds_up_neither_the_program_nor_its_end() {
        let (log, stop) = (AccessLog::new(false), CancellationToken::new());
        let (wrote, writes) = std::sync::mpsc::channel();
        let (go_on, may) = std::sync::mpsc::channel();
        add_one(&log);
        let writing = log.write_to(Slow(wrote, may), stop.clone());
        let beside = async {
            while writes.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            // It is stuck now; on this one thread everything else goes on.
            add_one(&log);
            stop.cancel();
        };
        let both = async { tokio::join!(writing, beside) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it ends");
        drop(go_on);
    }

    #[tokio::test]
    async fn the_last_lines_are_written_before_the_end() {
        let (log, stop) = (AccessLog::new(false), CancellationToken::new());
        let (wrote, writes) = std::sync::mpsc::channel();
        let (go_on, may) = std::sync::mpsc::channel();
        drop(go_on);
        add_one(&log);
        stop.cancel();
        log.write_to(Slow(wrote, may), stop).await;
        assert!(writes.try_recv().is_ok_and(|length| length > 0));
    }

    #[test]
    fn a_line_is_json_where_logs_are() {
        let log = AccessLog::new(true);
        add_one(&log);
        let text = log.lines.lock().expect("lines").clone();
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["route"], &value["took_us"]), (&"orders".into(), &7.into()));
    }
}
