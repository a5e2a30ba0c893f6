//! One small file by https from a place that somebody else named.
//!
//! Whoever names it must not gain anything by it: the name is looked up once and connected to as it was found, addresses that are
//! only reachable from here are taken when the URL itself is one, no redirect is followed, and size and time are bounded.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::join_token::Url;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What all of it may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What connecting to one of several addresses may take.
const CONNECTING: Duration = Duration::from_secs(5);

/// The file that a URL leads to, which has at most `most` octets.
///
/// # Errors
/// Why it cannot be had, in one line.
pub(crate) fn get(url: &str, most: usize) -> Result<Vec<u8>, String> {
    let url = Url::parse(url)?;
    let config = config()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    let got = runtime.block_on(async {
        let limited = tokio::time::timeout(LIMIT, fetch(&url, config, most)).await;
        limited.unwrap_or_else(|_| Err(format!("no complete answer within {} s", LIMIT.as_secs())))
    });
    // A look-up that goes on in the background is not waited for.
    runtime.shutdown_background();
    got
}

/// The certificates that this system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn config() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this system trusts no certificate authority{why}: install the package ca-certificates, or name a file of \
             certificates by SSL_CERT_FILE"
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn fetch(url: &Url<'_>, config: Arc<ClientConfig>, most: usize) -> Result<Vec<u8>, String> {
    let host = url.host;
    let name = match url.ip {
        Some(ip) => ServerName::from(ip),
        None => ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a host"))?,
    };
    let stream = connect(&addresses(url).await?).await?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| format!("no secure connection to {host}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("{host} speaks no HTTP: {}", innermost(&error)))?;
    let driver = tokio::spawn(connection);
    let request = Request::get(url.path)
        .header(HOST, url.authority)
        .header(USER_AGENT, concat!("ztnode-cli/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("no request can be made of it: {error}"))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| format!("{host} gives no answer: {}", innermost(&error)))?;
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = crate::text::printable(&to.chars().take(200).collect::<String>());
        return Err(format!("{host} redirects to {to}, and redirects are not followed"));
    }
    if status != StatusCode::OK {
        return Err(format!("{host} answers {}", status.as_u16()));
    }
    let too_long = || format!("{host} answers with more than {most} octets, the most that a planet can have");
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > most as u64) {
        return Err(too_long());
    }
    let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_long()
        } else {
            format!("the answer of {host} broke off: {}", innermost(&*error))
        }
    })?;
    driver.abort();
    Ok(body.to_bytes().to_vec())
}

/// Where to connect to, looked up once.
async fn addresses(url: &Url<'_>) -> Result<Vec<SocketAddr>, String> {
    if let Some(ip) = url.ip {
        return Ok(vec![SocketAddr::new(ip, url.port)]);
    }
    let host = url.host;
    let found = tokio::net::lookup_host((host, url.port))
        .await
        .map_err(|error| format!("{host} cannot be looked up: {error}"))?;
    allowed(host, found.collect())
}

/// Those of a name's addresses that it may lead to.
fn allowed(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let (open, closed): (Vec<_>, Vec<_>) = found.into_iter().partition(|to| is_public(to.ip()));
    match (open.is_empty(), closed.first()) {
        (false, _) => Ok(open),
        (true, Some(closed)) => Err(format!(
            "{host} leads to {}, which is no public address: such a server has to be named by its address in the URL",
            closed.ip()
        )),
        (true, None) => Err(format!("{host} has no address")),
    }
}

/// Whether an address is one of the public internet, and none that only reaches this machine or the networks it is in.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let local = match ip.octets() {
        // This host, and addresses shared behind a provider's NAT.
        [0, ..] | [100, 64..=127, ..] => true,
        // Protocol assignments, relays to IPv6, benchmarks.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
    };
    !local
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // Translated to IPv4 somewhere on the way: what counts is where it comes out.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Tunnels that lead anywhere, and what is for protocols.
        [0x2001, 0..0x200, ..] => false,
        // Only this can be routed; IPv4 in IPv6, unique local, link-local and multicast are not in it.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Connects to the first that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = String::new();
    for to in addresses {
        let error = match tokio::time::timeout(CONNECTING, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        why = format!("no connection to {to}: {error}");
    }
    Err(why)
}

/// What was the matter at the bottom of it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(below) = at.source() {
        at = below;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_only_reachable_from_here_are_not_public() {
        for open in [
            "80.0.1.1",
            "9.9.9.9",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00::1",
            "64:ff9b::909:909",
            "2002:909:909::1",
        ] {
            assert!(is_public(open.parse().unwrap()), "{open}");
        }
        for closed in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:9.9.9.9",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::909:909",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:10::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(closed.parse().unwrap()), "{closed}");
        }
    }

    #[test]
    fn a_name_leads_to_public_addresses_or_nowhere() {
        let of = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(allowed("x", of(&["9.9.9.9:443"])), Ok(of(&["9.9.9.9:443"])));
        assert_eq!(allowed("x", of(&["127.0.0.1:443", "9.9.9.9:443"])), Ok(of(&["9.9.9.9:443"])));
        let why = allowed("x", of(&["[::1]:443", "10.0.0.1:443"])).unwrap_err();
        assert!(why.contains("x leads to ::1, which is no public address"), "{why}");
        assert!(allowed("x", Vec::new()).is_err());
    }
}
