//! Source lines for the verifier's log: BTF and its line information (Documentation/bpf/btf.rst).
//!
//! They are only an aid. So whatever is not understood means that there are none, never an error, and what the kernel
//! can judge itself (strings, a record for each function) is left to it: it is asked again without.

use alloc::vec::Vec;
use core::mem::offset_of;

use crate::instruction::Instruction;
use crate::object::Function;

/// The magic number of both sections.
const MAGIC: u16 = 0xeb9f;

/// `struct bpf_line_info`: the instructions from `instruction` on come from a line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineRecord {
    /// In bytes in an object, counted for the kernel.
    pub(crate) instruction: u32,
    pub(crate) file: u32,
    pub(crate) text: u32,
    /// Number and column.
    pub(crate) position: u32,
}

impl LineRecord {
    pub(crate) const SIZE: usize = size_of::<Self>();
}

const _: () = assert!(LineRecord::SIZE == 16 && offset_of!(LineRecord, position) == 12);

/// The sections with the source lines of an object: `.BTF` and `.BTF.ext`. They are read when a log is to have lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineSections<'data> {
    pub(crate) btf: &'data [u8],
    pub(crate) ext: &'data [u8],
}

/// The source lines of an object.
#[derive(Debug)]
pub(crate) struct ObjectLines<'data> {
    btf: &'data [u8],
    /// With the names of the sections of code.
    sections: Vec<(&'data [u8], Vec<LineRecord>)>,
}

/// A function of an object in a linked program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedFunction<'data> {
    /// The name of its section.
    pub(crate) section: &'data str,
    pub(crate) function: Function<'data>,
    /// The instruction at which it starts in the program.
    pub(crate) start: usize,
}

/// The source lines of a linked program.
#[derive(Debug)]
pub(crate) struct ProgramLines<'data> {
    /// `.BTF` as the object has it, which the records refer to.
    pub(crate) btf: &'data [u8],
    pub(crate) records: Vec<LineRecord>,
}

impl<'data> ObjectLines<'data> {
    /// Reads the sections.
    pub(crate) fn read(LineSections { btf, ext }: LineSections<'data>) -> Option<Self> {
        let strings = part(btf)?;
        let mut rest = part(ext)?;
        // Later versions may append to a record.
        let size = usize::try_from(take(&mut rest)?).ok().filter(|&size| size >= LineRecord::SIZE)?;
        let mut sections = Vec::new();
        while !rest.is_empty() {
            let name = strings.get(usize::try_from(take(&mut rest)?).ok()?..)?;
            let name = name.split(|&byte| byte == 0).next()?;
            let length = usize::try_from(take(&mut rest)?).ok()?.checked_mul(size)?;
            let (records, others) = rest.split_at_checked(length)?;
            let records = records.chunks_exact(size).map(record).collect::<Option<Vec<_>>>()?;
            // At most one for an instruction, so that no program has more of them than instructions.
            records.is_sorted_by(|one, next| one.instruction < next.instruction).then_some(())?;
            sections.push((name, records));
            rest = others;
        }
        Some(Self { btf, sections })
    }

    /// The lines of a program that consists of `functions`.
    pub(crate) fn of_program(&self, functions: &[PlacedFunction<'_>]) -> ProgramLines<'data> {
        let mut lines = ProgramLines { btf: self.btf, records: Vec::new() };
        for PlacedFunction { section, function, start } in functions {
            let records = self.sections.iter().find(|(name, _)| *name == section.as_bytes());
            lines.records.extend(records.iter().flat_map(|(_, records)| records).filter_map(|record| {
                let offset = usize::try_from(record.instruction).ok()? / Instruction::SIZE;
                let offset = offset.checked_sub(function.start).filter(|&offset| offset < function.length)?;
                Some(LineRecord { instruction: u32::try_from(start.checked_add(offset)?).ok()?, ..*record })
            }));
        }
        lines
    }
}

/// The second of the two parts behind a header: the strings of `.BTF`, the lines of `.BTF.ext`.
fn part(bytes: &[u8]) -> Option<&[u8]> {
    let mut header = bytes;
    let [low, high, _version, _flags] = take(&mut header)?.to_ne_bytes();
    (u16::from_ne_bytes([low, high]) == MAGIC).then_some(())?;
    let mut field = || usize::try_from(take(&mut header)?).ok();
    let [length, _, _, start, size] = [field()?, field()?, field()?, field()?, field()?];
    bytes.get(length..)?.get(start..)?.get(..size)
}

fn record(bytes: &[u8]) -> Option<LineRecord> {
    let mut rest = bytes;
    let mut field = || take(&mut rest);
    Some(LineRecord { instruction: field()?, file: field()?, text: field()?, position: field()? })
}

/// Takes a number off the front of `bytes`.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_ne_bytes(*first))
}
