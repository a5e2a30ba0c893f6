//! The system tests live in one file a theme beside this folder; what most of them share is in the `lab` crate, and what needs
//! to know the protocol is here.

pub mod fake_root;
pub mod pages;
pub mod recording;
pub mod web;
