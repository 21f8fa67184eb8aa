//! Ports that are held while they are echoed, and who has the ones that cannot be had.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use loader::Errno;

use crate::port_set::Ports;
use crate::prefix::Prefix;
use crate::protocols::Protocols;
use crate::sys::{self, Protocol};

/// Ports below this one need a capability, unless the administrator says otherwise
/// (net.ipv4.ip_unprivileged_port_start).
const UNPRIVILEGED: u16 = 1024;

/// Sockets that keep everybody else from serving the echoed ports. The kernel lets them go with the process.
pub struct HeldPorts {
    _sockets: Vec<OwnedFd>,
}

/// Why a port cannot be held.
#[derive(Debug)]
pub enum HoldError {
    /// Something serves it.
    InUse {
        /// The port and its address.
        address: SocketAddr,
        /// For this protocol.
        protocol: Protocol,
        /// The process, if it can be seen: name and number.
        owner: Option<Owner>,
    },
    /// The kernel refuses for another reason.
    Refused {
        /// The port and its address.
        address: SocketAddr,
        /// For this protocol.
        protocol: Protocol,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name of the program.
    pub name: String,
    /// The number of the process.
    pub pid: u32,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl fmt::Display for HoldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { address, protocol, owner } => {
                write!(formatter, "{protocol} port {} on {} is in use by ", address.port(), address.ip())?;
                match owner {
                    Some(Owner { name, pid }) => write!(formatter, "`{name}` (process {pid})")?,
                    None => formatter.write_str("another process")?,
                }
                formatter.write_str(": stop that, choose another port, or echo in front of it with --force")
            }
            Self::Refused { address, protocol, errno } => {
                let port = address.port();
                write!(formatter, "holding {protocol} port {port} on {}: {errno}", address.ip())?;
                if *errno == Errno::EACCES && port < UNPRIVILEGED {
                    formatter.write_str(": needs CAP_NET_BIND_SERVICE, or --force, which holds no ports")?;
                }
                if *errno == Errno::EMFILE {
                    formatter.write_str(
                        ": each port needs a descriptor: allow more (ulimit -n), echo fewer ports, or use \
                         --force, which holds no ports",
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for HoldError {}

/// Holds each of `ports` on each address of `served`, for those of `protocols` that have ports. Addresses
/// that are not this host's own cannot be held, nor served by anything else here, and are left out, as are
/// networks. `interfaces` are the indices of the interfaces, for link-local addresses.
///
/// # Errors
///
/// [`HoldError`] for the first port that cannot be had; none is held then.
pub fn hold(
    served: &[Prefix],
    ports: &Ports,
    protocols: Protocols,
    interfaces: &[u32],
) -> Result<HeldPorts, HoldError> {
    sys::allow_more_descriptors();
    // UDP first: who holds a TCP port without listening, as this program does, is in no table.
    let all = [(protocols.udp, Protocol::Udp), (protocols.tcp, Protocol::Tcp)];
    let protocols: Vec<Protocol> = all.into_iter().filter(|(held, _)| *held).map(|(_, it)| it).collect();
    let mut sockets = Vec::new();
    for ip in served.iter().filter(|prefix| prefix.is_single()).map(Prefix::address) {
        let scopes = match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => interfaces,
            _ => &[0],
        };
        for port in ports.iter() {
            for &protocol in &protocols {
                for &scope in scopes {
                    sockets.extend(hold_one(protocol, SocketAddr::new(ip, port), scope)?);
                }
            }
        }
    }
    Ok(HeldPorts { _sockets: sockets })
}

/// Holds one port. `None` if the address is not this host's.
fn hold_one(protocol: Protocol, address: SocketAddr, scope: u32) -> Result<Option<OwnedFd>, HoldError> {
    match sys::hold_port(protocol, address, scope) {
        Ok(socket) => Ok(Some(socket)),
        // IPv6 switched off altogether has the second code.
        Err(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => Ok(None),
        Err(Errno::EADDRINUSE) => {
            Err(HoldError::InUse { address, protocol, owner: owner(protocol, address) })
        }
        Err(errno) => Err(HoldError::Refused { address, protocol, errno }),
    }
}

/// The process that has a socket bound to `address` or to its port on all addresses, as far as /proc shows.
fn owner(protocol: Protocol, address: SocketAddr) -> Option<Owner> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    // /proc/net is that of the thread's network namespace only under /proc/thread-self.
    let tables = tables.map(|table| table.replace("/proc/net", "/proc/thread-self/net"));
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| inode(line, address)).collect::<Vec<_>>())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(process.path().join("fd")).ok()?;
        let has_one = descriptors.flatten().any(|descriptor| {
            let target = fs::read_link(descriptor.path());
            target.is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
        });
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        has_one.then(|| Owner { name: name.trim_end().into(), pid })
    })
}

/// The inode of the socket in a line of /proc/net/tcp or its kin (Linux
/// Documentation/networking/proc_net_tcp), if it is bound so that `address` cannot be had.
fn inode(line: &str, address: SocketAddr) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let inode = fields.nth(7)?.parse().ok()?;
    let ip = parse_ip(ip)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let covers = ip.to_canonical() == address.ip() || ip.is_unspecified();
    (covers && port == address.port() && inode != 0).then_some(inode)
}

/// Reads an address as /proc/net prints it: 32-bit words in this machine's byte order, in hexadecimal.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}
