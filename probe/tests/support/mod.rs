//! What the tests share: a host, builders of packets, and the last steps of the hook.

#![allow(dead_code)] // every test program uses a part of this

mod checksums;
mod frames;
pub(crate) mod golden;
pub(crate) mod random;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

pub(crate) use checksums::*;
pub(crate) use frames::*;
use probe::abi::Counter;
use probe::abi::{Prefix, destination, link, protocols, versions};
use probe::hint;
use probe::host::{Audience, CHUNK, Fragments, Frame, Host, Room};
use probe::packet::{self, Header, Packet};
use probe::reflect::{Outcome, Reflected, Refusal, reflect, reflect_usual};

/// A host on loopback, or with `WIRE` on an Ethernet, there with `XDP` in front of the usual hook.
pub(crate) struct Server<const WIRE: bool = false, const XDP: bool = false> {
    /// The served addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Prefixes of virtual hosts: address and length.
    pub(crate) virtual_hosts: Vec<(IpAddr, u8)>,
    pub(crate) ports: Vec<u16>,
    pub(crate) mtu: u32,
    /// A sum of [`protocols`].
    pub(crate) protocols: u32,
    /// One of [`link`].
    pub(crate) link: u32,
    /// Addresses that are not answered.
    pub(crate) refused: Vec<IpAddr>,
    pub(crate) memory: Memory,
}

pub(crate) type Loopback = Server<false>;
pub(crate) type Wire = Server<true>;
pub(crate) type Xdp = Server<true, true>;

/// What a host remembers.
#[derive(Default)]
pub(crate) struct Memory {
    fragments: RefCell<HashSet<Fragments>>,
    claimed: RefCell<HashSet<Prefix>>,
    hints: RefCell<HashMap<u16, u16>>,
    /// As in the kernel, whatever the last packet left behind.
    room: RefCell<Room>,
}

impl<const WIRE: bool, const XDP: bool> Server<WIRE, XDP> {
    pub(crate) fn usual() -> Self {
        Self {
            addresses: vec![SERVER_4.parse().unwrap(), SERVER_6.parse().unwrap()],
            virtual_hosts: Vec::new(),
            ports: vec![7000, PORT, 7010],
            mtu: 1500,
            protocols: protocols::TCP | protocols::UDP,
            link: link::ETHERNET,
            refused: Vec::new(),
            memory: Memory::default(),
        }
    }
}

/// `address` in a key.
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl<const WIRE: bool, const XDP: bool> Host for Server<WIRE, XDP> {
    const WIRE: bool = WIRE;
    const XDP: bool = XDP;

    fn port_range(&self) -> (u64, u64) {
        (u64::from(*self.ports.iter().min().unwrap()), u64::from(*self.ports.iter().max().unwrap()))
    }

    fn serves_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    fn mtu(&self) -> u32 {
        self.mtu
    }

    fn protocols(&self) -> u32 {
        self.protocols
    }

    fn versions(&self) -> u32 {
        let addresses = self.addresses.iter().chain(self.virtual_hosts.iter().map(|(address, _)| address));
        addresses.fold(0, |sum, address| sum | if address.is_ipv4() { versions::V4 } else { versions::V6 })
    }

    fn has_ethernet(&self) -> bool {
        self.link == link::ETHERNET
    }

    fn mac(&self) -> [u8; 6] {
        SERVER_MAC
    }

    fn destination(&self, address: &Prefix) -> u32 {
        assert_eq!(address.length, 128);
        let number = u128::from_be_bytes(address.address);
        let is_virtual = self.virtual_hosts.iter().any(|&(prefix, length)| {
            let length = u32::from(length) + if prefix.is_ipv4() { 96 } else { 0 };
            let differing = number ^ u128::from_be_bytes(key(prefix));
            differing.checked_shr(128 - length).unwrap_or(0) == 0
        });
        if self.addresses.iter().any(|served| key(*served) == address.address) {
            destination::ECHO
        } else if is_virtual {
            destination::ECHO | destination::VIRTUAL
        } else {
            0
        }
    }

    fn answers(&self, address: &Prefix) -> bool {
        assert_eq!(address.length, 128);
        !self.refused.iter().any(|refused| key(*refused) == address.address)
    }

    fn knows_fragments(&self, datagram: &Fragments) -> bool {
        self.memory.fragments.borrow().contains(datagram)
    }

    fn remember_fragments(&self, datagram: &Fragments) {
        self.memory.fragments.borrow_mut().insert(*datagram);
    }

    fn forget_fragments(&self, datagram: &Fragments) {
        self.memory.fragments.borrow_mut().remove(datagram);
    }

    fn is_claimed(&self, address: &Prefix) -> bool {
        self.memory.claimed.borrow().contains(address)
    }

    fn claim(&self, address: &Prefix) {
        self.memory.claimed.borrow_mut().insert(*address);
    }

    fn learn(&self, slot: u16, is_message: bool) -> bool {
        let mut hints = self.memory.hints.borrow_mut();
        let hint = hints.entry(slot).or_default();
        let (after, twice) = hint::after(*hint, is_message);
        if !(XDP && twice) {
            *hint = after;
        }
        twice
    }
}

/// A frame, of which only so much can be accessed at once.
pub(crate) struct Bytes<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) linear: usize,
    pub(crate) audience: Audience,
}

impl Frame for Bytes<'_> {
    fn linear(&mut self) -> Packet<'_> {
        Packet::new(&mut self.bytes[..self.linear])
    }

    fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn ethertype(&self) -> u16 {
        if self.bytes.first().is_some_and(|byte| byte >> 4 == 4) { 0x0800 } else { 0x86dd }
    }

    fn audience(&self) -> Audience {
        self.audience
    }

    fn load<T: Header>(&self, offset: u32, to: &mut T) -> bool {
        self.load_part(offset, to, size_of::<T>())
    }

    fn load_part<T: Header>(&self, offset: u32, to: &mut T, length: usize) -> bool {
        let part = self.bytes.get(offset as usize..).and_then(|bytes| bytes.get(..length));
        part.is_some_and(|part| {
            packet::bytes_mut(to)[..length].copy_from_slice(part);
            length != 0
        })
    }

    fn sum(&self, chunk: &[u8; CHUNK], sum: u32) -> u32 {
        // csum_partial(): words of 32 bits in this machine's byte order.
        let words = chunk.as_chunks::<4>().0;
        words.iter().fold(sum, |sum, word| add(sum, u32::from_ne_bytes(*word)))
    }

    fn store<T: Header>(&mut self, offset: u32, header: &T) -> bool {
        self.store_part(offset, header, size_of::<T>())
    }

    fn store_part<T: Header>(&mut self, offset: u32, header: &T, length: usize) -> bool {
        let part = self.bytes.get_mut(offset as usize..).and_then(|bytes| bytes.get_mut(..length));
        part.is_some_and(|part| {
            part.copy_from_slice(&packet::bytes(header)[..length]);
            length != 0
        })
    }
}

pub(crate) const NOT_OURS: Outcome = Outcome::Refused(Refusal::NOT_OURS);

/// For us, but it goes on.
pub(crate) const fn passed(reason: Counter) -> Outcome {
    Outcome::Refused(Refusal::because(reason))
}

/// For us, and vanishes.
pub(crate) const fn consumed(reason: Counter) -> Outcome {
    Outcome::Refused(Refusal::because(reason))
}

/// `reflect` on the bytes of `frame`, for this host.
#[track_caller]
pub(crate) fn run<const WIRE: bool>(server: &Server<WIRE>, frame: &mut [u8]) -> Outcome {
    run_for(server, frame, Audience::Us)
}

/// `reflect` on the bytes of `frame`: all of them in the linear part, and none, which must be the same.
#[track_caller]
pub(crate) fn run_for<const WIRE: bool>(
    server: &Server<WIRE>,
    frame: &mut [u8],
    audience: Audience,
) -> Outcome {
    let before = frame.to_vec();
    let mut slow = frame.to_vec();
    let slow_outcome = try_with(server, &mut Bytes { bytes: &mut slow, linear: 0, audience });
    let linear = frame.len();
    let outcome = run_with(server, &mut Bytes { bytes: frame, linear, audience });
    if let Outcome::Reflected(reflected) = &outcome {
        assert_balanced(server, &before, frame, reflected);
    } else {
        assert_eq!(frame, before, "{outcome:?} changed a byte");
    }
    let (same, slow_same) = (done(frame, &outcome), done(&slow, &slow_outcome));
    assert_eq!(same, slow_same, "the paths differ for {before:02x?}");
    outcome
}

/// What becomes of a frame with a complete checksum: one path corrects that itself.
pub(crate) fn done(frame: &[u8], outcome: &Outcome) -> (Vec<u8>, Outcome) {
    let (mut frame, mut outcome) = (frame.to_vec(), *outcome);
    if let Outcome::Reflected(reflected) = &mut outcome {
        finish(&mut frame, reflected);
        (reflected.checksum, reflected.difference) = (0, 0);
    }
    (frame, outcome)
}

/// `reflect` on `frame`, of which no hint remains.
pub(crate) fn try_with<const WIRE: bool>(server: &Server<WIRE>, frame: &mut Bytes) -> Outcome {
    let hints = server.memory.hints.borrow().clone();
    let outcome = run_with(server, frame);
    *server.memory.hints.borrow_mut() = hints;
    outcome
}

/// `reflect` on `frame`.
pub(crate) fn run_with<const WIRE: bool>(server: &Server<WIRE>, frame: &mut Bytes) -> Outcome {
    let (length, audience) = (frame.length(), frame.audience());
    let usual = reflect_usual(server, frame.linear(), &length, audience);
    usual.unwrap_or_else(|| reflect(server, frame, &mut server.memory.room.borrow_mut()))
}

/// `reflect_usual` on the bytes of `frame`, of which it may access so many at once.
#[track_caller]
pub(crate) fn run_in_xdp(server: &Xdp, frame: &mut [u8], linear: usize) -> Outcome {
    let before = frame.to_vec();
    let length = frame.len() as u32;
    let outcome = reflect_usual(server, Packet::new(&mut frame[..linear]), &length, Audience::Us);
    let outcome = outcome.unwrap_or(NOT_OURS);
    match &outcome {
        Outcome::Reflected(Reflected { checksum: 0, unbalanced: _, cut: 0, twice: false, .. }) => {}
        Outcome::Reflected(left) => panic!("XDP can not do what is left: {left:?}"),
        Outcome::Refused(refusal) => {
            assert!(refusal.goes_on(), "{refusal:?}");
            assert_eq!(frame, before, "{outcome:?} changed a byte");
        }
    }
    outcome
}

/// Asserts that the sum over the IP packet changed by as much as is said, as a kernel that has the sum from
/// the device (CHECKSUM_COMPLETE) relies on.
#[track_caller]
fn assert_balanced<const WIRE: bool>(
    server: &Server<WIRE>,
    before: &[u8],
    after: &[u8],
    reflected: &Reflected,
) {
    let network = if WIRE && server.link == link::NONE { Some(0) } else { network_offset(before) };
    let Some(network) = network else { return };
    // Of what it cuts off the kernel forgets the sum: __skb_trim_rcsum() in include/linux/skbuff.h.
    if reflected.cut != 0 {
        return;
    }
    let mut after = after.to_vec();
    finish(&mut after, reflected);
    let expected = (sum(&before[network..]) + u64::from(reflected.unbalanced)) % 0xffff;
    assert_eq!(sum(&after[network..]), expected, "{reflected:?} for {before:02x?}");
}

/// The last steps, as the kernel does them for a packet with a complete checksum.
pub(crate) fn finish(frame: &mut Vec<u8>, reflected: &Reflected) {
    // bpf_l4_csum_replace(skb, offset, 0, difference, 0): csum_fold(csum_add(difference, ~csum_unfold(sum))).
    for difference in [reflected.difference, reflected.pseudo_difference] {
        change_checksum(frame, reflected, |field| !fold(add(!u32::from(field), difference)));
    }
    cut(frame, reflected);
}

/// The last steps, as the kernel does them for a packet whose checksum is still that of the pseudo header
/// (CHECKSUM_PARTIAL).
pub(crate) fn finish_partial(frame: &mut Vec<u8>, reflected: &Reflected) {
    let difference = reflected.pseudo_difference;
    if difference != 0 {
        change_checksum(frame, reflected, |field| fold(add(u32::from(field), difference)));
    }
    cut(frame, reflected);
}

fn change_checksum(frame: &mut [u8], reflected: &Reflected, change: impl FnOnce(u16) -> u16) {
    let offset = reflected.checksum as usize;
    if offset != 0 {
        let field = &mut frame[offset..offset + 2];
        let changed = change(u16::from_ne_bytes([field[0], field[1]]));
        field.copy_from_slice(&changed.to_ne_bytes());
    }
}

fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u32::from(carry)
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Cuts `frame` off, if it is to be.
fn cut(frame: &mut Vec<u8>, reflected: &Reflected) {
    if reflected.cut != 0 {
        frame.truncate(reflected.cut as usize);
    }
}

/// The finished answer to `frame`, which must be reflected once.
#[track_caller]
pub(crate) fn echo<const WIRE: bool>(server: &Server<WIRE>, frame: &[u8]) -> (Reflected, Vec<u8>) {
    let mut answer = frame.to_vec();
    match run(server, &mut answer) {
        Outcome::Reflected(reflected) => {
            finish(&mut answer, &reflected);
            assert!(!reflected.twice);
            (reflected, answer)
        }
        other => panic!("{other:?} for {frame:02x?}"),
    }
}

/// Asserts that `frame` has this outcome and that no byte of it changes.
#[track_caller]
pub(crate) fn assert_untouched<const WIRE: bool>(server: &Server<WIRE>, frame: &[u8], outcome: Outcome) {
    assert_eq!(run(server, &mut frame.to_vec()), outcome, "{frame:02x?}");
}
