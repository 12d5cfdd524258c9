//! A connection that became a WebSocket: bytes both ways, until either side ends, nothing is said for too long,
//! or the session behind it is over.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::forward::{Outgoing, SWITCHED, uri, version};
use super::gate::Talk;
use super::pool::Link;
use super::refusal::Refusal;
use super::request_body::RequestBody;
use super::response_body::{Bounds, Endless, ResponseBody};

/// Bytes carried at once.
const PIECE: usize = 16 * 1024;

/// Whether a request asks to become a WebSocket: by the same rule as [`super::head`], which holds back what
/// follows until it is decided.
pub(crate) fn is_asked(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let word = |name, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    *method == Method::GET
        && version == Version::HTTP_11
        && word(UPGRADE, "websocket")
        && word(CONNECTION, "upgrade")
}

/// Tells the gate what became of a request to upgrade, whatever becomes of it.
pub(crate) struct Deciding(pub(crate) Talk, pub(crate) bool);

impl Drop for Deciding {
    fn drop(&mut self) {
        self.0.decide(self.1);
    }
}

impl Outgoing<'_> {
    /// Asks the upstream to switch; where it does, both connections are joined.
    pub(crate) async fn upgrade(
        mut self,
        caller: OnUpgrade,
        mut deciding: Deciding,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let route = self.route.clone();
        self.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        self.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let (_, upstream) = route.choose(&[]).ok_or(Refusal::NoUpstream)?;
        let opened = Link::open_to_upgrade(upstream, route.timeouts.connect).await;
        let mut sender = opened.map_err(|_| {
            upstream.well.failed();
            Refusal::NoUpstream
        })?;
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.method;
        *request.uri_mut() = uri(route.protocol, self.target, &self.host);
        *request.version_mut() = version(route.protocol);
        *request.headers_mut() = self.headers;
        let answer = tokio::time::timeout(route.timeouts.first_byte, sender.send_request(request)).await;
        let mut response = answer.map_err(|_| Refusal::Timeout)?.map_err(|_| Refusal::BadGateway)?;
        upstream.well.answered();
        if response.status() != SWITCHED {
            super::headers::drop_hop_by_hop(response.headers_mut());
            let bounds = Bounds {
                begun: Instant::now(),
                idle: route.timeouts.idle,
                deadline: None,
                access: self.access.map(|(access, _)| access),
                endless: None,
            };
            return Ok(response.map(|incoming| ResponseBody::theirs(incoming, None, bounds)));
        }
        let switched = response
            .headers()
            .get(UPGRADE)
            .is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !switched {
            return Err(Refusal::BadGateway);
        }
        let behind = hyper::upgrade::on(&mut response);
        super::headers::drop_hop_by_hop(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        tokio::spawn(join(caller, behind, self.access, route.timeouts.idle, self.stopping.clone()));
        deciding.1 = true;
        Ok(response.map(|_| ResponseBody::ours(None)))
    }
}

/// Carries bytes until one of them has enough.
async fn join(
    caller: OnUpgrade,
    behind: OnUpgrade,
    access: Option<(Arc<Access>, Instant)>,
    idle: Duration,
    stopping: CancellationToken,
) {
    let (Ok(caller), Ok(behind)) = tokio::join!(caller, behind) else { return };
    let (from_caller, to_caller) = tokio::io::split(TokioIo::new(caller));
    let (from_behind, to_behind) = tokio::io::split(TokioIo::new(behind));
    // Either direction shows that both live.
    let beat = tokio::sync::watch::Sender::new(Instant::now());
    let (closing, until) = match &access {
        Some((access, until)) => (access.lease.closing(), Some(*until)),
        None => (CancellationToken::new(), None),
    };
    let quiet = async {
        loop {
            let last = *beat.borrow();
            if last.elapsed() >= idle {
                return;
            }
            tokio::time::sleep_until(last + idle).await;
        }
    };
    tokio::select! {
        () = async { tokio::join!(carry(from_caller, to_behind, &beat), carry(from_behind, to_caller, &beat)); } => {}
        () = closing.cancelled() => {}
        () = Endless::over(until, stopping) => {}
        () = quiet => {}
    }
}

async fn carry(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    beat: &tokio::sync::watch::Sender<Instant>,
) where
    TokioIo<Upgraded>: AsyncRead,
{
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        beat.send_replace(Instant::now());
        if to.write_all(&piece[..length]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
