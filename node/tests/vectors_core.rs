//! Golden vectors that need a whole core: recorded behaviour of the reference, one node of ours in its place.
//!
//! Where we differ on purpose, the case is listed by name together with the reason; an entry of such a list that no longer
//! differs fails the test as well.
#![allow(clippy::unwrap_used)]

mod vectors;
