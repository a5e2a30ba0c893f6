//! The shapes answers have, and how paths name things.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A compact JSON answer, its keys in byte order.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], api::json(value).to_string()).into_response()
}

pub(super) fn ok(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}

/// An answer without a body: there is no such thing.
pub(super) async fn nothing() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

/// An answer that says what went wrong.
pub(super) fn failure(status: StatusCode, description: &str) -> Response {
    json(status, &api::Problem::new(status.as_u16(), description))
}

pub(super) fn stopped(error: impl std::fmt::Display) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}

/// A number of exactly so many hexadecimal digits.
pub(super) fn hex(text: &str, digits: usize) -> Option<u64> {
    let valid = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_matched_by_length_and_class() {
        assert_eq!(hex("00000000000000aF", 16), Some(0xaf));
        for bad in ["af", "+0000000000000af", "00000000000000ag", "00000000000000af0", ""] {
            assert_eq!(hex(bad, 16), None, "{bad}");
        }
    }
}
