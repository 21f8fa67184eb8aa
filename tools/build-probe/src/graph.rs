//! The control flow of a program, and what must hold on each of its paths. The verifiers of old kernels refuse what
//! that of a new one takes, so they would be the first to notice.

use std::collections::BTreeMap;

/// The bytes of one instruction.
pub(crate) const INSTRUCTION: usize = 8;

/// The bytes of a program's stack.
const STACK: usize = 512;

/// The register that points to the end of the stack.
const FRAME_POINTER: u8 = 10;

/// A section of code.
pub(crate) struct Graph<'a> {
    code: &'a [u8],
    little_endian: bool,
}

/// An instruction (Documentation/bpf/standardization/instruction-set.rst), as far as it matters here.
pub(crate) struct Instruction {
    pub(crate) opcode: u8,
    pub(crate) destination: u8,
    pub(crate) source: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

impl Instruction {
    /// Loads a 64-bit immediate, whose upper half is that of a second slot.
    pub(crate) const LDDW: u8 = 0x18;
    /// Calls a helper or a function.
    pub(crate) const CALL: u8 = 0x85;

    const CLASS: u8 = 0x07;
    const MODE: u8 = 0xe0;
    const MODE_MEMORY: u8 = 0x60;

    /// The class of instructions: 0 and 1 load, 2 stores a constant, 3 a register, 4 and 7 compute, 5 and 6 jump.
    pub(crate) fn class(&self) -> u8 {
        self.opcode & Self::CLASS
    }

    /// Whether it calls a function of the program.
    pub(crate) fn is_local_call(&self) -> bool {
        self.opcode == Self::CALL && self.source == 1
    }

    /// Where in the stack a load or store is, from its lower end and in bytes, if it is there.
    fn stack_bytes(&self, pointer: u8) -> Option<std::ops::Range<usize>> {
        if self.opcode & Self::MODE != Self::MODE_MEMORY || pointer != FRAME_POINTER {
            return None;
        }
        let size = [4, 2, 1, 8][usize::from(self.opcode >> 3 & 3)];
        let start = STACK.checked_add_signed(isize::from(self.offset))?;
        (start + size <= STACK).then(|| start..start + size)
    }
}

/// Which bytes of the stack were written.
type Written = [bool; STACK];

/// What a verifier may remember.
#[derive(Clone, Copy, PartialEq)]
struct Memory {
    /// Whether it knows something of a register, other than that it is zero.
    registers: [bool; REGISTERS],
    /// Whether such a register is in these eight bytes of the stack.
    stack: [bool; STACK / WORD],
}

const REGISTERS: usize = 11;

/// The bytes of a register.
const WORD: usize = 8;

impl<'a> Graph<'a> {
    pub(crate) fn new(code: &'a [u8], little_endian: bool) -> Self {
        Self { code, little_endian }
    }

    pub(crate) fn instruction(&self, index: usize) -> Result<Instruction, String> {
        let start = index * INSTRUCTION;
        let code = self.code.get(start..start + INSTRUCTION);
        let Some(&[opcode, registers, low, high, a, b, c, d]) = code else {
            return Err(format!("control runs out of the program at instruction {index}"));
        };
        // The two halves of the byte are in the machine's order, too.
        let (low_half, high_half) = (registers & 15, registers >> 4);
        Ok(if self.little_endian {
            let (offset, immediate) = (i16::from_le_bytes([low, high]), i32::from_le_bytes([a, b, c, d]));
            Instruction { opcode, destination: low_half, source: high_half, offset, immediate }
        } else {
            let (offset, immediate) = (i16::from_be_bytes([low, high]), i32::from_be_bytes([a, b, c, d]));
            Instruction { opcode, destination: high_half, source: low_half, offset, immediate }
        })
    }

    /// Where instruction `index` may go on: behind it, and where it jumps to.
    pub(crate) fn successors(&self, index: usize) -> Result<Vec<usize>, String> {
        const JA: u8 = 0x05;
        const EXIT: u8 = 0x95;
        const CLASS_JMP: u8 = 0x05;
        let instruction = self.instruction(index)?;
        let next = index + 1;
        let target = next.wrapping_add_signed(isize::from(instruction.offset));
        Ok(match instruction.opcode {
            EXIT => vec![],
            Instruction::LDDW => vec![index + 2],
            JA => vec![target],
            Instruction::CALL => vec![next],
            _ if instruction.class() == CLASS_JMP => vec![next, target],
            _ => vec![next],
        })
    }

    /// Kernels before 5.3 refuse every loop.
    pub(crate) fn loop_free(&self, start: usize) -> Result<(), String> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            Unseen,
            OnPath,
            Done,
        }
        let mut states = vec![State::Unseen; self.code.len() / INSTRUCTION];
        let mut path = vec![(start, self.successors(start)?)];
        states[start] = State::OnPath;
        while let Some((index, left)) = path.last_mut() {
            let Some(next) = left.pop() else {
                states[*index] = State::Done;
                path.pop();
                continue;
            };
            match states.get(next) {
                Some(State::Unseen) => {
                    states[next] = State::OnPath;
                    path.push((next, self.successors(next)?));
                }
                Some(State::OnPath) => {
                    return Err(format!("a loop leads from instruction {index} to {next}"));
                }
                Some(State::Done) => {}
                None => return Err(format!("instruction {index} jumps out of the program")),
            }
        }
        Ok(())
    }

    /// The verifier takes only aligned accesses to the stack, while compilers that may do otherwise in packets do so
    /// there, too.
    pub(crate) fn stack_accesses_are_aligned(&self) -> Result<(), String> {
        for index in 0..self.code.len() / INSTRUCTION {
            let instruction = self.instruction(index)?;
            let bytes = match instruction.class() {
                1 => instruction.stack_bytes(instruction.source),
                2 | 3 => instruction.stack_bytes(instruction.destination),
                _ => None,
            };
            if bytes.is_some_and(|bytes| bytes.start % bytes.len() != 0) {
                return Err(format!("instruction {index} accesses the stack where it is not aligned"));
            }
        }
        Ok(())
    }

    /// Kernels before 6.3 refuse to read a byte of the stack that was never written (kernel commit 6715df8d5d24).
    /// Compilers do that, for a value that has none on some path and is not used there. Only accesses through the
    /// frame pointer are looked at, as those are the compiler's own.
    pub(crate) fn stack_is_written_before_it_is_read(&self, start: usize) -> Result<(), String> {
        let mut before: BTreeMap<usize, Written> = BTreeMap::from([(start, [false; STACK])]);
        let mut waiting = vec![start];
        while let Some(index) = waiting.pop() {
            let mut written = before[&index];
            let instruction = self.instruction(index)?;
            if let 2 | 3 = instruction.class()
                && let Some(bytes) = instruction.stack_bytes(instruction.destination)
            {
                written[bytes].fill(true);
            }
            for next in self.successors(index)? {
                let merged = match before.get(&next) {
                    Some(other) => std::array::from_fn(|byte| written[byte] && other[byte]),
                    None => written,
                };
                if before.insert(next, merged) != Some(merged) {
                    waiting.push(next);
                }
            }
        }
        for (&index, written) in &before {
            let instruction = self.instruction(index)?;
            if instruction.class() == 1
                && let Some(bytes) = instruction.stack_bytes(instruction.source)
                && written[bytes].contains(&false)
            {
                return Err(format!("instruction {index} reads the stack where nothing was written"));
            }
        }
        Ok(())
    }

    /// Without CAP_PERFMON verifiers like that of 6.1 let nobody write less than eight bytes over a register in the stack,
    /// be it but a number: "attempt to corrupt spilled pointer" (check_stack_write_fixed_off() in kernel/bpf/verifier.c).
    /// They take for one whatever was written at the first of eight bytes, unless they know nothing of it or that it is
    /// zero.
    pub(crate) fn registers_on_the_stack_are_overwritten_whole(&self, start: usize) -> Result<(), String> {
        let memory = Memory { registers: [true; REGISTERS], stack: [false; STACK / WORD] };
        let mut before = BTreeMap::from([(start, memory)]);
        let mut waiting = vec![start];
        while let Some(index) = waiting.pop() {
            let mut memory = before[&index];
            self.remember(index, &mut memory)?;
            for next in self.successors(index)? {
                let merged = before.get(&next).map_or(memory, |other| Memory {
                    registers: std::array::from_fn(|at| memory.registers[at] || other.registers[at]),
                    stack: std::array::from_fn(|at| memory.stack[at] || other.stack[at]),
                });
                if before.insert(next, merged) != Some(merged) {
                    waiting.push(next);
                }
            }
        }
        Ok(())
    }

    /// What may be remembered behind an instruction.
    fn remember(&self, index: usize, Memory { registers, stack }: &mut Memory) -> Result<(), String> {
        const MOVE_IMMEDIATE: u8 = 0xb7;
        const MOVE: u8 = 0xbf;
        const LOAD_WORD: u8 = 0x79;
        let instruction = self.instruction(index)?;
        let Instruction { opcode, source, immediate, .. } = instruction;
        let (destination, source) = (usize::from(instruction.destination), usize::from(source));
        match instruction.class() {
            3 => {
                let Some(bytes) = instruction.stack_bytes(instruction.destination) else { return Ok(()) };
                let word = &mut stack[bytes.start / WORD];
                if *word && bytes.len() < WORD {
                    return Err(format!("instruction {index} overwrites a part of a register in the stack"));
                }
                *word = registers[source] && bytes.start % WORD == 0;
            }
            // What is compared is known better then.
            5 if opcode == Instruction::CALL => registers[..6].fill(true),
            5 => (registers[destination], registers[source]) = (true, true),
            _ => {
                registers[destination] = match opcode {
                    MOVE_IMMEDIATE => immediate != 0,
                    MOVE => registers[source],
                    LOAD_WORD => instruction.source == FRAME_POINTER,
                    _ => true,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: [u8; INSTRUCTION] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    /// `r1 = 5` and `r1 = 0`.
    const FIVE: [u8; INSTRUCTION] = [0xb7, 1, 0, 0, 5, 0, 0, 0];
    const ZERO: [u8; INSTRUCTION] = [0xb7, 1, 0, 0, 0, 0, 0, 0];
    /// `*(u64 *)(r10 - 8) = r1`
    const WHOLE: [u8; INSTRUCTION] = [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0];
    /// `*(u32 *)(r10 - 8) = r1` and `*(u32 *)(r10 - 4) = r1`
    const FIRST: [u8; INSTRUCTION] = [0x63, 0x1a, 0xf8, 0xff, 0, 0, 0, 0];
    const SECOND: [u8; INSTRUCTION] = [0x63, 0x1a, 0xfc, 0xff, 0, 0, 0, 0];

    #[test]
    fn a_register_in_the_stack_is_overwritten_whole_or_not_at_all() {
        let check = |code: &[[u8; INSTRUCTION]]| {
            Graph::new(code.as_flattened(), true).registers_on_the_stack_are_overwritten_whole(0)
        };
        let refused =
            |index| Err(format!("instruction {index} overwrites a part of a register in the stack"));
        assert_eq!(check(&[FIVE, WHOLE, WHOLE, EXIT]), Ok(()));
        assert_eq!(check(&[FIVE, WHOLE, SECOND, EXIT]), refused(2));
        assert_eq!(check(&[FIVE, FIRST, SECOND, EXIT]), refused(2));
        assert_eq!(check(&[FIVE, SECOND, FIRST, EXIT]), Ok(()));
        assert_eq!(check(&[ZERO, WHOLE, SECOND, EXIT]), Ok(()));
        // Where two ways meet, by `if r1 == 0 goto +1`.
        let branch = [0x15, 1, 1, 0, 0, 0, 0, 0];
        assert_eq!(check(&[FIVE, branch, WHOLE, SECOND, EXIT]), refused(3));
    }
}
