//! Static files of `<home>/app`, when the user switched that on.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::service::shared::Shared;

/// Larger files are not served: they are read into memory whole.
const MAX_FILE: u64 = 16 << 20;

/// Serves one file. A name without extension tries `.html` and otherwise goes to the folder of that name; a folder without
/// an index falls back to the `index.html` of its app.
pub(super) async fn file(State(shared): State<Arc<Shared>>, OriginalUri(uri): OriginalUri) -> Response {
    let nothing = || StatusCode::NOT_FOUND.into_response();
    if !shared.state().conf.typed.settings.enable_web_server {
        return nothing();
    }
    let root = shared.home.path("app");
    let path = super::routes::path(&uri);
    let Some(relative) = path.strip_prefix("/app").and_then(inside) else { return nothing() };
    let target = root.join(&relative);
    if !path.ends_with('/') && target.extension().is_none() {
        if let Some(found) = read(&target.with_extension("html")).await {
            return found;
        }
        let Ok(location) = HeaderValue::from_str(&format!("{path}/")) else { return nothing() };
        return (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response();
    }
    if !path.ends_with('/') {
        return read(&target).await.unwrap_or_else(nothing);
    }
    if let Some(found) = read(&target.join("index.html")).await {
        return found;
    }
    let app = relative.components().next().map(|app| root.join(app));
    match app {
        Some(app) => read(&app.join("index.html")).await.unwrap_or_else(nothing),
        None => nothing(),
    }
}

/// The path below the folder; `None` for one that would lead out of it or names hidden files.
fn inside(path: &str) -> Option<PathBuf> {
    if path.contains(['\0', '%']) {
        return None;
    }
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) if !name.to_string_lossy().starts_with('.') => clean.push(name),
            _ => return None,
        }
    }
    Some(clean)
}

async fn read(path: &Path) -> Option<Response> {
    let meta = tokio::fs::metadata(path).await.ok()?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return None;
    }
    let bytes = tokio::fs::read(path).await.ok()?;
    Some(([(header::CONTENT_TYPE, HeaderValue::from_static(kind(path)))], bytes).into_response())
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()).unwrap_or_default() {
        "html" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "txt" => "text/plain",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_reached() {
        assert_eq!(inside("/x/y.html"), Some("x/y.html".into()));
        assert_eq!(inside(""), Some("".into()));
        for bad in ["/../identity.secret", "/x/../../authtoken.secret", "/.git/config", "/%2e%2e/x", "/a\0b"]
        {
            assert_eq!(inside(bad), None, "{bad}");
        }
    }
}
