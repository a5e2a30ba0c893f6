//! Multicast groups of a virtual network.
