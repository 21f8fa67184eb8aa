//! Parsing of BPF ELF objects: code, symbols, relocations, legacy map definitions, license.
//!
//! Pure and total: any bytes give an [`Object`] or a [`ParseError`], never a panic, and memory stays within
//! a small multiple of the input. Of BTF only the source lines are read; debug information and everything else
//! that neither is code nor describes a map is skipped unread.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{FileHeader, Rel, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{NativeEndian, SectionIndex};

use crate::instruction::Instruction;
use crate::lines::LineSections;
use crate::parse_error::ParseError;

/// Instructions in one object, and after linking in one program. It is the verifier's own limit for
/// privileged users (kernel commit c04c0d2b968a, 5.2).
pub(crate) const INSTRUCTION_LIMIT: usize = 1_000_000;

/// Bytes of `{ type, key_size, value_size, max_entries, map_flags }`, the part of a legacy map definition
/// that every loader agrees on.
pub(crate) const MAP_DEFINITION_SIZE: usize = 20;

const ENDIAN: NativeEndian = NativeEndian;
type Header = FileHeader64<NativeEndian>;
type Sections<'data> = SectionTable<'data, Header>;

/// A map as an object defines it in its `maps` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapDefinition {
    /// The name of the symbol.
    pub name: String,
    /// Map type, `enum bpf_map_type`.
    pub kind: u32,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// Largest number of entries.
    pub max_entries: u32,
    /// Flags, `BPF_F_*` of BPF_MAP_CREATE.
    pub flags: u32,
}

/// A parsed BPF ELF object.
#[derive(Debug, Clone)]
pub struct Object<'data> {
    pub(crate) code: Vec<CodeSection<'data>>,
    pub(crate) symbols: Vec<Symbol<'data>>,
    /// Sorted by section and start.
    pub(crate) functions: Vec<Function<'data>>,
    maps: Vec<MapDefinition>,
    license: &'data str,
    pub(crate) lines: Option<LineSections<'data>>,
}

/// An executable section.
#[derive(Debug, Clone)]
pub(crate) struct CodeSection<'data> {
    index: SectionIndex,
    pub(crate) name: &'data str,
    pub(crate) instructions: Vec<Instruction>,
    /// By instruction.
    pub(crate) relocations: BTreeMap<usize, Relocation>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Relocation {
    /// `R_BPF_*`.
    pub(crate) kind: u32,
    /// Index into [`Object::symbols`].
    pub(crate) symbol: usize,
}

/// An entry of the symbol table.
#[derive(Debug, Clone)]
pub(crate) struct Symbol<'data> {
    pub(crate) name: &'data str,
    pub(crate) place: Place<'data>,
    /// Offset in its section in bytes.
    pub(crate) value: u64,
    size: u64,
    pub(crate) kind: elf::SymbolType,
    global: bool,
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'data> {
    Undefined,
    Common,
    /// Index into [`Object::code`].
    Code(usize),
    Maps,
    /// Any other section, or none: absolute symbols.
    Other(&'data str),
}

/// A function: where it is, in instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function<'data> {
    pub(crate) name: &'data str,
    /// Index into [`Object::code`].
    pub(crate) section: usize,
    pub(crate) start: usize,
    pub(crate) length: usize,
    pub(crate) global: bool,
}

impl<'data> Object<'data> {
    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Whatever is not a relocatable 64-bit BPF object in the host's byte order, and every construct that
    /// [`ParseError`] names.
    pub fn parse(bytes: &'data [u8]) -> Result<Self, ParseError> {
        check_identification(bytes)?;
        let header = Header::parse(bytes)?;
        if header.e_type(ENDIAN) != elf::ET_REL {
            return Err(ParseError::WrongType { got: header.e_type(ENDIAN).0 });
        }
        if header.e_machine(ENDIAN) != elf::EM_BPF {
            return Err(ParseError::WrongMachine { got: header.e_machine(ENDIAN).0 });
        }
        let sections = header.sections(ENDIAN, bytes)?;
        let symbol_table = sections.symbols(ENDIAN, bytes, elf::SHT_SYMTAB)?;

        let mut code = read_code(&sections, bytes)?;
        let maps_section = find_section(&sections, "maps")?;
        let symbols = read_symbols(&sections, &symbol_table, &code, maps_section.map(|(index, _)| index))?;
        let functions = find_functions(&code, &symbols)?;
        for (position, section) in code.iter().enumerate() {
            if !functions.iter().any(|function| function.section == position) {
                return Err(ParseError::CodeWithoutFunctionSymbol { section: section.name.to_owned() });
            }
        }
        let maps_index = maps_section.map(|(index, _)| index);
        read_relocations(&sections, bytes, &symbol_table, &mut code, maps_index)?;
        let maps = match maps_section {
            Some((_, section)) => read_maps(section.data(ENDIAN, bytes)?, &symbols)?,
            None => Vec::new(),
        };
        let license = match find_section(&sections, "license")? {
            Some((_, section)) => read_license(section.data(ENDIAN, bytes)?)?,
            None => "",
        };
        let lines = find_lines(&sections, bytes);
        Ok(Self { code, symbols, functions, maps, license, lines })
    }

    /// The maps of the legacy `maps` section in the order of that section.
    pub fn maps(&self) -> &[MapDefinition] {
        &self.maps
    }

    /// The names of the programs: global functions in executable sections other than `.text`.
    pub fn program_names(&self) -> impl Iterator<Item = &str> {
        self.functions
            .iter()
            .filter(|function| function.global)
            .filter(|function| self.code.get(function.section).is_some_and(|section| section.name != ".text"))
            .map(|function| function.name)
    }

    /// The license, which decides on the helpers the kernel lets a program call; empty when the object
    /// does not say.
    pub fn license(&self) -> &str {
        self.license
    }
}

/// Checks what can be said before the byte order and the width of the rest are known.
fn check_identification(bytes: &[u8]) -> Result<(), ParseError> {
    const MAGIC: [u8; 4] = elf::ELFMAG;
    let Some(&[a, b, c, d, class, data]) = bytes.first_chunk::<6>() else {
        return Err(ParseError::NotElf);
    };
    if [a, b, c, d] != MAGIC {
        return Err(ParseError::NotElf);
    }
    if class != elf::ELFCLASS64.0 {
        return Err(ParseError::WrongClass);
    }
    let host = if cfg!(target_endian = "little") { elf::ELFDATA2LSB } else { elf::ELFDATA2MSB };
    if data != host.0 {
        return Err(ParseError::WrongEndian);
    }
    Ok(())
}

fn section_name<'data>(
    sections: &Sections<'data>,
    index: SectionIndex,
    section: &SectionHeader64<NativeEndian>,
) -> Result<&'data str, ParseError> {
    let name = sections.section_name(ENDIAN, section)?;
    core::str::from_utf8(name).map_err(|_| ParseError::SectionName { index: index.0 })
}

fn find_section<'data>(
    sections: &Sections<'data>,
    wanted: &str,
) -> Result<Option<(SectionIndex, &'data SectionHeader64<NativeEndian>)>, ParseError> {
    for (index, section) in sections.enumerate() {
        if section_name(sections, index, section)? == wanted {
            return Ok(Some((index, section)));
        }
    }
    Ok(None)
}

/// The sections with the source lines, if they are there.
fn find_lines<'data>(sections: &Sections<'data>, bytes: &'data [u8]) -> Option<LineSections<'data>> {
    let data = |name| find_section(sections, name).ok()??.1.data(ENDIAN, bytes).ok();
    Some(LineSections { btf: data(".BTF")?, ext: data(".BTF.ext")? })
}

/// All executable sections with anything in them. clang leaves an empty `.text` in every object.
fn read_code<'data>(
    sections: &Sections<'data>,
    bytes: &'data [u8],
) -> Result<Vec<CodeSection<'data>>, ParseError> {
    let mut code = Vec::new();
    let mut total = 0_usize;
    for (index, section) in sections.enumerate() {
        let executable = section.sh_flags(ENDIAN).0 & elf::SHF_EXECINSTR.0 != 0;
        if !executable || section.sh_size(ENDIAN) == 0 {
            continue;
        }
        let name = section_name(sections, index, section)?;
        if section.sh_type(ENDIAN) != elf::SHT_PROGBITS {
            return Err(ParseError::CodeNotStored { section: name.to_owned() });
        }
        let data = section.data(ENDIAN, bytes)?;
        let (chunks, rest) = data.as_chunks::<{ Instruction::SIZE }>();
        if !rest.is_empty() {
            return Err(ParseError::CodeSize { section: name.to_owned(), size: data.len() });
        }
        total = total.saturating_add(chunks.len());
        if total > INSTRUCTION_LIMIT {
            return Err(ParseError::TooLarge { section: name.to_owned() });
        }
        let instructions = chunks.iter().map(|&chunk| Instruction::from_bytes(chunk)).collect();
        code.push(CodeSection { index, name, instructions, relocations: BTreeMap::new() });
    }
    Ok(code)
}

fn read_symbols<'data>(
    sections: &Sections<'data>,
    table: &SymbolTable<'data, Header>,
    code: &[CodeSection<'data>],
    maps_section: Option<SectionIndex>,
) -> Result<Vec<Symbol<'data>>, ParseError> {
    let mut symbols = Vec::with_capacity(table.len());
    for (index, symbol) in table.enumerate() {
        let raw_name = table.symbol_name(ENDIAN, symbol)?;
        let name = core::str::from_utf8(raw_name).map_err(|_| ParseError::SymbolName { index: index.0 })?;
        let place = match table.symbol_section(ENDIAN, symbol, index)? {
            Some(section) if Some(section) == maps_section => Place::Maps,
            Some(section) => match code.iter().position(|code| code.index == section) {
                Some(position) => Place::Code(position),
                None => Place::Other(section_name(sections, section, sections.section(section)?)?),
            },
            None if symbol.is_common(ENDIAN) => Place::Common,
            None if symbol.st_shndx(ENDIAN) == elf::SHN_UNDEF => Place::Undefined,
            None => Place::Other("*ABS*"),
        };
        symbols.push(Symbol {
            name,
            place,
            value: symbol.st_value(ENDIAN),
            size: symbol.st_size(ENDIAN),
            kind: symbol.st_type(),
            global: !symbol.is_local(),
        });
    }
    Ok(symbols)
}

/// Functions are STT_FUNC symbols, and global ones without a type: clang before 9 gave no type, and no
/// size either, so that such a function ends where the next one starts.
fn find_functions<'data>(
    code: &[CodeSection<'data>],
    symbols: &[Symbol<'data>],
) -> Result<Vec<Function<'data>>, ParseError> {
    let mut found = Vec::new();
    for symbol in symbols {
        let Place::Code(position) = symbol.place else {
            continue;
        };
        let is_function = symbol.kind == elf::STT_FUNC || symbol.kind == elf::STT_NOTYPE && symbol.global;
        if is_function {
            found.push((position, symbol));
        }
    }
    found.sort_by_key(|(position, symbol)| (*position, symbol.value));
    let mut functions = Vec::with_capacity(found.len());
    for (order, &(position, symbol)) in found.iter().enumerate() {
        let Some(section) = code.get(position) else {
            continue;
        };
        let next = found
            .iter()
            .skip(order)
            .find(|(other, later)| *other != position || later.value > symbol.value)
            .filter(|(other, _)| *other == position)
            .map(|(_, later)| later.value);
        let bounds = function_bounds(symbol, next, section.instructions.len());
        let Some((start, length)) = bounds else {
            return Err(ParseError::FunctionBounds {
                function: symbol.name.to_owned(),
                section: section.name.to_owned(),
            });
        };
        functions.push(Function {
            name: symbol.name,
            section: position,
            start,
            length,
            global: symbol.global,
        });
    }
    Ok(functions)
}

/// First instruction and number of instructions, when they are whole and inside the section.
fn function_bounds(symbol: &Symbol<'_>, next: Option<u64>, available: usize) -> Option<(usize, usize)> {
    let section_size = u64::try_from(available).ok()?.checked_mul(Instruction::SIZE as u64)?;
    let end = match symbol.size {
        0 => next.unwrap_or(section_size),
        size => symbol.value.checked_add(size)?,
    };
    let size = end.checked_sub(symbol.value)?;
    let whole = |bytes: u64| {
        let exact = bytes.is_multiple_of(Instruction::SIZE as u64);
        exact.then(|| usize::try_from(bytes / Instruction::SIZE as u64).ok()).flatten()
    };
    (size > 0 && end <= section_size).then_some(())?;
    Some((whole(symbol.value)?, whole(size)?))
}

fn read_relocations<'data>(
    sections: &Sections<'data>,
    bytes: &'data [u8],
    table: &SymbolTable<'data, Header>,
    code: &mut [CodeSection<'data>],
    maps_section: Option<SectionIndex>,
) -> Result<(), ParseError> {
    for (index, section) in sections.enumerate() {
        let kind = section.sh_type(ENDIAN);
        if ![elf::SHT_REL, elf::SHT_RELA, elf::SHT_CREL].contains(&kind) {
            continue;
        }
        let target = section.info_link(ENDIAN);
        let name = section_name(sections, index, section)?;
        if Some(target) == maps_section {
            return Err(ParseError::RelocationInMaps { section: name.to_owned() });
        }
        // Relocations of BTF and debug information are of no interest.
        let Some(code_section) = code.iter_mut().find(|code| code.index == target) else {
            continue;
        };
        let Some((relocations, link)) = section.rel(ENDIAN, bytes)? else {
            return Err(ParseError::RelaSection { section: name.to_owned() });
        };
        if link != table.section() {
            return Err(ParseError::Malformed { reason: "relocations of another symbol table" });
        }
        for relocation in relocations {
            let offset = relocation.r_offset(ENDIAN);
            let at = |error: fn(String, u64) -> ParseError| error(name.to_owned(), offset);
            let instruction = usize::try_from(offset / Instruction::SIZE as u64)
                .ok()
                .filter(|&instruction| instruction < code_section.instructions.len())
                .filter(|_| offset.is_multiple_of(Instruction::SIZE as u64))
                .ok_or_else(|| at(|section, offset| ParseError::RelocationOffset { section, offset }))?;
            let symbol = relocation.r_sym(ENDIAN) as usize;
            if symbol == 0 || symbol >= table.len() {
                return Err(at(|section, offset| ParseError::RelocationSymbol { section, offset }));
            }
            let entry = Relocation { kind: relocation.r_type(ENDIAN).0, symbol };
            if code_section.relocations.insert(instruction, entry).is_some() {
                return Err(at(|section, offset| ParseError::DuplicateRelocation { section, offset }));
            }
        }
    }
    Ok(())
}

/// Reads the legacy definitions. Their size is a matter of taste (20 to 40 bytes) and symbols often have
/// none, so the section's size and the number of symbols give it.
fn read_maps(data: &[u8], symbols: &[Symbol<'_>]) -> Result<Vec<MapDefinition>, ParseError> {
    let mut names: Vec<&Symbol<'_>> = symbols
        .iter()
        .filter(|symbol| symbol.place == Place::Maps)
        .filter(|symbol| symbol.kind == elf::STT_OBJECT || symbol.kind == elf::STT_NOTYPE && symbol.global)
        .collect();
    names.sort_by_key(|symbol| symbol.value);
    let (size, count) = (data.len(), names.len());
    let stride = size.checked_div(count).unwrap_or(0);
    if size == 0 && count == 0 {
        return Ok(Vec::new());
    }
    if stride < MAP_DEFINITION_SIZE || stride.checked_mul(count) != Some(size) {
        return Err(ParseError::MapSection { size, symbols: count });
    }
    let mut maps = Vec::with_capacity(count);
    for (symbol, (position, definition)) in names.iter().zip(data.chunks_exact(stride).enumerate()) {
        let name = symbol.name.to_owned();
        let expected = position.checked_mul(stride).and_then(|offset| u64::try_from(offset).ok());
        if expected != Some(symbol.value) {
            return Err(ParseError::MapOffset { map: name, offset: symbol.value, stride });
        }
        let (fields, rest) = definition.as_chunks::<4>();
        let [kind, key_size, value_size, max_entries, flags, extra @ ..] = fields else {
            return Err(ParseError::MapSection { size, symbols: count });
        };
        if extra.as_flattened().iter().chain(rest).any(|&byte| byte != 0) {
            return Err(ParseError::UnknownMapAttribute { map: name });
        }
        maps.push(MapDefinition {
            name,
            kind: u32::from_ne_bytes(*kind),
            key_size: u32::from_ne_bytes(*key_size),
            value_size: u32::from_ne_bytes(*value_size),
            max_entries: u32::from_ne_bytes(*max_entries),
            flags: u32::from_ne_bytes(*flags),
        });
    }
    Ok(maps)
}

/// One NUL-terminated string. Two of them are what `ld -r` makes of two objects.
fn read_license(data: &[u8]) -> Result<&str, ParseError> {
    let end = data.iter().position(|&byte| byte == 0).ok_or(ParseError::License)?;
    let (license, padding) = data.split_at(end);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(ParseError::License);
    }
    core::str::from_utf8(license).map_err(|_| ParseError::License)
}
