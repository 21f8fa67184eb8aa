//! The program in front of `bpfecho_wire`, where the packet has no `struct sk_buff` yet.

use core::ptr::read_volatile;

use super::{Hook, Place, count, helper, setting};
use crate::abi::helpers;
use crate::packet::Packet;
use crate::reflect::{Outcome, Reflected, Refusal, reflect_in_xdp};

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
    match reflect_in_xdp(&Hook(Xdp), packet, length(frame)) {
        Outcome::Reflected(Reflected { packets, bytes, event, .. }) => {
            count(packets, bytes);
            if let Some(event) = event {
                count(event, 0);
            }
            verdict::TX
        }
        Outcome::Refused(Refusal { reason, .. }) => {
            if let Some(reason) = reason {
                count(reason, 0);
            }
            verdict::PASS
        }
    }
}

/// The length of the frame in bytes, or more than any has. (To subtract one pointer from another takes CAP_PERFMON.)
#[inline(always)]
fn length(frame: *mut XdpBuff) -> u32 {
    if setting!(bpfecho_helpers) as u32 != helpers::NEW {
        return u32::MAX;
    }
    // SAFETY: the kernel passes a valid `xdp_md`.
    unsafe { helper::xdp_get_buff_len(frame) as u32 }
}
