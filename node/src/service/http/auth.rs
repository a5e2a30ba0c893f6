//! Who may ask what.
//!
//! Checked before routing, so an unknown path without a token is 401, not 404.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use nix::unistd::{Gid, Uid, User};
use protocol::inet::Prefix;
use subtle::ConstantTimeEq;

use super::answer::json;
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

/// What a request is allowed to do.
pub(super) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let allowed = caller.is_some_and(|caller| {
        let from = {
            let state = shared.state();
            state.conf.typed.settings.allow_management_from.iter().map(|p| p.0).collect::<Vec<_>>()
        };
        let tokens = (shared.tokens.api.as_str(), shared.tokens.metrics.as_str());
        may(caller, request.uri(), request.headers(), tokens, &from)
    });
    if allowed { next.run(request).await } else { json(StatusCode::UNAUTHORIZED, &serde_json::json!({})) }
}

fn may(
    caller: Caller,
    uri: &Uri,
    headers: &HeaderMap,
    (api, metrics): (&str, &str),
    from: &[Prefix],
) -> bool {
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
        // Scrapers come from anywhere; the token decides.
        return trusted || given().is_some_and(|t| equal(&t, metrics) || equal(&t, api));
    }
    let open = matches!(path, "/health" | "/sso") || path.starts_with("/app");
    near && (open || trusted || given().is_some_and(|t| equal(&t, api)))
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
        may(caller, &target.parse().unwrap(), &map, TOKENS, &["10.1.0.0/16".parse().unwrap()])
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
    fn decoding_is_total() {
        assert_eq!(decode("a%2Fb+c%zz%4"), "a/b c%zz%4");
        assert_eq!(decode("%+1"), "% 1");
    }
}
