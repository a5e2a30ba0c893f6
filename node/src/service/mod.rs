//! The service around the core: state on disk, settings, the packet thread, the controller's thread, the control API, and the
//! daemon that starts, connects and stops them.

pub mod args;
mod binder;
mod bypass;
pub mod clock;
pub mod clones;
pub mod clouds;
pub mod collision;
pub mod controlling;
pub mod daemon;
pub mod engine;
pub mod home;
pub mod http;
pub mod identities;
pub mod in_place;
mod lanes;
pub mod lanes_setting;
pub mod local_conf;
pub mod logging;
pub mod machine;
pub mod managed;
pub mod network_settings;
pub mod planets;
mod ports;
pub mod privileges;
pub mod shared;
mod signals;
pub mod supervisor;
pub mod traces;
mod trial;
pub mod waits;
