//! The helpers of the kernel (linux/bpf.h) that programs call for the packets that are counted.

use super::interpreter::{Machine, PACKET, REGION};

/// What redirect() returns in traffic control, TC_ACT_REDIRECT.
const REDIRECTED: u64 = 7;

/// -ENOTSUPP (linux/errno.h).
const NOT_SUPPORTED: i64 = -524;

/// The part of the flags of l4_csum_replace() that is a size (BPF_F_HDR_FIELD_MASK).
const FIELD_SIZE: u64 = 0xf;

/// Calls the helper with this number. Returns what it returns.
pub(super) fn call(machine: &mut Machine, number: i32) -> Result<u64, String> {
    let [_, first, second, third, fourth, fifth, ..] = machine.registers;
    match number {
        // map_lookup_elem(map, key)
        1 => machine.look_up(first, second),
        // skb_store_bytes(skb, offset, from, length, flags)
        9 => machine.copy(third, PACKET * REGION + second, fourth).map(|()| 0),
        // l4_csum_replace(skb, offset, from, to, flags): by the difference `to` if no size is given.
        11 if fifth & FIELD_SIZE == 0 => {
            let field = machine.bytes(PACKET * REGION + second, 2)?;
            let old = u16::from_ne_bytes([field[0], field[1]]);
            let new = !fold(add(!u32::from(old), fourth as u32));
            field.copy_from_slice(&new.to_ne_bytes());
            Ok(0)
        }
        // redirect(ifindex, flags)
        23 => Ok(REDIRECTED),
        // skb_load_bytes(skb, offset, to, length)
        26 => machine.copy(PACKET * REGION + second, third, fourth).map(|()| 0),
        // csum_diff(from, from_length, to, to_length, seed) of what is only added.
        28 if second == 0 => {
            let words = machine.bytes(third, fourth as usize)?.as_chunks::<4>().0;
            let sum = words.iter().fold(fifth as u32, |sum, word| add(sum, u32::from_ne_bytes(*word)));
            Ok(sum.into())
        }
        // csum_update(skb, difference) of a packet that has no sum from a device.
        40 => Ok(NOT_SUPPORTED.cast_unsigned()),
        // xdp_get_buff_len(frame)
        188 => Ok(machine.packet_length()),
        _ => Err(format!("helper {number} is not known here")),
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
