//! Which ports the node binds: the settings' word, the command line's, or a free one.

use crate::os::udp::probe_port;
use crate::service::args::DEFAULT_PORT;
use crate::service::home::StartError;
use crate::service::local_conf::LocalConf;

/// Random ports are looked for in this range, that many times.
const RANDOM_PORTS: std::ops::Range<u16> = 20_000..65_500;
const PORT_TRIES: usize = 256;

/// Primary, secondary and tertiary port, each probed; 0 = none.
pub(super) fn choose_ports(conf: &LocalConf, argument: Option<u16>) -> Result<[u16; 3], StartError> {
    let wanted = conf.typed.settings.primary_port.or(argument).unwrap_or(DEFAULT_PORT);
    let mut ports = [0; 3];
    ports[0] = match wanted {
        0 => random_port()?,
        port => {
            probe_port(port).map_err(|e| {
                let remedy =
                    "stop the other program (a zerotier-one?), or choose another port with -p or primaryPort";
                StartError::new(
                    format!("the port cannot be used ({e})"),
                    format!("UDP and TCP port {port}"),
                    remedy,
                )
            })?;
            port
        }
    };
    for (slot, wanted) in ports[1..].iter_mut().zip(conf.extra_ports()) {
        *slot = match wanted {
            0 => random_port()?,
            port => port,
        };
    }
    Ok(ports)
}

/// A port that nobody uses.
pub(super) fn random_port() -> Result<u16, StartError> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(RANDOM_PORTS);
        match probe_port(port) {
            Ok(()) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map(|e| e.to_string()).unwrap_or_default();
    Err(StartError::new(format!("no free port was found ({reason})"), "UDP and TCP", "choose one with -p"))
}
