//! The names of what is measured, as reports have them.

/// bpfecho on tcx.
pub const BPFECHO: &str = "bpfecho";
/// bpfecho on clsact.
pub const BPFECHO_CLSACT: &str = "bpfecho (clsact)";
/// bpfecho on XDP.
pub const BPFECHO_XDP: &str = "bpfecho (xdp)";
/// A socket that is connected to itself: what the kernel's network stack takes with no second party at all.
pub const SELF_CONNECTED: &str = "self-connected socket";
/// A program of a dozen instructions that exchanges addresses and ports of whatever comes.
pub const BARE_SWAP: &str = "bare swap";
/// The same on XDP.
pub const BARE_SWAP_XDP: &str = "bare swap (xdp)";
/// An echo server with epoll(7): `server::epoll`.
pub const EPOLL: &str = "epoll";
/// An echo server with io_uring(7): `server::io_uring`.
pub const IO_URING: &str = "io_uring";
/// An echo server with tokio: `server::tokio`.
pub const TOKIO: &str = "tokio";
/// socat(1), a process for each connection.
pub const SOCAT: &str = "socat";
/// ncat(1) with cat(1), a process for each connection.
pub const NCAT: &str = "ncat";
/// The echo of BusyBox's inetd.
pub const INETD: &str = "busybox inetd";

/// Servers in user space.
pub const PEERS: [&str; 6] = [EPOLL, IO_URING, TOKIO, SOCAT, NCAT, INETD];

/// Peers that start a process for each connection.
pub const FORKING: [&str; 3] = [SOCAT, NCAT, INETD];
