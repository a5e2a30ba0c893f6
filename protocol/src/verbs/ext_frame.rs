//! EXT_FRAME: an Ethernet frame with explicit addresses.
