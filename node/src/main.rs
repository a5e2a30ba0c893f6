//! The daemon `ztnode`: see [`node::service`].

fn main() {}
