//! What is measured, and how it is called.

/// A figure. Larger is better for rates, smaller for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// TCP, one stream.
    Tcp1,
    /// TCP, one stream in the other direction.
    Tcp1Back,
    /// TCP, one stream in each direction at once, their sum.
    Tcp1Both,
    /// TCP, four streams together.
    Tcp4,
    /// TCP, four streams in the other direction.
    Tcp4Back,
    /// TCP, four streams in each direction at once, their sum.
    Tcp4Both,
    /// UDP datagrams with 64 octets that arrive while the sender sends all it can.
    Udp64,
    /// UDP datagrams with 64 octets at the highest rate of which less than 0.1 % is lost.
    Udp64Clean,
    /// The same with 1400 octets.
    Udp1400Clean,
    /// Round trip, pinged every 10 ms on an idle network.
    Rtt,
    /// Round trip, pinged every 10 ms beside a TCP stream in the same direction.
    RttLoaded,
    /// That divided by the idle one.
    RttGrowth,
    /// Processor time of both daemons during the TCP stream, per 10^9 octets carried.
    Cpu,
    /// Processor time of both daemons at 50,000 datagrams a second, per datagram.
    CpuPacket,
    /// Most resident memory of the daemon that is neither root nor controller, since its start.
    Memory,
    /// Datagrams that arrived after a later one of their flow, of a million.
    Reordered,
    /// TCP, one stream, over a cable without UDP segmentation offload and GRO.
    Tcp1Plain,
    /// The same, four streams.
    Tcp4Plain,
    /// There: UDP datagrams with 64 octets under flood.
    Udp64Plain,
    /// There: processor time of both daemons per 10^9 octets of the TCP stream.
    CpuPlain,
    /// TCP, one stream, one core a side.
    Tcp1Pinned,
    /// The same, four streams.
    Tcp4Pinned,
    /// So: UDP datagrams with 64 octets under flood.
    Udp64Pinned,
    /// So: processor time of both daemons per 10^9 octets of the TCP stream.
    CpuPinned,
}

impl Metric {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 24] = [
        Self::Tcp1,
        Self::Tcp1Back,
        Self::Tcp1Both,
        Self::Tcp4,
        Self::Tcp4Back,
        Self::Tcp4Both,
        Self::Udp64,
        Self::Udp64Clean,
        Self::Udp1400Clean,
        Self::Rtt,
        Self::RttLoaded,
        Self::RttGrowth,
        Self::Cpu,
        Self::CpuPacket,
        Self::Memory,
        Self::Reordered,
        Self::Tcp1Plain,
        Self::Tcp4Plain,
        Self::Udp64Plain,
        Self::CpuPlain,
        Self::Tcp1Pinned,
        Self::Tcp4Pinned,
        Self::Udp64Pinned,
        Self::CpuPinned,
    ];

    /// The name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1Gbps",
            Self::Tcp1Back => "tcp1BackGbps",
            Self::Tcp1Both => "tcp1BothGbps",
            Self::Tcp4 => "tcp4Gbps",
            Self::Tcp4Back => "tcp4BackGbps",
            Self::Tcp4Both => "tcp4BothGbps",
            Self::Udp64 => "udp64Kpps",
            Self::Udp64Clean => "udp64CleanKpps",
            Self::Udp1400Clean => "udp1400CleanKpps",
            Self::Rtt => "rttMicroseconds",
            Self::RttLoaded => "rttLoadedMicroseconds",
            Self::RttGrowth => "rttLoadedPerIdle",
            Self::Cpu => "cpuSecondsPerGigabyte",
            Self::CpuPacket => "cpuMicrosecondsPerPacket",
            Self::Memory => "peakMemoryMegabytes",
            Self::Reordered => "reorderedPerMillion",
            Self::Tcp1Plain => "tcp1PlainGbps",
            Self::Tcp4Plain => "tcp4PlainGbps",
            Self::Udp64Plain => "udp64PlainKpps",
            Self::CpuPlain => "cpuSecondsPerGigabytePlain",
            Self::Tcp1Pinned => "tcp1PinnedGbps",
            Self::Tcp4Pinned => "tcp4PinnedGbps",
            Self::Udp64Pinned => "udp64PinnedKpps",
            Self::CpuPinned => "cpuSecondsPerGigabytePinned",
        }
    }

    /// The name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream, Gbit/s",
            Self::Tcp1Back => "TCP, 1 stream back, Gbit/s",
            Self::Tcp1Both => "TCP, 1 stream each way, sum, Gbit/s",
            Self::Tcp4 => "TCP, 4 streams, Gbit/s",
            Self::Tcp4Back => "TCP, 4 streams back, Gbit/s",
            Self::Tcp4Both => "TCP, 4 streams each way, sum, Gbit/s",
            Self::Udp64 => "UDP 64 B received under flood, kpps",
            Self::Udp64Clean => "UDP 64 B at < 0.1 % loss, kpps",
            Self::Udp1400Clean => "UDP 1400 B at < 0.1 % loss, kpps",
            Self::Rtt => "RTT median, idle, µs",
            Self::RttLoaded => "RTT median beside a TCP stream, µs",
            Self::RttGrowth => "RTT beside a TCP stream / idle RTT",
            Self::Cpu => "daemon CPU-s per GB, both ends",
            Self::CpuPacket => "daemon CPU-µs per packet at 50 kpps, both ends",
            Self::Memory => "RSS at most, MB",
            Self::Reordered => "reordered, per million packets",
            Self::Tcp1Plain => "underlay without offloads: TCP, 1 stream, Gbit/s",
            Self::Tcp4Plain => "underlay without offloads: TCP, 4 streams, Gbit/s",
            Self::Udp64Plain => "underlay without offloads: UDP 64 B flood, kpps",
            Self::CpuPlain => "underlay without offloads: daemon CPU-s per GB",
            Self::Tcp1Pinned => "one core a side: TCP, 1 stream, Gbit/s",
            Self::Tcp4Pinned => "one core a side: TCP, 4 streams, Gbit/s",
            Self::Udp64Pinned => "one core a side: UDP 64 B flood, kpps",
            Self::CpuPinned => "one core a side: daemon CPU-s per GB",
        }
    }

    /// Whether one system's figure divided by another's says something.
    pub(crate) fn is_compared(self) -> bool {
        !matches!(self, Self::RttGrowth | Self::Reordered)
    }

    /// A value with as many digits as mean something.
    pub(crate) fn format(self, value: f64) -> String {
        match self {
            Self::Memory | Self::Reordered | Self::RttGrowth => format!("{value:.1}"),
            Self::Udp64
            | Self::Udp64Clean
            | Self::Udp1400Clean
            | Self::Udp64Plain
            | Self::Udp64Pinned
            | Self::Rtt
            | Self::RttLoaded => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        }
    }
}

/// The figures of one system in one round; `None` where one makes no sense or was not measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample([Option<f64>; Metric::ALL.len()]);

impl Sample {
    /// A figure.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    /// Notes a figure.
    pub(crate) fn set(&mut self, metric: Metric, value: f64) {
        self.0[metric as usize] = Some(value);
    }

    /// All figures in a line, for people who watch.
    pub(crate) fn line(&self) -> String {
        let known = Metric::ALL.iter().filter_map(|metric| Some((metric, self.get(*metric)?)));
        let shown: Vec<String> =
            known.map(|(metric, value)| format!("{} {}", metric.key(), metric.format(value))).collect();
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_own_place_and_name() {
        for (index, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index);
        }
        let mut keys = Metric::ALL.map(Metric::key).to_vec();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Metric::ALL.len());
    }
}
