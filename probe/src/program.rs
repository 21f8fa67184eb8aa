//! The thin half: the entry points of the hooks, and with its modules the maps and the calls of kernel helpers.

#![allow(unsafe_code)]

use core::mem::transmute;
use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use crate::abi::{
    Address, Counter, NO_ADDRESS, Prefix, destination, helpers, link, lone_v4, lone_v6, ports, sources,
};
use crate::address;
use crate::headers::{Be32, Ethernet};
use crate::hint;
use crate::host::{Audience, CHUNK, Fragments, Frame, Host, Room};
use crate::packet::{Header, Packet, halves};
use crate::reflect::{Outcome, Reflected, Refusal, reflect, reflect_usual};

/// The fields of the kernel's `struct __sk_buff` (linux/bpf.h) up to the last one used here.
#[repr(C)]
pub struct SkBuff {
    len: u32,
    pkt_type: u32,
    unused: [u32; 2],
    protocol: u32,
    unused_behind: [u32; 5],
    ifindex: u32,
    tc_index: u32,
    cb: [u32; 5],
    unused_again: [u32; 2],
    data: u32,
    data_end: u32,
}

const _: () = assert!(core::mem::offset_of!(SkBuff, ifindex) == 40);
const _: () = assert!(core::mem::offset_of!(SkBuff, data) == 76);

/// Values of `pkt_type` (linux/if_packet.h).
mod packet_type {
    pub(super) const HOST: u32 = 0;
    pub(super) const BROADCAST: u32 = 1;
    pub(super) const MULTICAST: u32 = 2;
}

/// Verdicts of the traffic-control hook (linux/pkt_cls.h).
mod verdict {
    /// Go on to the next program.
    pub(super) const UNSPEC: i32 = -1;
    /// Let the packet go its way.
    pub(super) const OK: i32 = 0;
    /// Free the packet.
    pub(super) const SHOT: i32 = 2;
}

/// No interface has this number.
const NOWHERE: u32 = 0;

/// For l4_csum_replace: it is the pseudo header that changes (linux/bpf.h).
const BPF_F_PSEUDO_HDR: u64 = 1 << 4;

/// For skb_load_bytes_relative: the link-layer header (linux/bpf.h).
const HEADER_START_MAC: u32 = 0;

/// The settings of [`crate::abi::setting`]: nothing is there, the address is the value.
mod setting {
    unsafe extern "C" {
        pub(super) static bpfecho_first_port: u8;
        pub(super) static bpfecho_last_port: u8;
        pub(super) static bpfecho_mtu: u8;
        pub(super) static bpfecho_protocols: u8;
        pub(super) static bpfecho_link: u8;
        pub(super) static bpfecho_mac: u8;
        pub(super) static bpfecho_helpers: u8;
        pub(super) static bpfecho_versions: u8;
        pub(super) static bpfecho_ports_are: u8;
        pub(super) static bpfecho_lone_v4: u8;
        pub(super) static bpfecho_lone_v6_high: u8;
        pub(super) static bpfecho_lone_v6_low: u8;
        pub(super) static bpfecho_sources: u8;
        pub(super) static bpfecho_broadcast: u8;
    }
}

/// The value of a setting.
macro_rules! setting {
    ($name:ident) => {
        &raw const setting::$name as u64
    };
}

mod helper;
mod maps;
mod xdp;

use maps::{
    HINTS_IN_ENTRY, bpfecho_claimed, bpfecho_destination, bpfecho_frags, bpfecho_hints, bpfecho_port,
    bpfecho_source, count, entry, lookup, note, remember, room,
};

/// Where a program runs.
trait Place {
    /// See [`Host::WIRE`].
    const WIRE: bool;
    /// See [`Host::XDP`].
    const XDP: bool;
    /// See [`Host::forget`].
    fn forget(&self, value: u32) -> u32;
}

/// The configuration.
struct Hook<P>(P);

impl<P: Place> Host for Hook<P> {
    const WIRE: bool = P::WIRE;
    const XDP: bool = P::XDP;

    #[inline(always)]
    fn port_range(&self) -> (u64, u64) {
        (setting!(bpfecho_first_port), setting!(bpfecho_last_port))
    }

    #[inline(always)]
    fn serves_port(&self, port: u16) -> bool {
        if setting!(bpfecho_ports_are) == u64::from(ports::ALL) {
            return true;
        }
        bpfecho_port(port) != 0
    }

    #[inline(always)]
    fn mtu(&self) -> u32 {
        setting!(bpfecho_mtu) as u32
    }

    #[inline(always)]
    fn protocols(&self) -> u32 {
        setting!(bpfecho_protocols) as u32
    }

    #[inline(always)]
    fn versions(&self) -> u32 {
        setting!(bpfecho_versions) as u32
    }

    #[inline(always)]
    fn has_ethernet(&self) -> bool {
        setting!(bpfecho_link) == u64::from(link::ETHERNET)
    }

    #[inline(always)]
    fn mac(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = (setting!(bpfecho_mac)).to_ne_bytes();
        [a, b, c, d, e, f]
    }

    #[inline(always)]
    fn destination(&self, address: &Prefix) -> u32 {
        let [high, low] = halves(&address.address);
        bpfecho_destination(high, low)
    }

    #[inline(always)]
    fn answers(&self, address: &Prefix) -> bool {
        let [high, low] = halves(&address.address);
        bpfecho_source(high, low) != 0
    }

    #[inline(always)]
    fn serves_v4(&self, address: Be32) -> bool {
        let lone = setting!(bpfecho_lone_v4);
        if lone == NO_ADDRESS {
            self.destination(&Prefix::whole(address::mapped(address))) & destination::ECHO != 0
        } else {
            lone_v4(address.0) == lone
        }
    }

    #[inline(always)]
    fn serves_v6(&self, address: &Address) -> bool {
        let lone = [setting!(bpfecho_lone_v6_high), setting!(bpfecho_lone_v6_low)];
        if lone == [NO_ADDRESS; 2] {
            self.destination(&Prefix::whole(*address)) & destination::ECHO != 0
        } else {
            lone_v6(address) == lone
        }
    }

    #[inline(always)]
    fn answers_v4(&self, address: Be32) -> bool {
        if setting!(bpfecho_sources) == u64::from(sources::LISTED) {
            return self.answers(&Prefix::whole(address::mapped(address)));
        }
        address::is_of_a_host_v4(address) && lone_v4(address.0) != setting!(bpfecho_broadcast)
    }

    #[inline(always)]
    fn answers_v6(&self, address: &Address) -> bool {
        if setting!(bpfecho_sources) == u64::from(sources::LISTED) {
            return self.answers(&Prefix::whole(*address));
        }
        address::is_of_a_host_v6(address)
    }

    #[inline(always)]
    fn knows_fragments(&self, datagram: &Fragments) -> bool {
        // SAFETY: the map's keys are `Fragments`, its values `u32`.
        unsafe { lookup::<Fragments, u32>(addr_of_mut!(bpfecho_frags), datagram) }.is_some()
    }

    #[inline(always)]
    fn remember_fragments(&self, datagram: &Fragments) {
        remember(addr_of_mut!(bpfecho_frags), datagram);
    }

    #[inline(always)]
    fn forget_fragments(&self, datagram: &Fragments) {
        // SAFETY: the map's keys are `Fragments`.
        unsafe { helper::map_delete_elem(addr_of_mut!(bpfecho_frags), (&raw const *datagram).cast()) };
    }

    #[inline(always)]
    fn is_claimed(&self, address: &Prefix) -> bool {
        // SAFETY: the map's keys are `Prefix`, its values `u32`.
        unsafe { lookup::<Prefix, u32>(addr_of_mut!(bpfecho_claimed), address) }.is_some()
    }

    #[inline(always)]
    fn claim(&self, address: &Prefix) {
        remember(addr_of_mut!(bpfecho_claimed), address);
    }

    #[inline(always)]
    fn learn(&self, slot: u16, is_message: bool) -> bool {
        // SAFETY: the map's keys are `u32`, its values `u64`.
        let hints = unsafe { entry::<u64>(addr_of_mut!(bpfecho_hints), u32::from(slot / HINTS_IN_ENTRY)) };
        let Some(hints) = hints else { return false };
        let place = u32::from(slot % HINTS_IN_ENTRY) * u16::BITS;
        let before = (*hints >> place) as u16;
        let (after, twice) = hint::after(before, is_message);
        // If two CPUs change an entry at the same time, one change is lost.
        if after != before && !(P::XDP && twice) {
            *hints ^= u64::from(before ^ after) << place;
        }
        twice
    }

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        self.0.forget(value)
    }
}

/// A hook of traffic control.
struct Tc<const WIRE: bool>(*mut SkBuff);

impl<const WIRE: bool> Place for Tc<WIRE> {
    const WIRE: bool = WIRE;
    const XDP: bool = false;

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        forget(self.0, value)
    }
}

/// See [`Host::forget`].
#[inline(always)]
fn forget(skb: *mut SkBuff, value: u32) -> u32 {
    // SAFETY: these fields are scratch memory for programs on this hook, of which the verifier does not keep
    // track. Only unusual packets come here, whose notes of other programs, if any, are lost.
    unsafe {
        let scratch = &raw mut (*skb).cb[0];
        write_volatile(scratch, value);
        read_volatile(scratch)
    }
}

/// A frame as the kernel keeps it.
struct Skb {
    skb: *mut SkBuff,
}

impl Frame for Skb {
    #[inline(always)]
    fn linear(&mut self) -> Packet<'_> {
        // SAFETY: the kernel passes a valid `__sk_buff`; its fields `data` and `data_end` delimit bytes that
        // are this program's alone while it runs.
        unsafe {
            let start = read_volatile(&raw const (*self.skb).data) as usize as *mut u8;
            let end = read_volatile(&raw const (*self.skb).data_end) as usize as *mut u8;
            Packet::from_raw(start, end)
        }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the kernel passes a valid `__sk_buff`.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn ethertype(&self) -> u16 {
        // SAFETY: likewise. The field is in network byte order.
        u16::from_be(unsafe { (*self.skb).protocol } as u16)
    }

    #[inline(always)]
    fn audience(&self) -> Audience {
        // SAFETY: likewise.
        match unsafe { (*self.skb).pkt_type } {
            packet_type::HOST => Audience::Us,
            packet_type::BROADCAST | packet_type::MULTICAST => Audience::Many,
            _ => Audience::Other,
        }
    }

    #[inline(always)]
    fn load<T: Header>(&self, offset: u32, to: &mut T) -> bool {
        // SAFETY: the helper writes inside `to`, which any bytes are valid for.
        unsafe {
            let to = (&raw mut *to).cast();
            helper::skb_load_bytes(self.skb, offset, to, size_of::<T>() as u32) == 0
        }
    }

    #[inline(always)]
    fn load_part<T: Header>(&self, offset: u32, to: &mut T, length: usize) -> bool {
        let Some(length) = self.checked(length, size_of::<T>()) else { return false };
        // SAFETY: the helper writes inside `to`, which any bytes are valid for.
        unsafe { helper::skb_load_bytes(self.skb, offset, (&raw mut *to).cast(), length) == 0 }
    }

    #[inline(always)]
    fn sum(&self, chunk: &[u8; CHUNK], sum: u32) -> u32 {
        // SAFETY: the helper reads inside `chunk`.
        unsafe { helper::csum_diff(core::ptr::null(), 0, chunk.as_ptr().cast(), CHUNK as u32, sum) as u32 }
    }

    #[inline(always)]
    fn store<T: Header>(&mut self, offset: u32, header: &T) -> bool {
        // SAFETY: the helper reads inside `header`.
        unsafe {
            let from = (&raw const *header).cast();
            helper::skb_store_bytes(self.skb, offset, from, size_of::<T>() as u32, 0) == 0
        }
    }

    #[inline(always)]
    fn store_part<T: Header>(&mut self, offset: u32, header: &T, length: usize) -> bool {
        let Some(length) = self.checked(length, size_of::<T>()) else { return false };
        // SAFETY: the helper reads inside `header`.
        unsafe { helper::skb_store_bytes(self.skb, offset, (&raw const *header).cast(), length, 0) == 0 }
    }
}

impl Skb {
    /// `length` if it is from 1 to `most`, in a form in which the verifier knows that.
    #[inline(always)]
    fn checked(&self, length: usize, most: usize) -> Option<u32> {
        let less = forget(self.skb, (length as u32).wrapping_sub(1));
        if less < most as u32 { Some(less + 1) } else { None }
    }
}

/// The program on the egress hook of loopback. A packet there is on its way to the host itself: turned round,
/// it arrives as if the other end had sent it, with the route it has.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tc/lo")]
pub extern "C" fn bpfecho_lo(skb: *mut SkBuff) -> i32 {
    run::<false>(skb)
}

/// The program on the ingress hook of any other interface. A packet there has arrived: turned round, it is sent
/// out of the interface again.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tc/wire")]
pub extern "C" fn bpfecho_wire(skb: *mut SkBuff) -> i32 {
    if setting!(bpfecho_helpers) == u64::from(helpers::NEW)
        && setting!(bpfecho_link) == u64::from(link::ETHERNET)
        && has_lost_link_layer(skb)
    {
        restore_link_layer(skb);
    }
    run::<true>(skb)
}

/// The lowest EtherType: below are lengths (IEEE 802.3), which the kernel knows by other numbers.
const ETH_P_802_3_MIN: u16 = 0x600;

/// Whether the packet begins with its network header, as it should not. A kernel that copies a packet for generic XDP
/// (since Linux 6.9, kernel commit e6d5dbdd20aa) forgets how long the link-layer header is: netif_skb_check_for_xdp()
/// in net/core/dev.c makes a new `sk_buff` with a `mac_len` of zero. Whose XDP program it was does not matter.
#[inline(always)]
fn has_lost_link_layer(skb: *mut SkBuff) -> bool {
    let mut frame = Skb { skb };
    let known = frame.ethertype();
    let Some(ethernet) = frame.linear().take::<Ethernet>() else { return false };
    known >= ETH_P_802_3_MIN && known != ethernet.ethertype.get()
}

/// Puts the link-layer header, which is still there, in front of the packet again. If that fails, the packet is not
/// recognised.
#[inline(always)]
fn restore_link_layer(skb: *mut SkBuff) {
    let Some(Room { ethernet, .. }) = room() else { return };
    let length = size_of::<Ethernet>() as u32;
    // SAFETY: the kernel passes a valid `__sk_buff`, and the helpers read and write inside `ethernet`.
    unsafe {
        let header = (&raw mut *ethernet).cast();
        if helper::skb_load_bytes_relative(skb, 0, header, length, HEADER_START_MAC) == 0
            && helper::skb_change_head(skb, length, 0) == 0
        {
            helper::skb_store_bytes(skb, 0, header, length, 0);
        }
    }
}

#[inline(always)]
fn run<const WIRE: bool>(skb: *mut SkBuff) -> i32 {
    let mut frame = Skb { skb };
    let (length, audience) = (frame.length(), frame.audience());
    match reflect_usual(&Hook(Tc::<WIRE>(skb)), frame.linear(), &length, audience) {
        Some(outcome) => conclude::<WIRE>(skb, outcome),
        None if WIRE => bpfecho_wire_unusual(skb),
        None => bpfecho_lo_unusual(skb),
    }
}

/// What is unusual on loopback. A function of its own, so that it neither shares registers with what is usual nor has
/// the verifier follow both together.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn bpfecho_lo_unusual(skb: *mut SkBuff) -> i32 {
    look_closer::<false>(skb)
}

/// What is unusual elsewhere; likewise.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn bpfecho_wire_unusual(skb: *mut SkBuff) -> i32 {
    look_closer::<true>(skb)
}

#[inline(always)]
fn look_closer<const WIRE: bool>(skb: *mut SkBuff) -> i32 {
    let Some(room) = room() else { return verdict::UNSPEC };
    conclude::<WIRE>(skb, reflect(&Hook(Tc::<WIRE>(skb)), &mut Skb { skb }, room))
}

/// The verdict on a packet, for which it does what is left to do.
#[inline(always)]
fn conclude<const WIRE: bool>(skb: *mut SkBuff, outcome: Outcome) -> i32 {
    let verdict = match outcome {
        Outcome::Reflected(reflected) => send::<WIRE>(skb, reflected),
        Outcome::Refused(Refusal { reason: None }) => Some(verdict::UNSPEC),
        Outcome::Refused(Refusal { reason: Some(reason) }) => {
            // The verifier need not follow each of them.
            let hook = Hook(Tc::<WIRE>(skb));
            // SAFETY: the number is that of a counter, as it comes back as it is.
            let reason = unsafe { transmute::<u8, Counter>(hook.forget(reason as u32) as u8) };
            note(reason);
            Refusal::because(reason).goes_on().then_some(verdict::UNSPEC)
        }
    };
    verdict.unwrap_or_else(consume::<WIRE>)
}

/// Gives the verdict that frees the packet.
///
/// After SHOT a sender on this host would believe in congestion. The one verdict that is taken by tcx, too, and tells
/// the sender that the packet was sent is a redirection, here to an interface that does not exist: skb_do_redirect() in
/// net/core/filter.c frees the packet, and sch_handle_egress() in net/core/dev.c does not ask.
#[inline(always)]
fn consume<const WIRE: bool>() -> i32 {
    // SAFETY: plain numbers.
    if WIRE { verdict::SHOT } else { unsafe { helper::redirect(NOWHERE, 0) as i32 } }
}

/// Does what is left to do for a packet that was turned round. Returns the verdict; `None` if the packet is lost.
#[inline(always)]
fn send<const WIRE: bool>(skb: *mut SkBuff, reflected: Reflected) -> Option<i32> {
    let Reflected { packets, bytes, event, checksum, difference, pseudo_difference, .. } = reflected;
    count(packets, bytes);
    if let Some(event) = event {
        note(event);
    }
    // SAFETY: the offset is that of a checksum inside the packet. The helper cannot fail, as the bytes around
    // were just written.
    unsafe {
        if checksum != 0 {
            helper::l4_csum_replace(skb, checksum, 0, u64::from(difference), 0);
        }
        if pseudo_difference != 0 {
            helper::l4_csum_replace(skb, checksum, 0, u64::from(pseudo_difference), BPF_F_PSEUDO_HDR);
        }
    }
    if WIRE && reflected.unbalanced != 0 {
        // SAFETY: plain numbers. The helper fails where there is no sum to correct.
        unsafe { helper::csum_update(skb, reflected.unbalanced) };
    }
    // SAFETY: plain numbers.
    if reflected.cut != 0 && unsafe { helper::skb_change_tail(skb, reflected.cut, 0) } != 0 {
        return None;
    }
    if !WIRE {
        return Some(verdict::OK);
    }
    // SAFETY: the kernel passes a valid `__sk_buff`; plain numbers. If the packet cannot be copied, the client sends
    // its own again.
    unsafe {
        let ifindex = (*skb).ifindex;
        if reflected.twice {
            helper::clone_redirect(skb, ifindex, 0);
            note(Counter::Nudges);
        }
        Some(helper::redirect(ifindex, 0) as i32)
    }
}

/// The licence, as the kernel reads it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"MIT\0";

/// Is never linked: see linker.ld.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
