//! The program in front of `bpfecho_wire`, where the packet has no `struct sk_buff` yet.

use core::ptr::read_volatile;

use super::maps::{count, note};
use super::{Hook, Place, helper, setting};
use crate::abi::helpers;
use crate::host::{Audience, Extent};
use crate::packet::Packet;
use crate::reflect::{Outcome, Reflected, Refusal, reflect_usual};

/// The fields of the kernel's `struct xdp_md` (linux/bpf.h) up to the last one used here.
#[repr(C)]
pub struct XdpBuff {
    data: u32,
    data_end: u32,
}

/// Verdicts of XDP (linux/bpf.h).
mod verdict {
    /// Let the packet go its way, to the hook of traffic control.
    pub(super) const PASS: i32 = 2;
    /// Send it out of the interface it came in.
    pub(super) const TX: i32 = 3;
}

struct Xdp;

impl Place for Xdp {
    const WIRE: bool = true;
    const XDP: bool = true;

    /// Here is no scratch memory, and no need for it.
    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        value
    }
}

/// A frame, perhaps in several buffers.
struct Buffers(*mut XdpBuff);

impl Extent for Buffers {
    /// (To add a number to a pointer takes CAP_PERFMON, as does to subtract one from another.)
    #[inline(always)]
    fn reaches(&self, bytes: u32) -> bool {
        // SAFETY: the kernel passes a valid `xdp_md`.
        setting!(bpfecho_helpers) != u64::from(helpers::NEW)
            || u64::from(bytes) <= unsafe { helper::xdp_get_buff_len(self.0) }
    }
}

/// The program in XDP of an Ethernet interface on whose ingress hook [`super::bpfecho_wire`] is.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn bpfecho_xdp(frame: *mut XdpBuff) -> i32 {
    // SAFETY: the kernel passes a valid `xdp_md`; its fields `data` and `data_end` delimit bytes that are this program's
    // alone while it runs.
    let packet = unsafe {
        let start = read_volatile(&raw const (*frame).data) as usize as *mut u8;
        let end = read_volatile(&raw const (*frame).data_end) as usize as *mut u8;
        Packet::from_raw(start, end)
    };
    // To whom it is addressed is found out there.
    match reflect_usual(&Hook(Xdp), packet, &Buffers(frame), Audience::Us) {
        Some(Outcome::Reflected(Reflected { packets, bytes, event, .. })) => {
            count(packets, bytes);
            if let Some(event) = event {
                note(event);
            }
            verdict::TX
        }
        Some(Outcome::Refused(Refusal { reason: Some(reason) })) => {
            note(reason);
            verdict::PASS
        }
        _ => verdict::PASS,
    }
}
