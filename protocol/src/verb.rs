//! The verbs: what a packet asks or tells. Specification: VL1 verbs, numbers.

/// A packet's verb; the discriminant is its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verb {
    /// Nothing.
    Nop = 0x00,
    /// Introduces the sender and learns whether the way works.
    Hello = 0x01,
    /// A request could not be served.
    Error = 0x02,
    /// A request was served.
    Ok = 0x03,
    /// Asks for identities.
    Whois = 0x04,
    /// Introduces two peers to each other.
    Rendezvous = 0x05,
    /// An Ethernet frame between the two ends.
    Frame = 0x06,
    /// An Ethernet frame with explicit addresses.
    ExtFrame = 0x07,
    /// Asks for its payload back.
    Echo = 0x08,
    /// Announces multicast subscriptions.
    MulticastLike = 0x09,
    /// Presents credentials.
    NetworkCredentials = 0x0a,
    /// Asks a controller for a configuration.
    NetworkConfigRequest = 0x0b,
    /// Pushes a configuration.
    NetworkConfig = 0x0c,
    /// Asks for members of a multicast group.
    MulticastGather = 0x0d,
    /// A multicast Ethernet frame.
    MulticastFrame = 0x0e,
    /// Tells under which physical addresses the sender may be reached.
    PushDirectPaths = 0x10,
    /// Counts received bytes; unused.
    Ack = 0x12,
    /// Reports when packets arrived.
    QosMeasurement = 0x13,
    /// A message for the application.
    UserMessage = 0x14,
    /// An event for a remote observer.
    RemoteTrace = 0x15,
    /// Proposes a path; unused.
    PathNegotiationRequest = 0x16,
}

impl Verb {
    /// The verb of this number, without the compression flag; `None` if the number is unassigned.
    #[must_use]
    pub const fn from_byte(number: u8) -> Option<Self> {
        Some(match number {
            0x00 => Self::Nop,
            0x01 => Self::Hello,
            0x02 => Self::Error,
            0x03 => Self::Ok,
            0x04 => Self::Whois,
            0x05 => Self::Rendezvous,
            0x06 => Self::Frame,
            0x07 => Self::ExtFrame,
            0x08 => Self::Echo,
            0x09 => Self::MulticastLike,
            0x0a => Self::NetworkCredentials,
            0x0b => Self::NetworkConfigRequest,
            0x0c => Self::NetworkConfig,
            0x0d => Self::MulticastGather,
            0x0e => Self::MulticastFrame,
            0x10 => Self::PushDirectPaths,
            0x12 => Self::Ack,
            0x13 => Self::QosMeasurement,
            0x14 => Self::UserMessage,
            0x15 => Self::RemoteTrace,
            0x16 => Self::PathNegotiationRequest,
            _ => return None,
        })
    }

    /// The name protocol documents use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nop => "NOP",
            Self::Hello => "HELLO",
            Self::Error => "ERROR",
            Self::Ok => "OK",
            Self::Whois => "WHOIS",
            Self::Rendezvous => "RENDEZVOUS",
            Self::Frame => "FRAME",
            Self::ExtFrame => "EXT_FRAME",
            Self::Echo => "ECHO",
            Self::MulticastLike => "MULTICAST_LIKE",
            Self::NetworkCredentials => "NETWORK_CREDENTIALS",
            Self::NetworkConfigRequest => "NETWORK_CONFIG_REQUEST",
            Self::NetworkConfig => "NETWORK_CONFIG",
            Self::MulticastGather => "MULTICAST_GATHER",
            Self::MulticastFrame => "MULTICAST_FRAME",
            Self::PushDirectPaths => "PUSH_DIRECT_PATHS",
            Self::Ack => "ACK",
            Self::QosMeasurement => "QOS_MEASUREMENT",
            Self::UserMessage => "USER_MESSAGE",
            Self::RemoteTrace => "REMOTE_TRACE",
            Self::PathNegotiationRequest => "PATH_NEGOTIATION_REQUEST",
        }
    }
}

impl core::fmt::Display for Verb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
