//! Makes small BPF ELF objects. Shared by the crate's own tests, those against the kernel, and those of the product.
#![allow(dead_code, unreachable_pub)] // each user needs a part of it

use std::vec;
use std::vec::Vec;

use object::elf;
use object::write::{
    Object, Relocation, RelocationFlags, SectionId, Symbol, SymbolFlags, SymbolId, SymbolKind, SymbolScope,
    SymbolSection,
};
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

/// `struct bpf_insn` in the host's byte order, from opcode, destination, source, offset and immediate.
pub fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let registers =
        if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
    [opcode, registers, a, b, c, d, e, f]
}

/// `r0 = value`
pub fn mov(value: i32) -> [u8; 8] {
    instruction(0xb7, 0, 0, 0, value)
}

/// `exit`
pub fn exit() -> [u8; 8] {
    instruction(0x95, 0, 0, 0, 0)
}

/// `call` of a function of the program.
pub fn call(immediate: i32) -> [u8; 8] {
    instruction(0x85, 0, 1, 0, immediate)
}

/// Both halves of `r1 = 0 ll`.
pub fn load_64() -> [[u8; 8]; 2] {
    [instruction(0x18, 1, 0, 0, 0), [0; 8]]
}

pub const R_BPF_64_64: u32 = 1;
pub const R_BPF_64_32: u32 = 10;

/// A source line: the instruction that it begins with, file, text, number.
pub type Line = (u32, &'static str, &'static str, u32);

/// An object in the making.
pub struct Builder(pub Object<'static>);

impl Builder {
    pub fn new() -> Self {
        let endian = if cfg!(target_endian = "little") { Endianness::Little } else { Endianness::Big };
        Self(Object::new(BinaryFormat::Elf, Architecture::Bpf, endian))
    }

    pub fn section(&mut self, name: &str, kind: SectionKind, data: &[u8]) -> SectionId {
        let section = self.0.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
        self.0.append_section_data(section, data, 8);
        section
    }

    pub fn code(&mut self, name: &str, instructions: &[[u8; 8]]) -> SectionId {
        self.section(name, SectionKind::Text, instructions.as_flattened())
    }

    pub fn symbol(
        &mut self,
        name: &str,
        section: SymbolSection,
        kind: SymbolKind,
        value: u64,
        size: u64,
        global: bool,
    ) -> SymbolId {
        self.0.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value,
            size,
            kind,
            scope: if global { SymbolScope::Dynamic } else { SymbolScope::Compilation },
            weak: false,
            section,
            flags: SymbolFlags::None,
        })
    }

    /// A function: `start` and `length` in instructions.
    pub fn function(
        &mut self,
        name: &str,
        section: SectionId,
        start: u64,
        length: u64,
        global: bool,
    ) -> SymbolId {
        let section = SymbolSection::Section(section);
        self.symbol(name, section, SymbolKind::Text, start * 8, length * 8, global)
    }

    /// A section with one global function.
    pub fn program(&mut self, section: &str, name: &str, instructions: &[[u8; 8]]) -> SectionId {
        let section = self.code(section, instructions);
        self.function(name, section, 0, instructions.len() as u64, true);
        section
    }

    pub fn undefined(&mut self, name: &str) -> SymbolId {
        self.symbol(name, SymbolSection::Undefined, SymbolKind::Unknown, 0, 0, true)
    }

    /// The `maps` section: names and definitions of any equal size.
    pub fn maps(&mut self, maps: &[(&str, &[u32])]) -> Vec<SymbolId> {
        let bytes = |fields: &[u32]| fields.iter().flat_map(|field| field.to_ne_bytes()).collect::<Vec<_>>();
        let data: Vec<u8> = maps.iter().flat_map(|(_, fields)| bytes(fields)).collect();
        let section = SymbolSection::Section(self.section("maps", SectionKind::Data, &data));
        let mut offset = 0;
        maps.iter()
            .map(|(name, fields)| {
                let symbol = self.symbol(name, section, SymbolKind::Data, offset, 0, true);
                offset += 4 * fields.len() as u64;
                symbol
            })
            .collect()
    }

    pub fn license(&mut self, license: &[u8]) {
        self.section("license", SectionKind::Data, license);
    }

    /// The lines of sections, in records of `size` bytes in `.BTF.ext`, with their texts in `.BTF`.
    pub fn lines(&mut self, sections: &[(&str, &[Line])], size: usize) {
        let mut strings = b"\0u8\0".to_vec();
        let mut string = |text: &str| {
            let offset = strings.len() as u32;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            offset
        };
        let mut lines = vec![size as u32];
        for (section, records) in sections {
            lines.extend([string(section), records.len() as u32]);
            for &(instruction, file, text, number) in *records {
                lines.extend([instruction * 8, string(file), string(text), number << 10]);
                lines.extend(vec![0; size / 4 - 4]);
            }
        }
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        // Magic, version and flags; length, and offset and length of two parts.
        let header = |first: usize, second: usize| {
            let lengths = [24, 0, first as u32, first as u32, second as u32];
            [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0], &bytes(&lengths)].concat()
        };
        // An unsigned integer of 8 bits.
        let kind = bytes(&[1, 1 << 24, 1, 8]);
        let lines = bytes(&lines);
        let btf = [header(kind.len(), strings.len()), kind, strings].concat();
        self.section(".BTF", SectionKind::Other, &btf);
        self.section(".BTF.ext", SectionKind::Other, &[header(0, lines.len()), lines].concat());
    }

    /// A relocation at an offset in bytes.
    pub fn relocate(&mut self, section: SectionId, offset: u64, symbol: SymbolId, kind: u32) {
        let flags = RelocationFlags::Elf { r_type: elf::RelocationType(kind) };
        let relocation = Relocation { offset, symbol, addend: 0, flags };
        self.0.add_relocation(section, relocation).expect("a relocation that ELF can hold");
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.write().expect("an object that ELF can hold")
    }
}
