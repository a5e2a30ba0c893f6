//! What is promised about the node under attack.

/// Which promise was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// No more goes to an endpoint that has proved nothing than came from it.
    Amplification,
    /// Nobody who is not authorized gets a frame through.
    Authorization,
    /// No frame gets through twice.
    Once,
    /// Frames of friends flow, in both directions.
    Service,
    /// A friend that moved is found again, whatever is sent from where it was.
    Path,
    /// The identity stays.
    Identity,
    /// No network is taken for denied or gone without its controller's word.
    Status,
    /// What one datagram causes comes to an end.
    End,
    /// Tables stay within their caps.
    Caps,
}

/// All promises.
pub const PROMISES: [Promise; 9] = [
    Promise::Amplification,
    Promise::Authorization,
    Promise::Once,
    Promise::Service,
    Promise::Path,
    Promise::Identity,
    Promise::Status,
    Promise::End,
    Promise::Caps,
];

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
}
