//! The network controller as a library: which networks there are, who their members are, and what each member may do.
//!
//! [`Controller::request`] answers a member that asks for its configuration, [`Controller::http`] a person or a tool
//! that changes something, and both say in [`Action`]s what the node has to send. Time comes in as milliseconds since
//! the Unix epoch; the only thing touched outside is the [`Store`], in which a record is safe before anybody is told
//! about it.
//!
//! A controller decides alone about one set of networks: requests and changes are handled one after another, so two
//! members can never be given the same address. The SQLite store is locked against a second process.
//!
//! [`Controller`] only says what follows from what. What there is to know lies in closed objects, each of which it holds once:
//!
//! | module | object |
//! |---|---|
//! | `networks`, `state` | all networks, and one of them: its record, members, join tokens, certificate time |
//! | `tombstone` | networks that were deleted, and what their members are told |
//! | `courier`, `revoked` | who is out for good, who knows of it, and who has to be told again |
//! | `push` | members that wait for a configuration they did not ask for |
//! | `login` | when whose log-in ends |
//! | `time` | what *now* is by the wall clock |
//! | `rate` | how often a member is heard |
//! | `signer` | the identity that signs, and where random numbers come from |
//! | `store` | records on disk |

mod admission;
mod audit;
mod controller;
mod counts;
mod courier;
mod grant;
mod http;
mod lease;
mod legacy;
mod login;
mod networks;
mod pool;
mod push;
mod rate;
mod revoked;
mod signer;
mod source;
mod state;
pub mod store;
mod strict;
mod time;
mod token;
mod tombstone;
mod warnings;

pub use controller::{
    Action, CODE_ACCESS_DENIED, CODE_AUTHENTICATION_REQUIRED, CODE_NOT_FOUND, Controller, Request,
};
pub use counts::Counts;
pub use courier::Acknowledgement;
pub use http::{HttpReply, Origin};
pub use legacy::Legacy;
pub use state::MAX_STRANGERS;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{MemoryStore, Store, StoreError};
pub use token::{DEFAULT_LIFETIME, MAX_LIFETIME, MAX_NAME, MAX_TOKENS, MAX_USES};
