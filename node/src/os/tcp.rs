//! Listening on TCP ports that another program has just given up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// A listener on this machine answers or refuses at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// A TCP socket bound to `address`, not listening yet; an IPv6 one is for IPv6 only.
///
/// Ended connections (`TIME_WAIT`, 60 s) of the program that had the port before are no obstacle, whichever of the two
/// socket options for sharing that program used: zerotier-one takes `SO_REUSEPORT`, most others `SO_REUSEADDR`. A program
/// that still listens is one.
///
/// # Errors
/// What the system says; `AddrInUse` when somebody listens.
pub fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    let Err(error) = socket.bind(&address.into()) else { return Ok(socket) };
    // With this option a listener of the same user would be no obstacle either; hence not without a look.
    if error.kind() != io::ErrorKind::AddrInUse || answers(address) {
        return Err(error);
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into()).map_err(|_| error)?;
    Ok(socket)
}

/// Whether somebody listens on this port of the address, or of the loopback where `address` is all of them.
fn answers(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), PATIENCE) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn sharing() -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&ANY.into()).unwrap();
        socket.listen(1).unwrap();
        socket
    }

    fn address(socket: &Socket) -> SocketAddr {
        socket.local_addr().unwrap().as_socket().unwrap()
    }

    #[test]
    fn a_listener_is_an_obstacle_even_when_it_shares_its_port() {
        let other = sharing();
        assert_eq!(bind(address(&other)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_that_have_ended_are_none() {
        let other = sharing();
        let address = address(&other);
        let mut client = TcpStream::connect(address).unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(other.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop((client, other));
        bind(address).unwrap().listen(1).unwrap();
    }
}
