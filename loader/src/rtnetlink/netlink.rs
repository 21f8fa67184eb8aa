//! The route socket: one request, one answer.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::string::String;
use std::vec;
use std::vec::Vec;

use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_packet_route::AddressFamily;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::answer::{self, Answer, Ending};
use super::error::{Action, NetlinkError, errno_of};
use super::request::Request;
use super::{Interface, InterfaceAddress, Route};
use crate::place::IfIndex;
use crate::sys::Errno;

/// The kernel's address.
const KERNEL: (u32, u32) = (0, 0);

/// How often a list is read when it changes each time.
const DUMP_ATTEMPTS: u32 = 16;

/// First size of the receive buffer in bytes; the kernel puts at most as much into one part of a dump.
const RECEIVE_SIZE: usize = 32 << 10;

/// What came of one of two requests.
pub(super) type BothAnswer = Result<Vec<Vec<u8>>, NetlinkError>;

/// A route socket in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Self::open_protocol(NETLINK_ROUTE)
    }

    /// Opens a socket for another protocol than that of routes (linux/netlink.h).
    pub(super) fn open_protocol(protocol: isize) -> Result<Self, NetlinkError> {
        let failed = |operation| move |error: io::Error| NetlinkError::socket(operation, &error);
        // Close-on-exec.
        let mut socket = Socket::new(protocol).map_err(failed("opening it"))?;
        let address = socket.bind_auto().map_err(failed("binding it"))?;
        // Texts with errors (4.12); acknowledgements without a copy of the request (4.3). A kernel without
        // them answers in a way that is understood too.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, port: address.port_number(), sequence: 0, buffer: vec![0; RECEIVE_SIZE] })
    }

    /// All interfaces of the socket's network namespace.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`].
    pub fn interfaces(&mut self) -> Result<Vec<Interface>, NetlinkError> {
        self.list(&Request::list_interfaces(), |payload| answer::interface(payload).map(Some))
    }

    /// The addresses of all interfaces of the socket's network namespace.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`].
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        self.list(&Request::list_addresses(), answer::address)
    }

    /// The routers that the routes of the socket's network namespace name, in all tables, each once.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`].
    pub fn gateways(&mut self) -> Result<Vec<IpAddr>, NetlinkError> {
        let mut gateways = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let routes =
                self.list(&Request::list_routes(family), |payload| answer::gateways(payload).map(Some))?;
            gateways.extend(routes.into_iter().flatten());
        }
        Ok(gateways.into_iter().collect())
    }

    /// Which way packets from this host to `address` go; `None` if out of no interface.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: ENETUNREACH and its kin where there is no way.
    pub fn route_to(&mut self, address: IpAddr) -> Result<Option<Route>, NetlinkError> {
        Ok(self.list(&Request::route_to(address), answer::route)?.into_iter().next())
    }

    /// Has the interface receive every multicast packet, or no longer: what ip(8) calls `allmulticast`.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`].
    pub fn set_all_multicast(&mut self, index: IfIndex, on: bool) -> Result<(), NetlinkError> {
        self.request(&Request::set_all_multicast(index, on)).map(drop)
    }

    /// The kind of qdisc that is where clsact goes on `index`.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`].
    pub fn qdisc_at_clsact(&mut self, index: IfIndex) -> Result<Option<String>, NetlinkError> {
        let request = Request::list_qdiscs(index);
        let kinds = self.list(&request, |payload| answer::qdisc_at_clsact(payload, index))?;
        Ok(kinds.into_iter().next())
    }

    /// Sends `request` and gives each part of the answer for which `read` has something to say.
    pub(super) fn list<T>(
        &mut self,
        request: &Request,
        read: impl Fn(&[u8]) -> Result<Option<T>, answer::Malformed>,
    ) -> Result<Vec<T>, NetlinkError> {
        let malformed = |reason| NetlinkError::Malformed { action: request.action, reason };
        let parts = self.request(request)?;
        parts.iter().filter_map(|part| read(part).map_err(malformed).transpose()).collect()
    }

    /// Sends `request` and gives the payloads of the answer, without the acknowledgement.
    pub(super) fn request(&mut self, request: &Request) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let answer = self.exchange(request)?;
            if !(request.is_dump() && answer.interrupted) {
                return Ok(answer.parts);
            }
        }
        Err(NetlinkError::Interrupted { action: request.action })
    }

    /// Sends two requests at once, neither of which asks for a list, and gives the payloads of both answers. The kernel
    /// does the second, whatever becomes of the first, before it looks whether this process is to die.
    pub(super) fn request_both(&mut self, requests: [&Request; 2]) -> Result<[BothAnswer; 2], NetlinkError> {
        let sequences = requests.map(|_| self.next_sequence());
        let bytes = [0, 1].map(|index| requests[index].encode(sequences[index])).concat();
        self.send(&bytes)?;
        let mut answer = |index: usize| self.answer(requests[index].action, sequences[index]);
        let answers = [answer(0), answer(1)];
        Ok(answers.map(|answer| answer.map(|answer| answer.parts)))
    }

    fn exchange(&mut self, request: &Request) -> Result<Answer, NetlinkError> {
        let sequence = self.next_sequence();
        self.send(&request.encode(sequence))?;
        self.answer(request.action, sequence)
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), NetlinkError> {
        let kernel = SocketAddr::new(KERNEL.0, KERNEL.1);
        retry_interrupted(|| self.socket.send_to(bytes, &kernel, 0))
            .map(drop)
            .map_err(|error| NetlinkError::socket("sending", &error))
    }

    /// Receives the answer to the request with the number `sequence`.
    fn answer(&mut self, action: Action, sequence: u32) -> Result<Answer, NetlinkError> {
        let malformed = |reason| NetlinkError::Malformed { action, reason };
        let mut answer = Answer::default();
        loop {
            let size = self.receive()?;
            let mut datagram = self.buffer.get(..size).unwrap_or_default();
            while let Some(message) = answer::next_message(&mut datagram).map_err(malformed)? {
                // Left over from a request that was given up, or a notification.
                if message.sequence != sequence || message.port != self.port {
                    continue;
                }
                answer.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match answer::ending(&message).map_err(malformed)? {
                    Ending::No => answer.parts.push(message.payload.to_vec()),
                    Ending::Success => return Ok(answer),
                    Ending::Refusal { errno, text } => {
                        return Err(NetlinkError::refused(action, errno, text));
                    }
                }
            }
        }
    }

    /// Receives a whole datagram from the kernel into the buffer and gives its size.
    fn receive(&mut self) -> Result<usize, NetlinkError> {
        let failed = |error: io::Error| NetlinkError::socket("receiving", &error);
        loop {
            let peek = libc::MSG_PEEK | libc::MSG_TRUNC;
            let (size, _) =
                retry_interrupted(|| self.socket.recv_from(&mut self.buffer.as_mut_slice(), peek))
                    .map_err(failed)?;
            if size > self.buffer.len() {
                self.buffer.resize(size, 0);
            }
            let (size, sender) =
                retry_interrupted(|| self.socket.recv_from(&mut self.buffer.as_mut_slice(), 0))
                    .map_err(failed)?;
            // Any process may send to this socket.
            if sender.port_number() == KERNEL.0 {
                return Ok(size);
            }
        }
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if errno_of(&error) == Errno::EINTR => {}
            result => return result,
        }
    }
}
