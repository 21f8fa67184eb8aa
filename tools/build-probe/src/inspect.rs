//! What must hold for every object we commit, whatever the compiler did.

use std::path::Path;

use object::read::elf::{ElfFile64, ElfSection64};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use probe::abi::{self, setting};

use crate::graph::{Graph, INSTRUCTION};
use crate::lines::{self, SectionLines};

/// The largest program that every kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// The sections of programs: each has one, the function of the name.
const PROGRAMS: [(&str, &str); 3] =
    [("tc/lo", abi::LOOPBACK_PROGRAM), ("tc/wire", abi::WIRE_PROGRAM), ("xdp", abi::XDP_PROGRAM)];

/// The section of the functions that programs call.
const FUNCTIONS: &str = ".text";

/// Reads an object.
pub(crate) fn parse(bytes: &[u8]) -> Result<ElfFile64<'_, Endianness>, String> {
    ElfFile64::parse(bytes).map_err(|error| format!("reading the object: {error}"))
}

/// Checks the object: nothing undefined but the settings, the programs in one section each, what [`Graph`] knows of
/// code, no more instructions than every kernel takes, and lines of the sources. Returns what it is, in words.
pub(crate) fn inspect(bytes: &[u8]) -> Result<String, String> {
    let object = parse(bytes)?;
    let lines = lines::read(&object)?;
    for symbol in object.symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name().unwrap_or_default();
        if !name.is_empty() && !setting::ALL.contains(&name) {
            return Err(format!("the symbol `{name}` is not defined: it must be inlined or not be needed"));
        }
    }
    let mut programs = Vec::new();
    let mut called = 0;
    for section in object.sections() {
        let name = section.name().unwrap_or_default();
        let is_data = matches!(section.kind(), SectionKind::Metadata | SectionKind::Other);
        if section.kind() == SectionKind::Text {
            let count = inspect_code(&object, &section, &lines)?;
            match PROGRAMS.iter().find(|(section, _)| *section == name) {
                Some((_, program)) => programs.push((*program, count)),
                None if name == FUNCTIONS => called = count,
                None => return Err(format!("the section `{name}` of code is not that of a program")),
            }
        } else if !is_data && !["maps", "license"].contains(&name) {
            return Err(format!("the section `{name}` is global data, which kernels before 5.2 do not have"));
        }
    }
    if programs.len() != PROGRAMS.len() {
        return Err(format!("there are {} programs instead of {}", programs.len(), PROGRAMS.len()));
    }
    if let Some((name, count)) = programs.iter().find(|(_, count)| count + called > MAX_INSTRUCTIONS) {
        return Err(format!(
            "{name} has {count} instructions, with those it calls {}: more than {MAX_INSTRUCTIONS}",
            count + called
        ));
    }
    let lines: usize = lines.iter().map(|(_, lines)| lines.len()).sum();
    let summary = programs.iter().map(|(name, count)| format!("{name} {count}"));
    Ok(format!("{}, shared {called} instructions, {lines} lines", summary.collect::<Vec<_>>().join(", ")))
}

/// Checks the functions in a section of code. Returns how many instructions it has.
fn inspect_code(
    object: &ElfFile64<'_, Endianness>,
    section: &ElfSection64<'_, '_, Endianness>,
    lines: &[SectionLines<'_>],
) -> Result<usize, String> {
    let code = section.data().map_err(|error| format!("reading the code: {error}"))?;
    let graph = Graph::new(code, object.is_little_endian());
    let name = section.name().unwrap_or_default();
    graph.stack_accesses_are_aligned().map_err(|error| format!("{name}: {error}"))?;
    let lines = lines.iter().find(|(section, _)| *section == name).map_or(&[][..], |(_, lines)| lines);
    if let Some(line) = lines.iter().find(|line| Path::new(line.file).is_absolute()) {
        return Err(format!("{}: where that is differs from machine to machine", line.file));
    }
    let functions = object.symbols().filter(|symbol| {
        symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
    });
    for function in functions {
        let name = function.name().unwrap_or_default();
        let start = usize::try_from(function.address()).unwrap_or(usize::MAX) / INSTRUCTION;
        graph
            .loop_free(start)
            .and_then(|()| graph.stack_is_written_before_it_is_read(start))
            .map_err(|error| format!("{name}: {error}"))?;
        // Or the kernel refuses all lines (check_btf_line() in kernel/bpf/verifier.c).
        if !lines.iter().any(|line| u64::from(line.offset) == function.address()) {
            return Err(format!("{name}: its first instruction comes from no line"));
        }
    }
    Ok(code.len() / INSTRUCTION)
}
