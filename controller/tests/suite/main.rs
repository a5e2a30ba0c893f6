//! The controller as its users see it: through requests, routes and stores.
// Helpers of tests may unwrap like the tests themselves.
#![allow(clippy::unwrap_used)]

mod addresses;
mod allocation;
mod clock;
mod common;
mod http;
mod leases;
mod requests;
mod revocations;
mod rules;
mod store;
mod tokens;
mod vectors;
