//! The instruments: iperf3, ping, `/proc`, and a flow of numbered datagrams.

pub(crate) mod flow;
pub(crate) mod iperf;
pub(crate) mod ping;
pub(crate) mod usage;
