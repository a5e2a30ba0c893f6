//! The control API: HTTP/1.1 with JSON, for the command line, existing tools and people.
//!
//! Specification: local service HTTP API. Served on a Unix socket in the home directory (who may connect is known from the
//! peer's credentials) and on loopback TCP at the primary port (with the token). Other addresses are listened on only when
//! `allowManagementFrom` names somebody.

mod answer;
mod auth;
mod clients;
mod metrics;
mod planet;
mod ready;
mod render;
mod routes;
mod rules;
mod server;
mod transfer;
mod web;

#[cfg(test)]
mod tests;

pub use auth::Caller;
pub use metrics::text as metrics_text;
pub use server::Server;
