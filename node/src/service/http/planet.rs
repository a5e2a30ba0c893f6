//! `/planet`: which roots the node starts from, and other ones for a node that nothing depends on yet.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use protocol::world::World;

use super::answer::{failure, ok, stopped};
use super::render;
use super::routes::{Api, order};
use crate::service::planets::{NotTaken, kept_because};
use crate::service::shared::{Order, Shared};

/// `GET /planet`.
pub(super) async fn show(State(shared): Api) -> Response {
    shown(&shared).await
}

/// `POST /planet` with the file.
pub(super) async fn take(State(shared): Api, body: Bytes) -> Response {
    let planet = match World::parse_planet(&body) {
        Ok(planet) => planet,
        Err(error) => {
            let said = format!("the body is not the file of a planet ({error}); nothing was changed");
            return failure(StatusCode::BAD_REQUEST, &said);
        }
    };
    match order(&shared, |reply| Order::Planet { planet, reply }).await {
        Ok(Ok(())) => shown(&shared).await,
        Ok(Err(error @ NotTaken::Kept(_))) => failure(StatusCode::CONFLICT, &error.to_string()),
        Ok(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => stopped(error),
    }
}

async fn shown(shared: &std::sync::Arc<Shared>) -> Response {
    match kept_because(shared).await {
        Ok((planet, kept)) => ok(&render::planet(&planet, kept)),
        Err(error) => stopped(error),
    }
}
