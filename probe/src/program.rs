//! The thin half: the entry point of the hook, the maps, and the calls of kernel helpers.

#![allow(unsafe_code)]

use core::mem::transmute;
use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use crate::abi::{Address, COUNTERS, Counters, map};
use crate::packet::Packet;
use crate::reflect::{Finish, Host, Outcome, reflect};

/// The fields of the kernel's `struct __sk_buff` (linux/bpf.h) up to the last one used here.
#[repr(C)]
pub struct SkBuff {
    len: u32,
    unused: [u32; 11],
    cb: [u32; 5],
    unused_behind: [u32; 2],
    data: u32,
    data_end: u32,
}

const _: () = assert!(core::mem::offset_of!(SkBuff, data) == 76);

/// Verdicts of the traffic-control hook (linux/pkt_cls.h).
mod verdict {
    /// Go on to the next program.
    pub(super) const UNSPEC: i32 = -1;
    /// Let the packet go its way.
    pub(super) const OK: i32 = 0;
    /// Free the packet and tell its sender that it was sent. After SHOT the sender's TCP would believe in
    /// congestion.
    pub(super) const STOLEN: i32 = 4;
}

/// A map definition in the `maps` section, as loaders without BTF read it.
#[repr(C)]
pub struct MapDefinition {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_PERCPU_ARRAY: u32 = 6;

/// [`map::ADDRESSES`]. The loader sets how many there are.
#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static mut bpfecho_addrs: MapDefinition = MapDefinition {
    kind: BPF_MAP_TYPE_HASH,
    key_size: size_of::<Address>() as u32,
    value_size: 1,
    max_entries: 1,
    flags: 0,
};

/// [`map::PORTS`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static mut bpfecho_ports: MapDefinition = MapDefinition {
    kind: BPF_MAP_TYPE_ARRAY,
    key_size: size_of::<u32>() as u32,
    value_size: size_of::<u64>() as u32,
    max_entries: map::PORT_WORDS,
    flags: 0,
};

/// [`map::COUNTERS`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static mut bpfecho_counts: MapDefinition = MapDefinition {
    kind: BPF_MAP_TYPE_PERCPU_ARRAY,
    key_size: size_of::<u32>() as u32,
    value_size: size_of::<Counters>() as u32,
    max_entries: 1,
    flags: 0,
};

/// The settings of [`crate::abi::setting`]: nothing is there, the address is the value.
mod setting {
    unsafe extern "C" {
        pub(super) static bpfecho_first_port: u8;
        pub(super) static bpfecho_last_port: u8;
        pub(super) static bpfecho_mtu: u8;
    }
}

/// The value of a setting.
macro_rules! setting {
    ($name:ident) => {
        &raw const setting::$name as u64
    };
}

/// The kernel's helper functions (linux/bpf.h), called by number.
mod helper {
    use super::{MapDefinition, SkBuff, transmute};
    use core::ffi::c_void;

    /// Declares a helper. The address that is called is the helper's number: so the compiler emits the
    /// instruction `call number`, which is how BPF calls the kernel.
    macro_rules! helpers {
        ($($(#[$doc:meta])* $number:literal $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
            $($(#[$doc])*
            /// # Safety
            /// The arguments are what the helper takes; the verifier checks them.
            #[inline(always)]
            pub(super) unsafe fn $name($($argument: $kind),*) -> $result {
                // SAFETY: the number is never an address, it becomes the operand of the call.
                let helper: extern "C" fn($($kind),*) -> $result = unsafe { transmute($number as usize) };
                helper($($argument),*)
            })*
        };
    }

    helpers! {
        /// The value of `key`, null if there is none.
        1 map_lookup_elem(map: *mut MapDefinition, key: *const c_void) -> *mut c_void;
        /// Corrects the checksum `offset` bytes into the packet: with a size of zero in `flags`, by the
        /// difference `to`.
        11 l4_csum_replace(skb: *mut SkBuff, offset: u32, from: u64, to: u64, flags: u64) -> i64;
        /// Cuts the packet to `length` bytes.
        38 skb_change_tail(skb: *mut SkBuff, length: u32, flags: u64) -> i64;
    }
}

/// The hook as the rules see it.
struct TrafficControl {
    skb: *mut SkBuff,
}

impl Host for TrafficControl {
    #[inline(always)]
    fn port_range(&self) -> (u16, u16) {
        (setting!(bpfecho_first_port) as u16, setting!(bpfecho_last_port) as u16)
    }

    #[inline(always)]
    fn serves_port(&self, port: u16) -> bool {
        let index = u32::from(port / 64);
        // SAFETY: the map's keys are `u32`, its values `u64`.
        unsafe {
            let word =
                helper::map_lookup_elem(addr_of_mut!(bpfecho_ports), (&raw const index).cast()).cast::<u64>();
            !word.is_null() && *word >> (port % 64) & 1 != 0
        }
    }

    #[inline(always)]
    fn serves_address(&self, address: &Address) -> bool {
        // SAFETY: the map's keys are addresses.
        !unsafe { helper::map_lookup_elem(addr_of_mut!(bpfecho_addrs), address.as_ptr().cast()) }.is_null()
    }

    #[inline(always)]
    fn mtu(&self) -> u32 {
        setting!(bpfecho_mtu) as u32
    }

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        // SAFETY: these fields are scratch memory for programs on this hook, of which the verifier does not
        // keep track. Only packets that are ours come here, so no other program's notes are lost.
        unsafe {
            let scratch = &raw mut (*self.skb).cb[0];
            write_volatile(scratch, value);
            read_volatile(scratch)
        }
    }
}

/// Adds to the counters of this CPU, which nothing else writes while the program runs.
#[inline(always)]
fn count(amounts: &[(usize, u64)]) {
    let index = 0u32;
    // SAFETY: the map's keys are `u32`, its values `Counters`.
    let counters = unsafe {
        helper::map_lookup_elem(addr_of_mut!(bpfecho_counts), (&raw const index).cast())
            .cast::<Counters>()
            .as_mut()
    };
    if let Some(counters) = counters {
        for &(counter, amount) in amounts {
            if counter < COUNTERS {
                counters[counter] += amount;
            }
        }
    }
}

/// The program on the egress hook of loopback. A packet there is on its way to the host itself: turned round,
/// it arrives as if the other end had sent it, with the route it has.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tc")]
pub extern "C" fn bpfecho_lo(skb: *mut SkBuff) -> i32 {
    // SAFETY: the kernel passes a valid `__sk_buff`; its fields `data` and `data_end` delimit bytes that are
    // this program's alone while it runs.
    let (packet, length) = unsafe {
        let start = read_volatile(&raw const (*skb).data) as usize as *mut u8;
        let end = read_volatile(&raw const (*skb).data_end) as usize as *mut u8;
        (Packet::from_raw(start, end), (*skb).len)
    };
    match reflect(&TrafficControl { skb }, packet, length) {
        Outcome::NotOurs => verdict::UNSPEC,
        Outcome::Passed(reason) => {
            count(&[(reason as usize, 1)]);
            verdict::UNSPEC
        }
        Outcome::Consumed(reason) => {
            count(&[(reason as usize, 1)]);
            verdict::STOLEN
        }
        Outcome::Reflected(reflected) => {
            match reflected.finish {
                Finish::Nothing => {}
                Finish::Checksum { offset, difference } => {
                    // SAFETY: the offset is that of a checksum inside the packet. The helper cannot fail, as
                    // the bytes around were just written.
                    unsafe { helper::l4_csum_replace(skb, offset, 0, u64::from(difference), 0) };
                }
                Finish::Trim(length) => {
                    // SAFETY: plain numbers.
                    if unsafe { helper::skb_change_tail(skb, length, 0) } != 0 {
                        return verdict::STOLEN;
                    }
                }
            }
            let packets = reflected.packets as usize;
            count(&[(packets, 1), (packets + 1, u64::from(reflected.bytes))]);
            if let Some(event) = reflected.event {
                count(&[(event as usize, 1)]);
            }
            verdict::OK
        }
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
