//! Executes eBPF (RFC 9669) to count instructions, which the kernel does not.
//!
//! All addresses lie in regions: the context, the packet, stacks, values of maps. They have 32 bits, so that the
//! context holds addresses of the packet as it is for the program. Whatever lies elsewhere is an error.

use std::collections::BTreeMap;

use loader::{Instruction, Map};

use super::helpers;

#[cfg(test)]
mod tests;

/// Bytes of a function's stack (MAX_BPF_STACK), and how many functions call each other at most (MAX_CALL_FRAMES).
const STACK: usize = 512;
const CALLS: usize = 8;

/// How many instructions a run has at most.
const LIMIT: u32 = 1_000_000;

/// The register that points behind the stack of a function.
const FRAME: usize = 10;

/// What a region holds; each has its own number.
pub(super) const CONTEXT: u64 = 1;
pub(super) const PACKET: u64 = 2;
const STACKS: u64 = 3;

/// Addresses of a region begin at its number times this.
pub(super) const REGION: u64 = 1 << 20;

/// The maps that a program may look into, by the descriptors in its instructions.
pub(super) type Maps<'a> = BTreeMap<i32, &'a Map>;

/// A program at work.
pub(super) struct Machine<'a> {
    code: &'a [Instruction],
    maps: &'a Maps<'a>,
    pub(super) registers: [u64; 11],
    regions: BTreeMap<u64, Vec<u8>>,
    /// The regions of values that were looked up, by map and key: copies, what is written there stays here.
    values: BTreeMap<(i32, Vec<u8>), u64>,
    /// Where each function that called another goes on, with its registers 6 to 9.
    callers: Vec<(usize, [u64; 4])>,
}

/// What has come of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) verdict: i32,
    pub(super) packet: Vec<u8>,
    pub(super) instructions: u32,
}

/// Runs `code` on a packet. `context` is `struct __sk_buff` or `struct xdp_md`, less the places, `data`, where it has
/// the addresses of the packet's beginning and end.
pub(super) fn run(
    code: &[Instruction],
    mut context: Vec<u8>,
    data: [i16; 2],
    packet: Vec<u8>,
    maps: &Maps,
) -> Result<Run, String> {
    let start = PACKET * REGION;
    for (place, address) in data.into_iter().zip([start, start + packet.len() as u64]) {
        let place = place as usize;
        context[place..place + 4].copy_from_slice(&(address as u32).to_ne_bytes());
    }
    let mut registers = [0; 11];
    registers[1] = CONTEXT * REGION;
    registers[FRAME] = STACKS * REGION + (STACK * CALLS) as u64;
    let stacks = vec![0; STACK * CALLS];
    let regions = [(CONTEXT, context), (PACKET, packet), (STACKS, stacks)].into();
    let mut machine =
        Machine { code, maps, registers, regions, values: BTreeMap::new(), callers: Vec::new() };
    let instructions = machine.execute()?;
    let packet = machine.regions.remove(&PACKET).unwrap_or_default();
    Ok(Run { verdict: machine.registers[0] as i32, packet, instructions })
}

impl Machine<'_> {
    /// Runs to the end. Returns the number of instructions.
    fn execute(&mut self) -> Result<u32, String> {
        let mut next = 0;
        for executed in 1..=LIMIT {
            match self.step(next).map_err(|error| format!("instruction {next}: {error}"))? {
                Some(following) => next = following,
                None => return Ok(executed),
            }
        }
        Err(format!("more than {LIMIT} instructions"))
    }

    /// Executes the instruction at `at`. Returns which one is next; `None` at the end.
    fn step(&mut self, at: usize) -> Result<Option<usize>, String> {
        let instruction = *self.code.get(at).ok_or("behind the program")?;
        let Instruction { opcode, offset, immediate, .. } = instruction;
        let (to, from) = (usize::from(instruction.destination()), usize::from(instruction.source()));
        let registers = self.registers;
        let (Some(&destination), Some(&source)) = (registers.get(to), registers.get(from)) else {
            return Err("no such register".into());
        };
        let extended = i64::from(immediate).cast_unsigned();
        let operand = if opcode & 0x08 == 0 { extended } else { source };
        let size = [4, 2, 1, 8][usize::from(opcode >> 3 & 3)];
        let place = |base: u64| base.wrapping_add_signed(offset.into());
        let mode = opcode & 0xe7;
        match (opcode & 7, mode) {
            (0, _) if opcode == Instruction::LOAD_IMMEDIATE_64 => {
                let high = self.code.get(at + 1).ok_or("behind the program")?.immediate;
                self.registers[to] = u64::from(immediate.cast_unsigned()) | (high as u64) << 32;
                return Ok(Some(at + 2));
            }
            (1, 0x61) => self.registers[to] = self.load(place(source), size)?,
            (2, 0x62) => self.store(place(destination), size, extended)?,
            (3, 0x63) => self.store(place(destination), size, source)?,
            // Signed arithmetic, which came later.
            (4 | 7, _) if offset != 0 => return Err(format!("unknown operation {opcode:#x} with {offset}")),
            (4 | 7, _) if opcode & 0xf0 == 0xd0 => {
                self.registers[to] = byte_order(opcode, destination, immediate)?
            }
            (4, _) => {
                let low = |value: u64| u64::from(value as u32);
                self.registers[to] = low(arithmetic(opcode, low(destination), low(operand), 32)?);
            }
            (7, _) => self.registers[to] = arithmetic(opcode, destination, operand, 64)?,
            (5, _) if opcode == Instruction::CALL => return self.call(at, instruction),
            (5, _) if opcode == 0x95 => return Ok(self.leave()),
            (class @ (5 | 6), _) if opcode != 0x06 => {
                let is_taken = if class == 5 {
                    jumps(opcode, destination, operand)?
                } else {
                    // The order of numbers stays when the sign of the lower half is that of all.
                    let narrow = |value: u64| i64::from(value as u32 as i32).cast_unsigned();
                    jumps(opcode, narrow(destination), narrow(operand))?
                };
                let target = (at + 1).checked_add_signed(offset.into());
                return Ok(Some(if is_taken { target.ok_or("before the program")? } else { at + 1 }));
            }
            _ => return Err(format!("unknown operation {opcode:#x}")),
        }
        Ok(Some(at + 1))
    }

    /// A call of a function of the program, or of a helper.
    fn call(&mut self, at: usize, instruction: Instruction) -> Result<Option<usize>, String> {
        if instruction.source() != Instruction::PSEUDO_CALL {
            self.registers[0] = helpers::call(self, instruction.immediate)?;
            return Ok(Some(at + 1));
        }
        if self.callers.len() + 1 == CALLS {
            return Err("too many calls".into());
        }
        let [.., a, b, c, d, _] = self.registers;
        self.callers.push((at + 1, [a, b, c, d]));
        self.registers[FRAME] -= STACK as u64;
        Ok((at + 1).checked_add_signed(instruction.immediate as isize))
    }

    /// Returns from a function.
    fn leave(&mut self) -> Option<usize> {
        let (next, saved) = self.callers.pop()?;
        self.registers[6..FRAME].copy_from_slice(&saved);
        self.registers[FRAME] += STACK as u64;
        Some(next)
    }

    /// The bytes at an address.
    pub(super) fn bytes(&mut self, address: u64, length: usize) -> Result<&mut [u8], String> {
        let start = (address % REGION) as usize;
        let region = self.regions.get_mut(&(address / REGION));
        let bytes = region.and_then(|region| region.get_mut(start..start.checked_add(length)?));
        bytes.ok_or_else(|| format!("{length} bytes at {address:#x}, which is in no region"))
    }

    fn load(&mut self, address: u64, size: usize) -> Result<u64, String> {
        let bytes = &*self.bytes(address, size)?;
        Ok(match *bytes {
            [a] => a.into(),
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(format!("a load of {size} bytes")),
        })
    }

    fn store(&mut self, address: u64, size: usize, value: u64) -> Result<(), String> {
        let bytes = self.bytes(address, size)?;
        match size {
            1 => bytes.copy_from_slice(&(value as u8).to_ne_bytes()),
            2 => bytes.copy_from_slice(&(value as u16).to_ne_bytes()),
            4 => bytes.copy_from_slice(&(value as u32).to_ne_bytes()),
            _ => bytes.copy_from_slice(&value.to_ne_bytes()),
        }
        Ok(())
    }

    /// The length of the packet.
    pub(super) fn packet_length(&self) -> u64 {
        self.regions.get(&PACKET).map_or(0, |packet| packet.len() as u64)
    }

    /// The address of the value whose key is at an address; 0 without one. Of a map with a value for each CPU, it is
    /// that of the first.
    pub(super) fn look_up(&mut self, fd: u64, key: u64) -> Result<u64, String> {
        let fd = fd as i32;
        let map = *self.maps.get(&fd).ok_or_else(|| format!("no map has the descriptor {fd}"))?;
        let key = self.bytes(key, map.definition().key_size as usize)?.to_vec();
        if let Some(region) = self.values.get(&(fd, key.clone())) {
            return Ok(region * REGION);
        }
        let values = map.lookup_per_cpu(&key).map_err(|error| error.to_string())?;
        let Some(value) = values.iter().next().map(<[u8]>::to_vec) else { return Ok(0) };
        let region = STACKS + 1 + self.values.len() as u64;
        self.regions.insert(region, value);
        self.values.insert((fd, key), region);
        Ok(region * REGION)
    }

    /// Copies bytes from one address to another, as helpers do.
    pub(super) fn copy(&mut self, from: u64, to: u64, length: u64) -> Result<(), String> {
        let bytes = self.bytes(from, length as usize)?.to_vec();
        self.bytes(to, bytes.len())?.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Arithmetic and logic on numbers of so many bits; above them is zero.
fn arithmetic(opcode: u8, a: u64, b: u64, bits: u32) -> Result<u64, String> {
    let shift = b as u32 % bits;
    Ok(match opcode >> 4 {
        0x0 => a.wrapping_add(b),
        0x1 => a.wrapping_sub(b),
        0x2 => a.wrapping_mul(b),
        0x3 => a.checked_div(b).unwrap_or(0),
        0x4 => a | b,
        0x5 => a & b,
        0x6 => a << shift,
        0x7 => a >> shift,
        0x8 => a.wrapping_neg(),
        0x9 => a.checked_rem(b).unwrap_or(a),
        0xa => a ^ b,
        0xb => b,
        0xc if bits == 32 => (a as u32 as i32 >> shift) as u64,
        0xc => (a.cast_signed() >> shift).cast_unsigned(),
        _ => return Err(format!("unknown operation {opcode:#x}")),
    })
}

/// Conversion of the lowest `bits` to an order of bytes.
fn byte_order(opcode: u8, value: u64, bits: i32) -> Result<u64, String> {
    let always = opcode & 7 == 7;
    let to_big = opcode & 8 != 0;
    let swaps = always || to_big == cfg!(target_endian = "little");
    Ok(match (bits, swaps) {
        (16, true) => (value as u16).swap_bytes().into(),
        (32, true) => (value as u32).swap_bytes().into(),
        (64, true) => value.swap_bytes(),
        (16, false) => (value as u16).into(),
        (32, false) => (value as u32).into(),
        (64, false) => value,
        _ => return Err(format!("an order of {bits} bits")),
    })
}

/// Whether a jump is taken.
fn jumps(opcode: u8, a: u64, b: u64) -> Result<bool, String> {
    let (signed_a, signed_b) = (a.cast_signed(), b.cast_signed());
    Ok(match opcode >> 4 {
        0x0 => true,
        0x1 => a == b,
        0x2 => a > b,
        0x3 => a >= b,
        0x4 => a & b != 0,
        0x5 => a != b,
        0x6 => signed_a > signed_b,
        0x7 => signed_a >= signed_b,
        0xa => a < b,
        0xb => a <= b,
        0xc => signed_a < signed_b,
        0xd => signed_a <= signed_b,
        _ => return Err(format!("unknown jump {opcode:#x}")),
    })
}
