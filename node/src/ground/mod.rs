//! What both machines of the core stand on: bounded tables and gates, caps and timers, what goes in and what comes out.

pub(crate) mod buckets;
pub mod event;
pub(crate) mod gate;
pub mod info;
pub mod limits;
pub(crate) mod outbox;
pub(crate) mod sources;
pub(crate) mod table;
pub mod work;
