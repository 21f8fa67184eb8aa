//! BPF instructions, as far as linking needs to know them (RFC 9669).

/// One BPF instruction in the host's byte order, laid out as `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instruction {
    /// Operation code.
    pub opcode: u8,
    /// Destination and source register. Which nibble holds which follows the host's byte order, because
    /// they are bit fields in C.
    pub registers: u8,
    /// Signed offset: of a jump in instructions, of a load or store in bytes.
    pub offset: i16,
    /// Signed immediate value.
    pub immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == Instruction::SIZE);

impl Instruction {
    /// Bytes of one instruction; a 64-bit immediate load takes two.
    pub const SIZE: usize = 8;
    /// Load of a 64-bit immediate: the one instruction that fills two slots.
    pub const LOAD_IMMEDIATE_64: u8 = 0x18;
    /// Call of a helper, or with source register 1 of a function of the program.
    pub const CALL: u8 = 0x85;
    /// Source register of a [`LOAD_IMMEDIATE_64`](Self::LOAD_IMMEDIATE_64) whose immediate is a map's fd.
    pub const PSEUDO_MAP_FD: u8 = 1;
    /// Source register of a [`CALL`](Self::CALL) whose immediate is relative to the next instruction.
    pub const PSEUDO_CALL: u8 = 1;

    /// Makes an instruction from its parts; only the low four bits of a register count.
    pub const fn new(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "little") {
            (source & 0xf) << 4 | destination & 0xf
        } else {
            (destination & 0xf) << 4 | source & 0xf
        };
        Self { opcode, registers, offset, immediate }
    }

    /// The instruction in `bytes`, which are in the host's byte order.
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [opcode, registers, a, b, c, d, e, f] = bytes;
        Self {
            opcode,
            registers,
            offset: i16::from_ne_bytes([a, b]),
            immediate: i32::from_ne_bytes([c, d, e, f]),
        }
    }

    /// The instruction's bytes in the host's byte order.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let [a, b] = self.offset.to_ne_bytes();
        let [c, d, e, f] = self.immediate.to_ne_bytes();
        [self.opcode, self.registers, a, b, c, d, e, f]
    }

    /// The destination register.
    pub const fn destination(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 0xf } else { self.registers >> 4 }
    }

    /// The source register.
    pub const fn source(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 0xf }
    }

    pub(crate) const fn is_local_call(self) -> bool {
        self.opcode == Self::CALL && self.source() == Self::PSEUDO_CALL
    }
}

#[cfg(test)]
mod tests {
    use super::Instruction;

    #[test]
    fn parts_and_bytes() {
        let instruction = Instruction::new(0x79, 1, 10, -8, 7);
        assert_eq!((instruction.destination(), instruction.source()), (1, 10));
        assert_eq!(Instruction::from_bytes(instruction.to_bytes()), instruction);
        if cfg!(target_endian = "little") {
            assert_eq!(instruction.to_bytes(), [0x79, 0xa1, 0xf8, 0xff, 7, 0, 0, 0]);
        } else {
            assert_eq!(instruction.to_bytes(), [0x79, 0x1a, 0xff, 0xf8, 0, 0, 0, 7]);
        }
    }
}
