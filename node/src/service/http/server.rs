//! Listening, and serving one connection: everything a client can make us hold or wait for is bounded.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::auth::Caller;
use super::routes;
use crate::service::shared::Shared;

/// Connections served at once; further ones wait in the kernel's queue.
const MAX_CLIENTS: usize = 64;
/// A client has this long to send its request head, and may stay silent this long between requests.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A whole connection may last this long, unless its answer is a stream ([`Lasting`]).
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// Octets of a request head.
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
    gate: Gate,
    tcp: JoinSet<()>,
    unix: JoinSet<()>,
    port: u16,
    exposed: bool,
    socket: Option<PathBuf>,
}

/// What accepting a connection needs.
#[derive(Clone)]
struct Gate {
    router: Router,
    clients: Arc<Semaphore>,
    /// Open connections outlive the listener they came by, not the server.
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Gate {
    /// Waits until another client may come.
    async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.clients.clone().acquire_owned().await.ok()
    }

    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        caller: Caller,
        permit: OwnedSemaphorePermit,
    ) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        while connections.try_join_next().is_some() {}
        let router = self.router.clone();
        connections.spawn(async move {
            serve(stream, caller, router).await;
            drop(permit);
        });
    }
}

impl Server {
    /// A server that does not listen yet.
    pub fn new(shared: Arc<Shared>, port: u16) -> Self {
        Server {
            gate: Gate {
                router: routes::router(shared),
                clients: Arc::new(Semaphore::new(MAX_CLIENTS)),
                connections: Arc::default(),
            },
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

    fn listen_on(&mut self, address: SocketAddr) -> io::Result<()> {
        let socket = crate::os::tcp::bind(address)?;
        socket.listen(128)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into())?;
        let gate = self.gate.clone();
        self.tcp.spawn(async move {
            while let Some(permit) = gate.admit().await {
                match listener.accept().await {
                    Ok((stream, from)) => gate.serve(stream, Caller::Tcp(from.ip()), permit),
                    Err(error) => pause(error).await,
                }
            }
        });
        Ok(())
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
        let gate = self.gate.clone();
        self.unix.spawn(async move {
            while let Some(permit) = gate.admit().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let Ok(peer) = stream.peer_cred() else { continue };
                        gate.serve(stream, Caller::Unix { uid: peer.uid(), gid: peer.gid() }, permit);
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

/// Accepting fails for a while when descriptors run out; the listener must neither end nor spin.
async fn pause(error: io::Error) {
    tracing::debug!(%error, "a connection to the control API was not accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, caller: Caller, router: Router) {
    let lasting = Lasting::default();
    let streams = lasting.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(streams.clone());
        let router = router.clone();
        async move {
            let response: Response<Body> = router.oneshot(request).await?;
            Ok::<_, std::convert::Infallible>(response)
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
