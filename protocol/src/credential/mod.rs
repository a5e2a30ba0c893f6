//! Credentials of network members.
