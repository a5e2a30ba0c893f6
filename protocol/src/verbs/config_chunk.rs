//! One signed chunk of a network configuration.
