//! The controller as its users see it: through requests, routes and stores.

mod allocation;
mod common;
mod http;
mod requests;
mod store;
mod vectors;
