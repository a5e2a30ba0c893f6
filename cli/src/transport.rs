//! One request, one reply: HTTP/1.1 to the daemon over its Unix socket, or over TCP with the token.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use crate::args::{Common, Personality};
use crate::failure::{Failure, code};
use crate::home;

/// Largest reply that is read, in bytes.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;
/// Longest line of an answer that comes line by line, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// How long one request may take altogether.
const TIMEOUT: Duration = Duration::from_secs(60);
/// HTTP status by which the daemon refuses a caller it does not know.
const UNAUTHORIZED: u16 = 401;

/// Media type and bytes of a request's body.
type Content = (&'static str, Bytes);

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// Body, at most [`MAX_REPLY`] bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Why there was no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Something answers there, and closed the connection before it answered us.
    Closed,
    /// Something else; the text says what.
    Other(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection failed"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed => {
                f.write_str("connection failed (the service closed the connection without an answer)")
            }
            Self::Other(reason) => write!(f, "connection failed ({reason})"),
        }
    }
}

impl From<io::Error> for Unreachable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// TCP address and token.
#[derive(Clone)]
struct Tcp {
    address: SocketAddr,
    token: Zeroizing<String>,
}

/// The ways to the daemon, found once and used for every request.
pub struct Client {
    unix: Option<PathBuf>,
    tcp: Option<Tcp>,
    missing: Option<Failure>,
    timeout: Duration,
}

impl Client {
    /// Finds the ways to the daemon before any command is looked at, as the reference tool does.
    ///
    /// The Unix socket needs neither port nor token and is preferred when it exists; `-p`, `-H` and `-T` ask for TCP.
    ///
    /// # Errors
    /// Exit code 2: no port or no token and no socket either; a host that is no IP address.
    pub fn find(program: &str, common: &Common) -> Result<Self, Failure> {
        let home = common.home();
        let forced = common.port.is_some() || common.host.is_some() || common.token.is_some();
        let socket = home.join(home::SOCKET_NAME);
        // A socket we may not open counts as absent: TCP with a token of our own may still work.
        let open = || nix::unistd::eaccess(&socket, nix::unistd::AccessFlags::W_OK).is_ok();
        let unix = (!forced && open()).then(|| socket.clone());
        let (tcp, missing) = match Self::find_tcp(program, common, &home) {
            Ok(tcp) => (Some(tcp), None),
            Err(failure) if unix.is_some() => (None, Some(failure)),
            Err(failure) => return Err(failure),
        };
        Ok(Self { unix, tcp, missing, timeout: TIMEOUT })
    }

    /// Why there is only the Unix socket: the failure to report if the daemon does not accept us there.
    pub fn missing(&self) -> Option<&Failure> {
        self.missing.as_ref()
    }

    /// Whether requests go by the Unix socket first.
    pub fn by_socket(&self) -> bool {
        self.unix.is_some()
    }

    /// Another limit for one request than the usual 60 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn find_tcp(program: &str, common: &Common, home: &Path) -> Result<Tcp, Failure> {
        let host = match &common.host {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(host) => host.parse().map_err(|_| {
                Failure::usage(format!(
                    "{program}: the host must be an IP address such as 127.0.0.1, not {host}"
                ))
            })?,
        };
        let shown = home.display();
        let Some(port) = common.port.or_else(|| home::read_port(home)) else {
            let missing = if Personality::of(program) == Personality::Reference {
                Failure::usage(format!("{program}: missing port and zerotier-one.port not found in {shown}"))
            } else {
                Failure::error(format!("{program}: ztnode is not running (no zerotier-one.port in {shown})"))
                    .with_code(code::SERVICE)
            };
            return Err(missing.hint(format!(
                "No node has started with this home directory, or it is not readable for you. Start one \
                 (`systemctl start ztnode`, or `ztnode {shown}`), or name another home with --home DIR."
            )));
        };
        let token = match &common.token {
            Some(token) => Zeroizing::new(token.trim().to_owned()),
            None => home::find_token(home).ok_or_else(|| {
                Failure::usage(format!(
                    "{program}: authtoken.secret not found or readable in {shown} (try again as root)"
                ))
                .hint(format!(
                    "Run it with sudo, or join the group that owns {shown}/{}, or copy the token to \
                     ~/.zeroTierOneAuthToken.",
                    home::SOCKET_NAME
                ))
            })?,
        };
        Ok(Tcp { address: SocketAddr::new(host, port), token })
    }

    /// Sends one request and reads the whole reply.
    ///
    /// Over the Unix socket first; TCP takes over when nobody listens on the socket, we may not open it, or the
    /// daemon does not accept our user there. In each of these cases the request was not carried out.
    ///
    /// # Errors
    /// [`Unreachable`] when no reply came; an HTTP status that is not 200 is a reply.
    pub fn request(&self, method: Method, path: &str, body: Option<String>) -> Result<Reply, Unreachable> {
        self.carry(&method, path, body.map(|text| ("application/json", Bytes::from(text))))
    }

    /// As [`Client::request`], with a body that is no JSON.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn upload(&self, path: &str, body: Vec<u8>) -> Result<Reply, Unreachable> {
        self.carry(&Method::POST, path, Some(("application/octet-stream", Bytes::from(body))))
    }

    fn carry(&self, method: &Method, path: &str, body: Option<Content>) -> Result<Reply, Unreachable> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Unreachable::Other(error.to_string()))?;
        let work = async {
            match &self.unix {
                Some(socket) => match self.over_unix(socket, method, path, body.clone()).await {
                    Ok(Some(reply)) if reply.status != UNAUTHORIZED || self.tcp.is_none() => Ok(reply),
                    Err(unreachable) => Err(unreachable),
                    Ok(_) => self.over_tcp(method, path, body).await,
                },
                None => self.over_tcp(method, path, body).await,
            }
        };
        let timeout = self.timeout;
        runtime.block_on(async {
            tokio::time::timeout(timeout, work).await.unwrap_or(Err(Unreachable::TimedOut))
        })
    }

    /// Sends a GET whose answer does not end, and waits for its head. The way to the daemon is found as for
    /// [`Client::request`].
    ///
    /// # Errors
    /// [`Unreachable`] when no reply came.
    pub fn stream(&self, path: &str) -> Result<Streaming, Unreachable> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Unreachable::Other(error.to_string()))?;
        let open = async {
            if let Some(socket) = &self.unix {
                let stream = tokio::net::UnixStream::connect(socket).await;
                match (stream, &self.tcp) {
                    (Ok(stream), tcp) => {
                        let reply = begin(stream, request(&Method::GET, path, None, None)?).await?;
                        if reply.status().as_u16() != UNAUTHORIZED || tcp.is_none() {
                            return Ok(reply);
                        }
                    }
                    (Err(error), None) => return Err(error.into()),
                    (Err(_), Some(_)) => {}
                }
            }
            let tcp = self.tcp.as_ref().ok_or(Unreachable::Refused)?;
            let stream = tokio::net::TcpStream::connect(tcp.address).await?;
            begin(stream, request(&Method::GET, path, Some(&tcp.token), None)?).await
        };
        let timeout = self.timeout;
        let reply = runtime.block_on(async {
            tokio::time::timeout(timeout, open).await.unwrap_or(Err(Unreachable::TimedOut))
        })?;
        let status = reply.status().as_u16();
        Ok(Streaming { runtime, status, body: reply.into_body(), buffer: Vec::new(), ended: false })
    }

    /// `None`: this way is closed, try the next one.
    async fn over_unix(
        &self,
        socket: &Path,
        method: &Method,
        path: &str,
        body: Option<Content>,
    ) -> Result<Option<Reply>, Unreachable> {
        match tokio::net::UnixStream::connect(socket).await {
            Ok(stream) => exchange(stream, request(method, path, None, body)?).await.map(Some),
            Err(_) if self.tcp.is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn over_tcp(
        &self,
        method: &Method,
        path: &str,
        body: Option<Content>,
    ) -> Result<Reply, Unreachable> {
        let Some(tcp) = &self.tcp else { return Err(Unreachable::Refused) };
        let stream = tokio::net::TcpStream::connect(tcp.address).await?;
        exchange(stream, request(method, path, Some(&tcp.token), body)?).await
    }
}

fn request(
    method: &Method,
    path: &str,
    token: Option<&str>,
    body: Option<Content>,
) -> Result<Request<Full<Bytes>>, Unreachable> {
    let mut builder = Request::builder().method(method).uri(encode_path(path)).header(HOST, "127.0.0.1");
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| Unreachable::Other("the token has characters that no token has".into()))?;
        value.set_sensitive(true);
        builder = builder.header("X-ZT1-Auth", value);
    }
    let body = match body {
        Some((kind, body)) => {
            builder = builder.header(CONTENT_TYPE, kind);
            body
        }
        None => Bytes::new(),
    };
    builder
        .body(Full::new(body))
        .map_err(|error| Unreachable::Other(format!("no request can be made of {path}: {error}")))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, Unreachable>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreadable(&error))?;
    // Ends with the connection; what went wrong there comes out of `send_request` or of the body as well.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| unreadable(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_REPLY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Unreachable::Other(format!("the reply is longer than {} MiB", MAX_REPLY >> 20))
        } else {
            Unreachable::Other(format!("the reply broke off: {error}"))
        }
    })?;
    driver.abort();
    Ok(Reply { status, body: body.to_bytes().to_vec() })
}

fn unreadable(error: &hyper::Error) -> Unreachable {
    let reset = || {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        source.is_some_and(|source| source.kind() == io::ErrorKind::ConnectionReset)
    };
    if error.is_incomplete_message() || reset() {
        Unreachable::Closed
    } else {
        Unreachable::Other(format!("no valid HTTP reply: {error}"))
    }
}

/// Sends a request and waits for the head of the answer; the connection lives as long as the runtime.
async fn begin<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unreachable>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreadable(&error))?;
    // What goes wrong there comes out of the body as well.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| unreadable(&error))
}

/// An answer that comes line by line.
pub struct Streaming {
    runtime: tokio::runtime::Runtime,
    status: u16,
    body: Incoming,
    buffer: Vec<u8>,
    ended: bool,
}

impl Streaming {
    /// HTTP status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The next bytes of an answer that has no lines, `None` when it has ended. Not to be mixed with
    /// [`Streaming::next_line`].
    ///
    /// # Errors
    /// The connection broke off.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>, Unreachable> {
        loop {
            match self.runtime.block_on(self.body.frame()) {
                None => return Ok(None),
                // Trailers are no bytes of the answer.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(unreadable(&error)),
            }
        }
    }

    /// The next line without its end, waiting for it as long as it takes; `None` when the answer has ended. Bytes that
    /// are no UTF-8 are replaced.
    ///
    /// # Errors
    /// The connection broke off, or a line is longer than [`MAX_LINE`].
    pub fn next_line(&mut self) -> Result<Option<String>, Unreachable> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..=end);
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Unreachable::Other(format!("a line is longer than {MAX_LINE} bytes")));
            }
            if self.ended {
                let rest = std::mem::take(&mut self.buffer);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }
            match self.runtime.block_on(self.body.frame()) {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(unreadable(&error)),
            }
        }
    }
}

/// Escapes what may not stand in a request target (blanks, controls, non-ASCII …); everything else stays as typed.
fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_target_may_hold_is_escaped() {
        assert_eq!(
            encode_path("/controller/network/1122334455______?a=b&c=%20"),
            "/controller/network/1122334455______?a=b&c=%20"
        );
        assert_eq!(encode_path("/a b\r\nX: y#é"), "/a%20b%0D%0AX:%20y%23%C3%A9");
    }
}
