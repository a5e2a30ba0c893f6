//! Who may ask what.
//!
//! Checked before routing, so an unknown path without a token is 401, not 404.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use controller::Origin;
use nix::unistd::{Gid, Uid, User};
use protocol::inet::Prefix;
use subtle::ConstantTimeEq;

use super::answer::{failure, json};
use super::clients::Connection;
use crate::service::shared::Shared;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// The Unix socket, by a process of this user and group.
    Unix {
        /// User.
        uid: u32,
        /// Primary group.
        gid: u32,
    },
    /// TCP, from this address.
    Tcp(IpAddr),
}

impl Caller {
    /// The caller for the controller's log, and whether it has this machine's clock.
    pub(super) fn origin(self) -> Origin {
        match self {
            Caller::Unix { uid, .. } => {
                let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
                Origin { by: user.map_or_else(|| format!("uid {uid}"), |user| user.name), here: true }
            }
            Caller::Tcp(ip) => {
                let ip = ip.to_canonical();
                Origin { by: ip.to_string(), here: ip.is_loopback() }
            }
        }
    }
}

/// What a request is allowed to do.
pub(super) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let verdict = caller.map_or(Verdict::Unknown, |caller| {
        let from = {
            let state = shared.state();
            state.conf.typed.settings.allow_management_from.iter().map(|p| p.0).collect::<Vec<_>>()
        };
        let tokens = (shared.tokens.api.as_str(), shared.tokens.metrics.as_str());
        judge(caller, request.uri(), request.headers(), tokens, &from)
    });
    match verdict {
        Verdict::Known => {
            if let Some(connection) = request.extensions().get::<Connection>() {
                connection.known();
            }
            next.run(request).await
        }
        Verdict::Open => next.run(request).await,
        Verdict::Unknown => json(StatusCode::UNAUTHORIZED, &serde_json::json!({})),
        Verdict::Page => failure(
            StatusCode::FORBIDDEN,
            "without the token: by an IP address or localhost in the Host header, without Origin, without jsonp",
        ),
    }
}

/// Whether a request that came by the scrapers' own door has the token for metrics. That of the API is not asked for over a
/// network, and opens nothing here.
pub(super) async fn check_scraper(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let secret = shared.tokens.metrics.as_str();
    let given = token(request.uri(), request.headers());
    let known =
        !secret.is_empty() && given.is_some_and(|t| bool::from(t.as_bytes().ct_eq(secret.as_bytes())));
    if !known {
        return json(StatusCode::UNAUTHORIZED, &serde_json::json!({}));
    }
    if let Some(connection) = request.extensions().get::<Connection>() {
        connection.known();
    }
    next.run(request).await
}

/// What a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// Its sender has a token, or is one of those whom the socket knows.
    Known,
    /// Anybody may ask for this.
    Open,
    /// Its sender has to show a token.
    Unknown,
    /// Anybody may ask for this, but this may be a page of somebody else's that makes a browser ask.
    Page,
}

fn judge(
    caller: Caller,
    uri: &Uri,
    headers: &HeaderMap,
    (api, metrics): (&str, &str),
    from: &[Prefix],
) -> Verdict {
    let path = uri.path();
    let trusted = matches!(caller, Caller::Unix { uid, gid } if is_ours(uid, gid));
    let near = match caller {
        Caller::Unix { .. } => true,
        Caller::Tcp(ip) => {
            let ip = ip.to_canonical();
            ip.is_loopback() || from.iter().any(|p| p.contains(ip))
        }
    };
    let given = || token(uri, headers);
    let equal = |given: &str, secret: &str| {
        !secret.is_empty() && bool::from(given.as_bytes().ct_eq(secret.as_bytes()))
    };
    if path == "/metrics" {
        // Scrapers come from anywhere, by any name; the token decides.
        let known = trusted || given().is_some_and(|t| equal(&t, metrics) || equal(&t, api));
        return if known { Verdict::Known } else { Verdict::Unknown };
    }
    let open = matches!(path, "/health" | "/sso") || path.starts_with("/app");
    if !near {
        Verdict::Unknown
    } else if trusted || given().is_some_and(|t| equal(&t, api)) {
        Verdict::Known
    } else if !open {
        Verdict::Unknown
    } else if is_for_this_machine(uri, headers) && !may_be_a_page(uri, headers) {
        Verdict::Open
    } else {
        Verdict::Page
    }
}

/// Whether the request names its server as nobody else can: a name of the page's own may have been made to lead here.
fn is_for_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let named = uri.authority().is_none_or(|authority| is_address(authority.as_str()));
    named && host.to_str().is_ok_and(is_address)
}

/// `localhost` or an IP address, with or without a port.
fn is_address(host: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit());
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if is_port(port) && (!bare.contains(':') || bare.ends_with(']')) => bare,
        _ => host,
    };
    match bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => bare.eq_ignore_ascii_case("localhost") || bare.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Whether a page of another site may have made a browser ask, or means to read the answer as a script.
fn may_be_a_page(uri: &Uri, headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || parameter(uri, "jsonp").is_some()
}

/// The token: the first form present decides, later ones are not tried.
fn token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get("x-zt1-auth") {
        return value.to_str().ok().map(str::to_owned);
    }
    if let Some(value) = parameter(uri, "auth") {
        return Some(value);
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = value.split(' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && parts.next().is_none()).then(|| token.to_owned())
}

/// The first query parameter of this name, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = || {
            let hex = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(hex, 16).ok())?
        };
        match byte {
            b'%' if let Some(value) = escaped() => {
                decoded.push(value);
                at += 3;
            }
            b'+' => {
                decoded.push(b' ');
                at += 1;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Root, our own user, and members of our own group.
fn is_ours(uid: u32, gid: u32) -> bool {
    let (uid, own_group) = (Uid::from_raw(uid), Gid::effective());
    if uid.is_root() || uid == Uid::effective() || Gid::from_raw(gid) == own_group {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = std::ffi::CString::new(user.name) else { return false };
    nix::unistd::getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&own_group))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: (&str, &str) = ("apiapi", "metrics");

    fn ask(caller: Caller, target: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        map.entry("host").or_insert("127.0.0.1:9993".parse().unwrap());
        let verdict =
            judge(caller, &target.parse().unwrap(), &map, TOKENS, &["10.1.0.0/16".parse().unwrap()]);
        matches!(verdict, Verdict::Known | Verdict::Open)
    }

    fn tcp(ip: &str) -> Caller {
        Caller::Tcp(ip.parse().unwrap())
    }

    #[test]
    fn the_first_form_of_a_token_decides() {
        let near = tcp("127.0.0.1");
        assert!(!ask(near, "/status", &[]));
        assert!(ask(near, "/status", &[("x-zt1-auth", "apiapi")]));
        assert!(ask(near, "/status?auth=apiapi", &[]));
        assert!(ask(near, "/status?x=1&auth=api%61pi", &[]));
        assert!(ask(near, "/status", &[("authorization", "bEARER apiapi")]));
        assert!(!ask(near, "/status", &[("authorization", "Bearer  apiapi")]));
        assert!(!ask(near, "/status?auth=apiapi", &[("x-zt1-auth", "wrong")]));
        assert!(!ask(near, "/status?auth=wrong", &[("authorization", "Bearer apiapi")]));
        assert!(!ask(near, "/status", &[("x-zt1-auth", "metrics")]));
        assert!(!ask(near, "/status?auth=", &[]));
    }

    #[test]
    fn the_source_counts_except_for_metrics() {
        let token = [("x-zt1-auth", "apiapi")];
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(ask(tcp(ip), "/status", &token), "{ip}");
            assert!(ask(tcp(ip), "/health", &[]), "{ip}");
        }
        for ip in ["10.2.0.1", "192.0.2.1", "2001:db8::1"] {
            assert!(!ask(tcp(ip), "/status", &token), "{ip}");
            assert!(!ask(tcp(ip), "/health", &[]), "{ip}");
            assert!(ask(tcp(ip), "/metrics", &[("x-zt1-auth", "metrics")]), "{ip}");
            assert!(ask(tcp(ip), "/metrics", &token), "{ip}");
            assert!(!ask(tcp(ip), "/metrics", &[]), "{ip}");
        }
    }

    #[test]
    fn the_unix_socket_knows_its_callers() {
        assert!(ask(Caller::Unix { uid: 0, gid: 0 }, "/status", &[]));
        assert!(ask(Caller::Unix { uid: Uid::effective().as_raw(), gid: 12345 }, "/nope", &[]));
        let stranger = Caller::Unix { uid: 54321, gid: 54321 };
        assert!(!ask(stranger, "/status", &[]));
        assert!(ask(stranger, "/status", &[("x-zt1-auth", "apiapi")]));
    }

    #[test]
    fn pages_of_others_read_nothing() {
        let near = tcp("127.0.0.1");
        let (good, bad) = (
            [
                "localhost",
                "LocalHost:9993",
                "127.0.0.1",
                "127.9.9.9:1",
                "[::1]:9993",
                "[2001:db8::1]",
                "10.1.2.3:80",
            ],
            [
                "evil.example",
                "evil.example:9993",
                "localhost.evil.example",
                "localhost.",
                "127.0.0.1.evil.example",
                "",
                "::1",
                "[::1",
                "127.1",
                "0x7f000001",
                "2130706433",
                "127.0.0.1:99999",
                "127.0.0.1:",
                "127.0.0.1:+1",
                "user@127.0.0.1",
                "[evil.example]",
                "localhost:9993:1",
            ],
        );
        for path in ["/health", "/sso", "/app/x"] {
            for host in good {
                assert!(ask(near, path, &[("host", host)]), "{path} {host}");
                assert!(!ask(near, &format!("{path}?jsonp=f"), &[("host", host)]), "{host}");
                assert!(!ask(near, &format!("{path}?%6asonp="), &[("host", host)]), "{host}");
                assert!(!ask(near, path, &[("host", host), ("origin", "http://127.0.0.1:9993")]), "{host}");
                assert!(!ask(near, path, &[("host", host), ("origin", "null")]), "{host}");
            }
            for host in bad {
                assert!(!ask(near, path, &[("host", host)]), "{path} {host:?}");
                assert!(!ask(near, path, &[("host", host), ("x-zt1-auth", "wrong")]), "a token that is none");
                let token = [("host", host), ("x-zt1-auth", "apiapi"), ("origin", "http://evil.example")];
                assert!(ask(near, &format!("{path}?jsonp=f"), &token), "a token is enough: {host:?}");
                assert!(
                    ask(near, "/metrics", &[("host", host), ("authorization", "Bearer metrics")]),
                    "{host:?}"
                );
            }
            assert!(!ask(near, path, &[("host", "localhost"), ("host", "evil.example")]), "two names");
            assert!(
                !ask(near, &format!("http://evil.example{path}"), &[("host", "localhost")]),
                "another one before"
            );
            assert!(ask(near, &format!("http://localhost:9993{path}"), &[("host", "localhost:9993")]));
            let own = Caller::Unix { uid: 0, gid: 0 };
            assert!(ask(own, &format!("{path}?jsonp=f"), &[("host", "x")]), "the socket is not for browsers");
        }
        assert_eq!(
            judge(near, &"/health".parse().unwrap(), &HeaderMap::new(), TOKENS, &[]),
            Verdict::Page,
            "no name at all"
        );
    }

    #[test]
    fn decoding_is_total() {
        assert_eq!(decode("a%2Fb+c%zz%4"), "a/b c%zz%4");
        assert_eq!(decode("%+1"), "% 1");
    }
}
