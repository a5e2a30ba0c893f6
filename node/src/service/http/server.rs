//! Listening, and serving one connection: everything a client can make us hold or wait for is bounded.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tower::ServiceExt;

use super::auth::Caller;
use super::clients::{Busy, Clients, Connection};
use super::routes;
use crate::service::shared::Shared;

/// A client has this long to send its request head, and may stay silent this long between requests.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A whole connection may last this long, unless its answer is a stream ([`Lasting`]).
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// After a connection for which another had to go, the next one by that door waits so long: whoever makes many of them must not
/// keep the control loop busy.
const CROWDED: Duration = Duration::from_millis(2);
/// Octets of a request head, the empty line included.
const MAX_HEAD: usize = 32 << 10;
/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// Set by a handler whose answer goes on until the client leaves.
#[derive(Clone, Default)]
pub(super) struct Lasting(Arc<AtomicBool>);

impl Lasting {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The listeners of the control API. Dropping it closes them and all connections.
pub struct Server {
    by_tcp: Gate,
    by_socket: Gate,
    for_metrics: Gate,
    metrics: BTreeMap<SocketAddr, AbortHandle>,
    metrics_tasks: JoinSet<()>,
    tcp: JoinSet<()>,
    unix: JoinSet<()>,
    port: u16,
    exposed: bool,
    socket: Option<PathBuf>,
}

/// What accepting a connection needs, for one door.
#[derive(Clone)]
struct Gate {
    router: Router,
    clients: Clients,
    /// Open connections outlive the listener they came by, not the server.
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Gate {
    /// Serves a connection in a task of its own. Returns when the next one may come.
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, caller: Caller) {
        let place = self.clients.enter(caller);
        let crowded = place.as_ref().is_none_or(|place| place.crowded);
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            while connections.try_join_next().is_some() {}
            let router = self.router.clone();
            match place {
                Some(place) => connections.spawn(async move {
                    tokio::select! {
                        () = serve(stream, caller, place.connection.clone(), router) => {}
                        () = place.connection.ended() => {
                            tracing::debug!(?caller, "a connection to the control API was ended to make room");
                        }
                    }
                }),
                None => connections.spawn(refuse(stream)),
            };
        }
        if crowded {
            tokio::time::sleep(CROWDED).await;
        }
    }
}

/// Says that everybody who is connected is busy.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Who is gone needs no answer.
    let _ = tokio::time::timeout(CROWDED, stream.write_all(BUSY)).await;
}

impl Server {
    /// A server that does not listen yet.
    pub fn new(shared: Arc<Shared>, port: u16) -> Self {
        let router = routes::router(shared.clone());
        let gate = |router: &Router| Gate {
            router: router.clone(),
            clients: Clients::default(),
            connections: Arc::default(),
        };
        Server {
            by_tcp: gate(&router),
            by_socket: gate(&router),
            for_metrics: gate(&routes::metrics_router(shared)),
            metrics: BTreeMap::new(),
            metrics_tasks: JoinSet::new(),
            tcp: JoinSet::new(),
            unix: JoinSet::new(),
            port,
            exposed: false,
            socket: None,
        }
    }

    /// Listens on TCP: loopback only, or everywhere when `exposed`. One family is enough.
    ///
    /// # Errors
    /// Neither family can be listened on: the IPv4 reason.
    pub async fn listen_tcp(&mut self, exposed: bool) -> io::Result<()> {
        if !self.tcp.is_empty() && exposed == self.exposed {
            return Ok(());
        }
        // The narrow and the wide listener exclude each other: the old ones have to be gone.
        self.tcp.shutdown().await;
        self.exposed = exposed;
        let (v4, v6) = if exposed {
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        } else {
            (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST))
        };
        let results = [v4, v6].map(|ip| self.listen_on(SocketAddr::new(ip, self.port)));
        match results {
            [Err(error), Err(_)] => Err(error),
            [v4, v6] => {
                for error in [v4, v6].into_iter().filter_map(Result::err) {
                    tracing::debug!(%error, "the control API listens on one IP family only");
                }
                Ok(())
            }
        }
    }

    /// Listens for scrapers on exactly these endpoints, besides the API: they may have `/metrics` and nothing else. What is
    /// listened on already goes on. Says where that is not possible, and why.
    pub fn listen_metrics(&mut self, endpoints: &[SocketAddr]) -> Vec<(SocketAddr, io::Error)> {
        self.metrics.retain(|endpoint, task| {
            let wanted = endpoints.contains(endpoint);
            if !wanted {
                task.abort();
            }
            wanted
        });
        let mut failed = Vec::new();
        for endpoint in endpoints.iter().copied() {
            if self.metrics.contains_key(&endpoint) {
                continue;
            }
            match accept_on(endpoint, self.for_metrics.clone(), &mut self.metrics_tasks) {
                Ok(task) => {
                    self.metrics.insert(endpoint, task);
                }
                Err(error) => failed.push((endpoint, error)),
            }
        }
        failed
    }

    fn listen_on(&mut self, address: SocketAddr) -> io::Result<()> {
        accept_on(address, self.by_tcp.clone(), &mut self.tcp).map(drop)
    }

    /// Listens on a Unix socket; a stale one is replaced.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn listen_unix(&mut self, path: PathBuf) -> io::Result<()> {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
        self.socket = Some(path);
        let gate = self.by_socket.clone();
        self.unix.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let Ok(peer) = stream.peer_cred() else { continue };
                        gate.serve(stream, Caller::Unix { uid: peer.uid(), gid: peer.gid() }).await;
                    }
                    Err(error) => pause(error).await,
                }
            }
        });
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Accepts connections in a task of its own, until that is aborted.
fn accept_on(address: SocketAddr, gate: Gate, tasks: &mut JoinSet<()>) -> io::Result<AbortHandle> {
    let socket = crate::os::tcp::bind(address)?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    Ok(tasks.spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => gate.serve(stream, Caller::Tcp(from.ip())).await,
                Err(error) => pause(error).await,
            }
        }
    }))
}

/// Accepting fails for a while when descriptors run out; the listener must neither end nor spin.
async fn pause(error: io::Error) {
    tracing::debug!(%error, "a connection to the control API was not accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// An answer on its way; the connection is busy until it is gone.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Octets of a request's head as it was sent, but for blanks around values. The parser's own limit is one of its buffer, which
/// may hold almost twice as much.
fn head_length(request: &Request<Incoming>) -> usize {
    const FRAME: usize = "  HTTP/1.1\r\n\r\n".len();
    let line = request.method().as_str().len() + request.uri().to_string().len() + FRAME;
    let headers =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + headers.sum::<usize>()
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    client: Connection,
    router: Router,
) {
    let lasting = Lasting::default();
    let streams = lasting.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let busy = client.busy();
        let too_long = head_length(&request) > MAX_HEAD;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(client.clone());
        request.extensions_mut().insert(streams.clone());
        let router = router.clone();
        async move {
            let response: Response<Body> = if too_long {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()
            } else {
                router.oneshot(request).await?
            };
            Ok::<_, std::convert::Infallible>(response.map(|body| Answer { body, _busy: busy }))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .auto_date_header(false)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = match tokio::time::timeout(CONNECTION_TIME, &mut connection).await {
        Err(_) if lasting.0.load(Ordering::Relaxed) => connection.await,
        Err(_) => return,
        Ok(ended) => ended,
    };
    if let Err(error) = ended {
        tracing::trace!(%error, ?caller, "connection to the control API ended");
    }
}
