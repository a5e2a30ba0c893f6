//! The controller's database, out and in. A service in a sandbox reaches few files but its own, so the bytes travel in the
//! answer or in the request; with a path in the request the daemon writes or reads a file itself.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use controller::StoreError;
use futures_util::stream::{StreamExt as _, try_unfold};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answer::{failure, ok};
use super::auth::Caller;
use super::routes::{Api, MAX_BODY};
use crate::service::controlling::Unavailable;

/// Octets of a piece.
const PIECE: usize = 64 * 1024;
/// Largest database that is taken, in octets.
const MAX_DATABASE: u64 = 1 << 30;
/// Links followed in the name of a file, as many as the kernel does.
const MAX_LINKS: usize = 40;
/// How a database is called among media types.
const DATABASE: &str = "application/octet-stream";

/// A file in the home for the time of one transfer.
struct Staged(PathBuf);

impl Staged {
    fn in_home(home: &Path) -> Self {
        Self(home.join(format!("transfer-{:016x}.sqlite", rand::random::<u64>())))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// `GET /controller/backup`: a copy of the database.
pub(super) async fn download(State(shared): Api, Extension(caller): Extension<Caller>) -> Response {
    let staged = Staged::in_home(shared.home.root());
    match shared.controller.backup(staged.0.clone()).await {
        Ok(Ok(())) => {
            tracing::info!(by = caller.origin().by, "a backup of the controller's database was handed out");
        }
        other => return stored(other),
    }
    let file = match File::open(&staged.0).await {
        Ok(file) => file,
        Err(error) => return broken("read", &error),
    };
    // The open file lives on without its name.
    drop(staged);
    let pieces = try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok::<_, io::Error>((length > 0).then(|| (Bytes::from(piece), file)))
    });
    let kind = HeaderValue::from_static(DATABASE);
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

/// `POST /controller/backup` with a path.
pub(super) async fn backup(
    State(shared): Api,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let Some(path) = named_file(&body) else { return no_file() };
    let home = shared.home.root().to_owned();
    let controller = shared.state().conf.controller_folder(&shared.home);
    if [home, controller].iter().any(|folder| leads_into(&path, folder)) {
        let why =
            "a backup in the node's home could take the place of one of its files; name a file elsewhere";
        return failure(StatusCode::BAD_REQUEST, why);
    }
    let result = shared.controller.backup(path.clone()).await;
    if matches!(result, Ok(Ok(()))) {
        let (by, path) = (caller.origin().by, path.display());
        tracing::info!(by, %path, "a backup of the controller's database was written");
    }
    stored(result)
}

/// Whether writing to `path` could touch something in `folder`, by whatever links. What cannot be looked at is left to whoever
/// writes, who will fail.
fn leads_into(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    let inside = |path: &Path| fs::canonicalize(path).is_ok_and(|real| real.starts_with(&folder));
    let mut at = path.to_owned();
    // A link that leads to nothing yet is followed by hand.
    for _ in 0..MAX_LINKS {
        if inside(&at) || at.parent().is_some_and(inside) {
            return true;
        }
        match fs::read_link(&at) {
            Ok(to) => at = at.parent().unwrap_or(Path::new("/")).join(to),
            Err(_) => return false,
        }
    }
    true
}

/// `POST /controller/restore`: with a path, or with the database itself.
pub(super) async fn restore(State(shared): Api, request: Request) -> Response {
    let by = request.extensions().get::<Caller>().map(|caller| caller.origin().by).unwrap_or_default();
    let is_database = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == DATABASE);
    if is_database {
        let staged = Staged::in_home(shared.home.root());
        return match receive(request.into_body(), &staged.0).await {
            Ok(()) => {
                let result = shared.controller.restore(staged.0.clone()).await;
                tell_restored(&result, &by);
                // Its sender knows it by another name.
                stored_as(result, &staged.0.display().to_string(), "that was sent")
            }
            Err(error) => broken("take", &error),
        };
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_BODY).await else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
    };
    match named_file(&body) {
        Some(path) => {
            let result = shared.controller.restore(path).await;
            tell_restored(&result, &by);
            stored(result)
        }
        None => no_file(),
    }
}

fn tell_restored(result: &Result<Result<(), StoreError>, Unavailable>, by: &str) {
    if matches!(result, Ok(Ok(()))) {
        tracing::info!(by, "the controller's database was replaced by a backup");
    }
}

/// `POST /controller/import`: what is newer in a zerotier-one controller's files.
pub(super) async fn import(State(shared): Api, Extension(caller): Extension<Caller>) -> Response {
    match shared.controller.import(caller.origin().by).await {
        Ok(Ok(report)) => ok(&api::Imported {
            networks: report.networks as u64,
            members: report.members as u64,
            skipped: report.skipped.iter().map(|path| path.display().to_string()).collect(),
        }),
        Ok(Err(error)) => refused(&error, &error.to_string()),
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn receive(body: Body, to: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut file = File::from_std(file);
    let mut pieces = body.into_data_stream();
    let mut length = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(io::Error::other)?;
        length += piece.len() as u64;
        if length > MAX_DATABASE {
            return Err(io::Error::other(format!("it is longer than {} MiB", MAX_DATABASE >> 20)));
        }
        file.write_all(&piece).await?;
    }
    file.sync_all().await
}

fn broken(what: &str, error: &io::Error) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot {what} the copy of the database: {error}"))
}

/// The file named in `{"path": "…"}`.
fn named_file(body: &[u8]) -> Option<PathBuf> {
    let asked: api::NamedFile = serde_json::from_slice(body).unwrap_or_default();
    asked.path.map(PathBuf::from).filter(|path| path.is_absolute())
}

fn no_file() -> Response {
    failure(StatusCode::BAD_REQUEST, "say which file: {\"path\": \"/absolute/name\"}")
}

fn stored(result: Result<Result<(), StoreError>, Unavailable>) -> Response {
    stored_as(result, "", "")
}

/// An answer in which the file is called otherwise than we call it.
fn stored_as(result: Result<Result<(), StoreError>, Unavailable>, file: &str, name: &str) -> Response {
    match result {
        Ok(Ok(())) => ok(&api::Done { result: true }),
        Ok(Err(error)) => {
            let text = error.to_string();
            let text = if file.is_empty() { text } else { text.replace(file, name) };
            refused(&error, &text)
        }
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// A failure of the store: of what the client named, or our own.
fn refused(error: &StoreError, text: &str) -> Response {
    let theirs = match error {
        StoreError::Damaged { .. }
        | StoreError::Newer { .. }
        | StoreError::Missing { .. }
        | StoreError::Import { .. } => true,
        StoreError::Io { source, .. } => matches!(
            source.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::ReadOnlyFilesystem
        ),
        _ => false,
    };
    let status = if theirs { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
    failure(status, text)
}
