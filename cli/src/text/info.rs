//! `info`, `status`.

use serde_json::Value;

use super::json;

/// `200 info <address> <version> <ONLINE|OFFLINE|TUNNELED>` from a status object.
pub fn line(status: &Value) -> String {
    let state = if json::flag(status, "tcpFallbackActive") {
        "TUNNELED"
    } else if json::flag(status, "online") {
        "ONLINE"
    } else {
        "OFFLINE"
    };
    format!("200 info {} {} {state}\n", json::text(status, "address"), json::text(status, "version"))
}
