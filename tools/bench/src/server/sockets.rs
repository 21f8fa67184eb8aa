//! The sockets on which a server listens.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use rustix::net::sockopt;
use socket2::{Domain, Socket, Type};

/// What one thread of a server listens on.
pub(super) struct Sockets {
    pub(super) tcp: TcpListener,
    pub(super) udp: UdpSocket,
}

/// Sockets for `threads` threads on the same address, among which the kernel divides connections and datagrams by
/// their addresses (SO_REUSEPORT of socket(7)). Port 0 is one that is free. None of them blocks.
pub(super) fn bind(mut address: SocketAddr, threads: usize) -> Result<Vec<Sockets>, String> {
    let mut bind_one = || {
        let tcp = listener(address)?;
        address = tcp.local_addr()?;
        Ok(Sockets { tcp, udp: datagram_socket(address)? })
    };
    let sockets: io::Result<_> = (0..threads).map(|_| bind_one()).collect();
    sockets.map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    /// The kernel cuts it down to net.core.somaxconn.
    const BACKLOG: i32 = i32::MAX;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn datagram_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    /// The usual 208 KiB hold some 280 short datagrams.
    const RECEIVE_BUFFER: usize = 4 << 20;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    // Beyond net.core.rmem_max who has CAP_NET_ADMIN may go; for others it stays as it is.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
