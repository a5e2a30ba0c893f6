//! FRAME: an Ethernet frame between two members.
