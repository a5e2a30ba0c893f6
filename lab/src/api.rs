//! The control API of a daemon in a namespace: one HTTP/1.1 request per connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::namespace::Namespace;

/// A reply: status code and body. An empty body is `null`; one that is not JSON is a string.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

/// Sends one request to 127.0.0.1:`port` in `namespace`, authenticated by `token`.
///
/// # Errors
/// When nothing listens, nothing answers within `limit`, or the answer is no HTTP.
pub fn request(
    namespace: &Namespace,
    port: u16,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&str>,
    limit: Duration,
) -> Result<Reply> {
    let what = || format!("{method} {path} in {}", namespace.name());
    let mut stream = namespace
        .inside(|| TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), limit))?
        .with_context(what)?;
    stream.set_read_timeout(Some(limit))?;
    let body = body.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-ZT1-Auth: {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .with_context(what)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(what)?;
    parse(&bytes).with_context(what)
}

fn parse(bytes: &[u8]) -> Result<Reply> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the reply has no header")?;
    let header = String::from_utf8_lossy(&bytes[..end]);
    let Some(status) = header.split(' ').nth(1).and_then(|code| code.parse().ok()) else {
        bail!("no HTTP status in {:?}", header.lines().next());
    };
    let text = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()))
    };
    Ok(Reply { status, body, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_parsed() {
        let reply = parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((reply.status, &reply.body["a"]), (200, &Value::from(1)));
        assert!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap().body.is_null());
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nplain").unwrap().body, Value::from("plain"));
        assert!(parse(b"rubbish").is_err());
    }
}
