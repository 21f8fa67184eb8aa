//! The oldest kernel that takes a program: what its instructions and the helpers that it calls ask for. Such kernels are
//! not at hand, so their features are in tables, each with where it came from: a kernel commit, all of which are in
//! Linux, and most of them in docs/kernel-versions.md of iovisor/bcc.
//!
//! What is not looked at is how far an old verifier follows: its limits of size, loops and stack are checked elsewhere,
//! the rest only it knows.

use std::collections::BTreeMap;

use crate::graph::{Graph, Instruction};

/// A version of Linux: major and minor.
pub(crate) type Version = (u16, u16);

/// The kind of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// BPF_PROG_TYPE_SCHED_CLS: since 4.5 on clsact (kernel commit 1f211a1b929c), and since 4.9 it may write to packets
    /// itself (36bbef52c7eb).
    Tc,
    /// BPF_PROG_TYPE_XDP: since 4.8 (6a773a15a1e8), with XDP_TX (6ce96ca348a9).
    Xdp,
}

impl Kind {
    fn since(self) -> Version {
        match self {
            Self::Tc => (4, 9),
            Self::Xdp => (4, 8),
        }
    }
}

/// A helper: its number, its name, since when programs on traffic control and on XDP may call it, as far as ours do, and
/// the commit.
type Helper = (i32, &'static str, Option<Version>, Option<Version>, &'static str);

/// The helpers that are called.
const HELPERS: [Helper; 14] = [
    (1, "map_lookup_elem", Some((4, 1)), Some((4, 8)), "d0003ec01c66"),
    (2, "map_update_elem", Some((4, 1)), Some((4, 8)), "d0003ec01c66"),
    (3, "map_delete_elem", Some((4, 1)), Some((4, 8)), "d0003ec01c66"),
    (9, "skb_store_bytes", Some((4, 1)), None, "91bc4822c3d6"),
    (11, "l4_csum_replace", Some((4, 1)), None, "91bc4822c3d6"),
    (13, "clone_redirect", Some((4, 2)), None, "3896d655f4d4"),
    (23, "redirect", Some((4, 4)), None, "27b29f63058d"),
    (26, "skb_load_bytes", Some((4, 5)), None, "05c74e5e53f6"),
    (28, "csum_diff", Some((4, 6)), None, "7d672345ed29"),
    (38, "skb_change_tail", Some((4, 9)), None, "5293efe62df8"),
    (40, "csum_update", Some((4, 9)), None, "36bbef52c7eb"),
    // For tunnels since 4.10 (3a0af8fd61f9); the stable kernels have it from 5.4.228 on.
    (43, "skb_change_head", Some((5, 8)), None, "6f3f65d80dac"),
    (68, "skb_load_bytes_relative", Some((4, 18)), None, "4e1ec56cdc59"),
    (188, "xdp_get_buff_len", None, Some((5, 18)), "0165cc817075"),
];

/// The kinds of maps (`enum bpf_map_type`) that are used: since when, and the commit.
const MAPS: [(u32, Version, &str); 4] = [
    (2, (3, 19), "28fbcfa08d8e"),
    (6, (4, 6), "a10423b87a7e"),
    (9, (4, 10), "29ba732acbee"),
    (11, (4, 11), "b95a5c4db09b"),
];

/// Why a kernel has to be as new as that.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) since: Version,
    /// What came with that version, and with which commit.
    pub(crate) what: String,
}

impl Need {
    fn new(since: Version, what: impl Into<String>) -> Self {
        Self { since, what: what.into() }
    }
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    /// A setting, by its name.
    Setting(&'a str),
    /// A map.
    Map,
    /// The function that begins at this instruction of the section of functions.
    Function(usize),
}

/// A section of code, and what its instructions refer to, by their index.
pub(crate) struct Code<'a> {
    pub(crate) graph: Graph<'a>,
    pub(crate) references: BTreeMap<usize, Reference<'a>>,
}

/// A kind of map, as a number.
pub(crate) fn need_of_map(kind: u32) -> Result<Need, String> {
    let found = MAPS.iter().find(|(number, ..)| *number == kind);
    let (_, since, commit) =
        found.ok_or_else(|| format!("maps of type {kind} are in no table of kernels"))?;
    Ok(Need::new(*since, format!("maps of type {kind} ({commit})")))
}

/// A function that is part of a program: its code, where it begins there, and what of it may be executed.
pub(crate) struct Part<'c, 'a> {
    code: &'c Code<'a>,
    pub(crate) start: usize,
    reachable: Vec<usize>,
}

/// The functions of `program`, itself the first, which calls others of `functions`, if these settings have these values.
/// The others may have any.
pub(crate) fn parts<'c, 'a>(
    program: &'c Code<'a>,
    functions: &'c Code<'a>,
    settings: &[(&str, u64)],
) -> Result<Vec<Part<'c, 'a>>, String> {
    let mut parts: Vec<Part<'_, '_>> = Vec::new();
    let mut called = Vec::new();
    let mut waiting = vec![(program, 0)];
    while let Some((code, start)) = waiting.pop() {
        let reachable = code.reachable(start, settings)?;
        for &index in &reachable {
            match code.references.get(&index) {
                Some(Reference::Function(function)) if !called.contains(function) => {
                    called.push(*function);
                    waiting.push((functions, *function));
                }
                None if code.graph.instruction(index)?.is_local_call() => {
                    return Err(format!("instruction {index} calls a function that is not known"));
                }
                _ => {}
            }
        }
        parts.push(Part { code, start, reachable });
    }
    Ok(parts)
}

/// The newest feature that a program of this kind needs.
pub(crate) fn need_of_program(parts: &[Part<'_, '_>], kind: Kind) -> Result<Need, String> {
    let mut newest = Need::new(kind.since(), "programs of this kind");
    for Part { code, reachable, .. } in parts {
        for &index in reachable {
            let need = need_of(&code.graph.instruction(index)?, kind);
            newest = newest.max(need.map_err(|error| format!("instruction {index}: {error}"))?);
        }
    }
    Ok(newest)
}

/// What an instruction needs (Documentation/bpf/standardization/instruction-set.rst).
fn need_of(instruction: &Instruction, kind: Kind) -> Result<Need, String> {
    let Instruction { opcode, source, offset, immediate, .. } = *instruction;
    let (class, operation, mode) = (opcode & 0x07, opcode & 0xf0, opcode & 0xe0);
    let need = |since, what: &str| Ok(Need::new(since, what));
    match class {
        // LD: 64-bit immediates and maps, until there was more that they may refer to.
        0 if opcode == Instruction::LDDW && source <= 1 => need((3, 18), "64-bit immediates"),
        0 if opcode == Instruction::LDDW && source == 2 => need((5, 2), "values of maps (d8eca5bbb2be)"),
        1..=3 if mode == 0x60 => need((3, 18), "loads and stores"),
        1 if mode == 0x80 => need((6, 6), "loads that extend the sign (1f9a1ea821ff)"),
        3 if mode == 0xc0 && immediate == 0 => need((3, 18), "atomic additions"),
        3 if mode == 0xc0 => need((5, 12), "atomic operations but additions (5ca419f2864a)"),
        4 | 7 => match operation {
            0x30 | 0x90 if offset != 0 => need((6, 6), "signed division (ec0e2da95f72)"),
            0xb0 if offset != 0 => need((6, 6), "moves that extend the sign (8100928c8814)"),
            // `BPF_ARSH not supported for 32 bit ALU` was what check_alu_op() in kernel/bpf/verifier.c said before.
            0xc0 if class == 4 => need((5, 0), "32-bit arithmetic shifts"),
            0xd0 if class == 7 => need((6, 6), "byte swaps whatever the machine's order (0845c3db7bf5)"),
            0x00..=0xd0 => need((3, 18), "arithmetic"),
            _ => Err(format!("opcode {opcode:#x} is in no table of kernels")),
        },
        5 => match (operation, source) {
            (0x80, 0) => need_of_helper(immediate, kind),
            (0x80, 1) => need((4, 16), "calls of functions (cc8b0b92a169)"),
            (0x80, 2) => need((5, 13), "calls of kernel functions (e6ac2450d6de)"),
            (0xa0..=0xd0, _) => need((4, 14), "jumps if less (92b31a9af73b)"),
            (0x00..=0x70 | 0x90, _) => need((3, 18), "jumps"),
            _ => Err(format!("opcode {opcode:#x} is in no table of kernels")),
        },
        6 if operation == 0 => need((6, 6), "long jumps (4cd58e9af8b9)"),
        6 => need((5, 1), "32-bit jumps (092ed0968bb6)"),
        _ => Err(format!("opcode {opcode:#x} is in no table of kernels")),
    }
}

fn need_of_helper(number: i32, kind: Kind) -> Result<Need, String> {
    let unknown = || format!("helper {number} is in no table of kernels for {kind:?}");
    let (_, name, tc, xdp, commit) =
        HELPERS.iter().find(|(known, ..)| *known == number).ok_or_else(unknown)?;
    let since = match kind {
        Kind::Tc => tc,
        Kind::Xdp => xdp,
    };
    Ok(Need::new(since.ok_or_else(unknown)?, format!("helper {name} ({commit})")))
}

/// What registers hold, as far as that is the same on each way to an instruction.
type Registers = [Option<u64>; 11];

impl Code<'_> {
    /// The instructions that the verifier of 4.19 looks at: it follows one branch only where a constant is compared for
    /// being equal to another (check_cond_jmp_op() in kernel/bpf/verifier.c; other comparisons since kernel commit
    /// 4f7b3e82589e). Where it never comes may be calls of helpers that it does not know: all it says of those is in
    /// check_helper_call(), and before anything else looks at them they are overwritten (c131187db2d3, 4.15).
    fn reachable(&self, start: usize, settings: &[(&str, u64)]) -> Result<Vec<usize>, String> {
        let mut before: BTreeMap<usize, Registers> = BTreeMap::from([(start, [None; 11])]);
        let mut waiting = vec![start];
        while let Some(index) = waiting.pop() {
            let registers = before[&index];
            let instruction = self.graph.instruction(index)?;
            let after = self.execute(index, &instruction, registers, settings)?;
            let mut next = self.graph.successors(index)?;
            if let Some(is_taken) = is_taken(&instruction, &registers) {
                // The one that is gone on to, and the one that is jumped to.
                next.remove(usize::from(!is_taken));
            }
            for next in next {
                let merged = match before.get(&next) {
                    Some(other) => std::array::from_fn(|it| after[it].filter(|_| after[it] == other[it])),
                    None => after,
                };
                if before.insert(next, merged) != Some(merged) {
                    waiting.push(next);
                }
            }
        }
        Ok(before.into_keys().collect())
    }

    /// What registers hold behind an instruction.
    fn execute(
        &self,
        index: usize,
        instruction: &Instruction,
        mut registers: Registers,
        settings: &[(&str, u64)],
    ) -> Result<Registers, String> {
        const MOV: u8 = 0xb7;
        const MOV_REGISTER: u8 = 0xbf;
        const SHIFT_LEFT: u8 = 0x67;
        const SHIFT_RIGHT: u8 = 0x77;
        let Instruction { opcode, destination, source, immediate, .. } = *instruction;
        let destination = usize::from(destination);
        let held = registers[destination];
        match opcode {
            Instruction::LDDW => {
                registers[destination] = match self.references.get(&index) {
                    Some(Reference::Setting(name)) => {
                        settings.iter().find(|(setting, _)| setting == name).map(|(_, value)| *value)
                    }
                    Some(_) => None,
                    None => {
                        let high = self.graph.instruction(index + 1)?.immediate;
                        Some(u64::from(immediate.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32)
                    }
                };
            }
            MOV => registers[destination] = Some(i64::from(immediate).cast_unsigned()),
            MOV_REGISTER => registers[destination] = registers[usize::from(source)],
            SHIFT_LEFT => registers[destination] = held.map(|value| value << (immediate & 63)),
            SHIFT_RIGHT => registers[destination] = held.map(|value| value >> (immediate & 63)),
            Instruction::CALL => registers[..6].fill(None),
            // An atomic operation may change its source, which those that are old enough do not.
            _ if matches!(instruction.class(), 0 | 1 | 4 | 7) => registers[destination] = None,
            _ => {}
        }
        Ok(registers)
    }
}

/// Whether a jump is taken that compares a constant with another.
fn is_taken(instruction: &Instruction, registers: &Registers) -> Option<bool> {
    const IF_EQUAL: u8 = 0x15;
    const IF_NOT_EQUAL: u8 = 0x55;
    let held = registers[usize::from(instruction.destination)]?;
    let is_equal = held == i64::from(instruction.immediate).cast_unsigned();
    match instruction.opcode {
        IF_EQUAL => Some(is_equal),
        IF_NOT_EQUAL => Some(!is_equal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instruction for a little-endian machine.
    fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (offset.to_le_bytes(), immediate.to_le_bytes());
        [opcode, source << 4 | destination, a, b, c, d, e, f]
    }

    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn code<'a>(bytes: &'a [u8], references: &[(usize, Reference<'a>)]) -> Code<'a> {
        Code { graph: Graph::new(bytes, true), references: references.iter().copied().collect() }
    }

    /// The need of a program without functions.
    fn need(code: &Code<'_>, kind: Kind, settings: &[(&str, u64)]) -> Result<Need, String> {
        let functions = Code { graph: Graph::new(&[], true), references: BTreeMap::new() };
        need_of_program(&parts(code, &functions, settings)?, kind)
    }

    #[test]
    fn each_instruction_has_its_kernel() {
        let since = |instruction: [u8; 8], kind| {
            let bytes = [instruction, EXIT, EXIT].concat();
            need(&code(&bytes, &[]), kind, &[]).map(|need| need.since)
        };
        for (one, expected) in [
            (instruction(0x07, 1, 0, 0, 1), (4, 9)),   // r1 += 1
            (instruction(0xdb, 1, 2, 0, 0), (4, 9)),   // lock *(u64 *)(r1 + 0) += r2
            (instruction(0xdc, 1, 0, 0, 16), (4, 9)),  // r1 = be16 r1
            (instruction(0xa5, 1, 0, 0, 7), (4, 14)),  // if r1 < 7 goto +0
            (instruction(0x85, 0, 0, 0, 68), (4, 18)), // call skb_load_bytes_relative
            (instruction(0xc4, 1, 0, 0, 1), (5, 0)),   // w1 s>>= 1
            (instruction(0x16, 1, 0, 0, 7), (5, 1)),   // if w1 == 7 goto +0
            (instruction(0x18, 1, 2, 0, 0), (5, 2)),   // r1 = value of map
            (instruction(0x85, 0, 0, 0, 43), (5, 8)),  // call skb_change_head
            (instruction(0xdb, 1, 2, 0, 1), (5, 12)),  // r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
            (instruction(0x85, 0, 2, 0, 1), (5, 13)),  // call kernel function
            (instruction(0x06, 0, 0, 0, 0), (6, 6)),   // gotol +0
            (instruction(0x37, 1, 0, 1, 7), (6, 6)),   // r1 s/= 7
            (instruction(0x81, 1, 2, 0, 0), (6, 6)),   // r1 = *(s32 *)(r2 + 0)
            (instruction(0xbf, 1, 2, 8, 0), (6, 6)),   // r1 = (s8)r2
            (instruction(0xd7, 1, 0, 0, 16), (6, 6)),  // r1 = bswap16 r1
        ] {
            assert_eq!(since(one, Kind::Tc), Ok(expected), "{one:x?}");
        }
        for (unknown, kind) in [
            (instruction(0x85, 0, 0, 0, 188), Kind::Tc),
            (instruction(0x85, 0, 0, 0, 26), Kind::Xdp),
            (instruction(0x85, 0, 0, 0, 4711), Kind::Xdp),
            (instruction(0xe7, 1, 0, 0, 0), Kind::Tc),
            (instruction(0x18, 1, 4, 0, 0), Kind::Tc),
        ] {
            assert!(since(unknown, kind).is_err_and(|error| error.contains("in no table of kernels")));
        }
        assert_eq!(need_of_map(11).unwrap().since, (4, 11));
        assert!(need_of_map(27).is_err());
    }

    #[test]
    fn what_a_setting_rules_out_needs_nothing() {
        let bytes = [
            instruction(0x18, 2, 0, 0, 0), // r2 = setting
            [0; 8],
            instruction(0x67, 2, 0, 0, 32), // r2 <<= 32
            instruction(0x77, 2, 0, 0, 32), // r2 >>= 32
            instruction(0x55, 2, 0, 1, 2),  // if r2 != 2 goto +1
            instruction(0x85, 0, 0, 0, 188),
            EXIT,
        ]
        .concat();
        let program = code(&bytes, &[(0, Reference::Setting("frags"))]);
        let since = |settings: &[_]| need(&program, Kind::Xdp, settings).map(|need| need.since);
        assert_eq!(since(&[("frags", 1)]), Ok((4, 8)));
        assert_eq!(since(&[("frags", 2)]), Ok((5, 18)));
        assert_eq!(since(&[]), Ok((5, 18)));
        // What differs from way to way is no constant.
        let bytes = [
            instruction(0xb7, 2, 0, 0, 1), // r2 = 1
            instruction(0x15, 1, 0, 1, 0), // if r1 == 0 goto +1
            instruction(0xb7, 2, 0, 0, 2), // r2 = 2
            instruction(0x55, 2, 0, 1, 2), // if r2 != 2 goto +1
            instruction(0x85, 0, 0, 0, 188),
            EXIT,
        ]
        .concat();
        assert_eq!(need(&code(&bytes, &[]), Kind::Xdp, &[]).map(|need| need.since), Ok((5, 18)));
    }

    #[test]
    fn called_functions_count() {
        assert!(need(&code(&[instruction(0x85, 0, 1, 0, 0), EXIT].concat(), &[]), Kind::Tc, &[]).is_err());
        let program = [instruction(0x85, 0, 1, 0, -1), EXIT].concat();
        let functions =
            [EXIT, instruction(0x85, 0, 1, 0, -1), EXIT, instruction(0x16, 1, 0, 0, 7), EXIT].concat();
        let functions = code(&functions, &[(1, Reference::Function(3))]);
        let since = |function| {
            let program = code(&program, &[(0, Reference::Function(function))]);
            let need = parts(&program, &functions, &[]).and_then(|parts| need_of_program(&parts, Kind::Tc));
            need.map(|need| need.since)
        };
        assert_eq!([since(0), since(1), since(3)], [Ok((4, 16)), Ok((5, 1)), Ok((5, 1))]);
    }
}
