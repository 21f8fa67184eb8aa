//! What must hold for every object we commit, whatever the compiler did.

use std::collections::BTreeMap;
use std::path::Path;

use object::read::elf::{ElfFile64, ElfSection64, ElfSymbol64};
use object::{
    Endian, Endianness, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind,
};
use probe::abi::{self, helpers, setting};

use crate::graph::{Graph, INSTRUCTION};
use crate::kernel::{self, Code, Kind, Need, Reference, Version};
use crate::lines::{self, SectionLines};

/// The largest program that every kernel takes (BPF_MAXINSNS). Since 5.2 it may have a million for who is privileged
/// (kernel commit c04c0d2b968a).
const MAX_INSTRUCTIONS: usize = 4096;

/// The sections of programs: each has one, the function of the name.
const PROGRAMS: [(&str, &str); 3] =
    [("tc/lo", abi::LOOPBACK_PROGRAM), ("tc/wire", abi::WIRE_PROGRAM), ("xdp", abi::XDP_PROGRAM)];

/// The section of the functions that programs call.
const FUNCTIONS: &str = ".text";

/// The section of the maps, each five numbers of four bytes, of which the first is its type.
const MAPS: &str = "maps";

/// The oldest kernel that takes a program if a setting has a value.
struct Oldest {
    section: &'static str,
    kind: Kind,
    setting: Option<(&'static str, u32)>,
    version: Version,
}

const OLD_HELPERS: Option<(&str, u32)> = Some((setting::HELPERS, helpers::OLD));
const NEW_HELPERS: Option<(&str, u32)> = Some((setting::HELPERS, helpers::NEW));

/// See [`Oldest`]. Of what newer kernels have, a program may make use only where a setting keeps old ones from it.
const OLDEST: [Oldest; 5] = [
    Oldest { section: "tc/lo", kind: Kind::Tc, setting: None, version: (4, 16) },
    Oldest { section: "tc/wire", kind: Kind::Tc, setting: OLD_HELPERS, version: (4, 16) },
    Oldest { section: "tc/wire", kind: Kind::Tc, setting: NEW_HELPERS, version: (5, 8) },
    Oldest { section: "xdp", kind: Kind::Xdp, setting: OLD_HELPERS, version: (4, 16) },
    Oldest { section: "xdp", kind: Kind::Xdp, setting: NEW_HELPERS, version: (5, 18) },
];

/// Reads an object.
pub(crate) fn parse(bytes: &[u8]) -> Result<ElfFile64<'_, Endianness>, String> {
    ElfFile64::parse(bytes).map_err(|error| format!("reading the object: {error}"))
}

/// Checks the object: nothing undefined but the settings, the programs in one section each, what [`Graph`] knows of
/// code, no more instructions than every kernel takes unless `aligned` costs too many, nothing that old kernels lack, and
/// lines of the sources. Returns what it is, in words.
pub(crate) fn inspect(bytes: &[u8], aligned: bool) -> Result<String, String> {
    let object = parse(bytes)?;
    let lines = lines::read(&object)?;
    for symbol in object.symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name().unwrap_or_default();
        if !name.is_empty() && !setting::ALL.contains(&name) {
            return Err(format!("the symbol `{name}` is not defined: it must be inlined or not be needed"));
        }
    }
    for section in object.sections() {
        let name = section.name().unwrap_or_default();
        let is_data = matches!(section.kind(), SectionKind::Metadata | SectionKind::Other);
        if section.kind() == SectionKind::Text {
            inspect_code(&object, &section, &lines, aligned)?;
            if name != FUNCTIONS && !PROGRAMS.iter().any(|(section, _)| *section == name) {
                return Err(format!("the section `{name}` of code is not that of a program"));
            }
        } else if !is_data && ![MAPS, "license"].contains(&name) {
            return Err(format!("the section `{name}` is global data, which kernels before 5.2 do not have"));
        }
    }
    let counts = PROGRAMS
        .iter()
        .map(|(section, name)| Ok((*name, count_instructions(&object, section)?)))
        .collect::<Result<Vec<_>, String>>()?;
    if let Some((name, count)) = counts.iter().find(|(_, count)| !aligned && *count > MAX_INSTRUCTIONS) {
        return Err(format!("{name} has {count} instructions: more than {MAX_INSTRUCTIONS}"));
    }
    inspect_age(&object)?;
    let lines: usize = lines.iter().map(|(_, lines)| lines.len()).sum();
    let summary = counts.iter().map(|(name, count)| format!("{name} {count}"));
    Ok(format!("{} instructions, {lines} lines", summary.collect::<Vec<_>>().join(", ")))
}

/// How many instructions the program in `section` has as it is loaded, with the functions that it calls.
fn count_instructions(object: &ElfFile64<'_, Endianness>, section: &str) -> Result<usize, String> {
    let (program, functions) = (code(object, section)?, code(object, FUNCTIONS)?);
    let parts = kernel::parts(&program, &functions, &[]).map_err(|error| format!("{section}: {error}"))?;
    let own = object.section_by_name(section).map_or(0, |section| section.size());
    let called = parts.iter().skip(1).map(|part| {
        let begins = |symbol: &ElfSymbol64<'_, '_, Endianness>| {
            reference(object, symbol.index()) == Some(Reference::Function(part.start))
        };
        object.symbols().find(begins).map_or(0, |function| function.size())
    });
    Ok(usize::try_from(own + called.sum::<u64>()).unwrap_or(usize::MAX) / INSTRUCTION)
}

/// Checks the functions in a section of code.
fn inspect_code(
    object: &ElfFile64<'_, Endianness>,
    section: &ElfSection64<'_, '_, Endianness>,
    lines: &[SectionLines<'_>],
    aligned: bool,
) -> Result<(), String> {
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
            // The aligned objects are for other machines, and were tried on no kernel that old.
            .and_then(|()| {
                if aligned { Ok(()) } else { graph.registers_on_the_stack_are_overwritten_whole(start) }
            })
            .map_err(|error| format!("{name}: {error}"))?;
        // Or the kernel refuses all lines (check_btf_line() in kernel/bpf/verifier.c).
        if !lines.iter().any(|line| u64::from(line.offset) == function.address()) {
            return Err(format!("{name}: its first instruction comes from no line"));
        }
    }
    Ok(())
}

/// Checks that each program asks for the kernel that is said, by [`OLDEST`].
fn inspect_age(object: &ElfFile64<'_, Endianness>) -> Result<(), String> {
    let maps = object.section_by_name(MAPS).and_then(|section| section.data().ok()).unwrap_or_default();
    let mut newest_map = Need::default();
    for map in maps.as_chunks::<20>().0 {
        let [kind, ..] = map.as_chunks::<4>().0 else { continue };
        newest_map = newest_map.max(kernel::need_of_map(object.endian().read_u32(*kind))?);
    }
    let functions = code(object, FUNCTIONS)?;
    for Oldest { section, kind, setting, version } in OLDEST {
        let settings: Vec<_> = setting.into_iter().map(|(name, value)| (name, u64::from(value))).collect();
        let program = code(object, section)?;
        let need = kernel::parts(&program, &functions, &settings)
            .and_then(|parts| kernel::need_of_program(&parts, kind))
            .map_err(|error| format!("{section}: {error}"))?;
        let Need { since, what } = need.max(newest_map.clone());
        if since != version {
            return Err(format!(
                "{section} with {settings:?} needs Linux {since:?} for {what}, not {version:?}"
            ));
        }
    }
    Ok(())
}

/// The code in the section `name`.
fn code<'a>(object: &ElfFile64<'a, Endianness>, name: &str) -> Result<Code<'a>, String> {
    let section = object.section_by_name(name).ok_or_else(|| format!("no section {name}"))?;
    let code = section.data().map_err(|error| format!("reading the code: {error}"))?;
    let mut references = BTreeMap::new();
    for (offset, relocation) in section.relocations() {
        let reference = match relocation.target() {
            RelocationTarget::Symbol(index) => reference(object, index),
            _ => None,
        };
        let index = usize::try_from(offset).unwrap_or(usize::MAX) / INSTRUCTION;
        let reference =
            reference.ok_or_else(|| format!("{name}: instruction {index} refers to nothing known"))?;
        references.insert(index, reference);
    }
    Ok(Code { graph: Graph::new(code, object.is_little_endian()), references })
}

/// What a symbol is.
fn reference<'a>(object: &ElfFile64<'a, Endianness>, symbol: object::SymbolIndex) -> Option<Reference<'a>> {
    let symbol = object.symbol_by_index(symbol).ok()?;
    let Some(section) = symbol.section_index() else { return symbol.name().ok().map(Reference::Setting) };
    match object.section_by_index(section).ok()?.name().ok()? {
        MAPS => Some(Reference::Map),
        FUNCTIONS if symbol.kind() == SymbolKind::Text => {
            Some(Reference::Function(usize::try_from(symbol.address()).ok()? / INSTRUCTION))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: [(&[u8], bool); 4] = [
        (include_bytes!("../../../probe/bpfecho.bpfel.o"), false),
        (include_bytes!("../../../probe/bpfecho.bpfeb.o"), false),
        (include_bytes!("../../../probe/bpfecho.bpfel.aligned.o"), true),
        (include_bytes!("../../../probe/bpfecho.bpfeb.aligned.o"), true),
    ];

    #[test]
    fn what_is_committed_is_for_old_kernels() {
        for (bytes, aligned) in OBJECTS {
            inspect(bytes, aligned).unwrap();
        }
    }

    #[test]
    fn one_newer_instruction_is_noticed() {
        for (bytes, aligned) in OBJECTS {
            let (start, _) = parse(bytes).unwrap().section_by_name("tc/lo").unwrap().file_range().unwrap();
            let start = start as usize;
            let mut bytes = bytes.to_vec();
            bytes[start..start + INSTRUCTION].copy_from_slice(&[0x16, 0, 0, 0, 0, 0, 0, 0]); // if w0 == 0 goto +0
            let error = "tc/lo with [] needs Linux (5, 1) for 32-bit jumps (092ed0968bb6), not (4, 16)";
            assert_eq!(inspect(&bytes, aligned).unwrap_err(), error);
        }
    }
}
