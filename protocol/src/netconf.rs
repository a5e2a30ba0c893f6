//! The configuration of a network as a member sees it.
