//! A web server of a few lines, so that the demo has a page to fetch without another package.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};

/// Serves one page, for any request, until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: SocketAddr, text: &str) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        // One client that misbehaves must not end the server; its errors are its own.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read(&mut [0; 4096]);
        let body = format!("<!doctype html><title>{text}</title><h1>{text}</h1>\n");
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
    Ok(())
}
