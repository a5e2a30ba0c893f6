//! The system tests live in one file a theme beside this folder; what they share is in the `lab` crate.
