//! The instruments: iperf3, ping, `/proc`, flows of numbered datagrams, and a stream that goes on.

pub(crate) mod burst;
pub(crate) mod flow;
pub(crate) mod iperf;
pub(crate) mod ping;
pub(crate) mod stream;
pub(crate) mod usage;
