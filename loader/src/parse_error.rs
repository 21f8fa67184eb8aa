//! Why an object can not be parsed.

use alloc::string::{String, ToString};
use core::fmt;

use object::elf;

use crate::object::{INSTRUCTION_LIMIT, MAP_DEFINITION_SIZE};

/// Why bytes are not an object this crate can work with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the message of each variant says what it and its fields mean
pub enum ParseError {
    NotElf,
    WrongClass,
    WrongEndian,
    WrongType { got: u16 },
    WrongMachine { got: u16 },
    Elf { reason: String },
    Malformed { reason: &'static str },
    SectionName { index: usize },
    SymbolName { index: usize },
    CodeNotStored { section: String },
    CodeSize { section: String, size: usize },
    TooLarge { section: String },
    CodeWithoutFunctionSymbol { section: String },
    FunctionBounds { function: String, section: String },
    RelaSection { section: String },
    RelocationInMaps { section: String },
    RelocationOffset { section: String, offset: u64 },
    RelocationSymbol { section: String, offset: u64 },
    DuplicateRelocation { section: String, offset: u64 },
    MapSection { size: usize, symbols: usize },
    MapOffset { map: String, offset: u64, stride: usize },
    UnknownMapAttribute { map: String },
    License,
}

impl From<object::read::Error> for ParseError {
    fn from(error: object::read::Error) -> Self {
        Self::Elf { reason: error.to_string() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if cfg!(target_endian = "little") { "little" } else { "big" };
        match self {
            Self::NotElf => write!(formatter, "not an ELF object (bitcode needs llc first)"),
            Self::WrongClass => write!(formatter, "ELF class: wanted 64-bit"),
            Self::WrongEndian => write!(formatter, "ELF byte order: wanted the host's, {host}-endian"),
            Self::WrongType { got } => {
                write!(formatter, "ELF type {got}: wanted {} (relocatable)", elf::ET_REL.0)
            }
            Self::WrongMachine { got } => {
                write!(formatter, "ELF machine {got}: wanted {} (BPF)", elf::EM_BPF.0)
            }
            Self::Elf { reason } => write!(formatter, "broken ELF object: {reason}"),
            Self::Malformed { reason } => write!(formatter, "broken ELF object: {reason}"),
            Self::SectionName { index } => write!(formatter, "section {index}: its name is not UTF-8"),
            Self::SymbolName { index } => write!(formatter, "symbol {index}: its name is not UTF-8"),
            Self::CodeNotStored { section } => {
                write!(formatter, "section {section:?}: executable, but its code is not in the file")
            }
            Self::CodeSize { section, size } => write!(
                formatter,
                "section {section:?}: {size} bytes of code are not a whole number of instructions"
            ),
            Self::TooLarge { section } => write!(
                formatter,
                "section {section:?}: more than {INSTRUCTION_LIMIT} instructions in one object"
            ),
            Self::CodeWithoutFunctionSymbol { section } => {
                write!(formatter, "section {section:?}: code without a function symbol (stripped?)")
            }
            Self::FunctionBounds { function, section } => write!(
                formatter,
                "function {function:?}: not a whole number of instructions inside section {section:?}"
            ),
            Self::RelaSection { section } => write!(
                formatter,
                "section {section:?}: relocations of code with explicit addends are not supported"
            ),
            Self::RelocationInMaps { section } => {
                write!(formatter, "section {section:?}: initial values of maps are not supported")
            }
            Self::RelocationOffset { section, offset } => {
                write!(formatter, "section {section:?}: relocation at {offset:#x} is not at an instruction")
            }
            Self::RelocationSymbol { section, offset } => {
                write!(formatter, "section {section:?}: relocation at {offset:#x} has no symbol")
            }
            Self::DuplicateRelocation { section, offset } => {
                write!(formatter, "section {section:?}: two relocations at {offset:#x}")
            }
            Self::MapSection { size, symbols } => write!(
                formatter,
                "section \"maps\": {size} bytes are not {symbols} equal definitions of at least \
                 {MAP_DEFINITION_SIZE} bytes"
            ),
            Self::MapOffset { map, offset, stride } => write!(
                formatter,
                "map {map:?}: offset {offset:#x} is not where a definition of {stride} bytes starts"
            ),
            Self::UnknownMapAttribute { map } => write!(
                formatter,
                "map {map:?}: only the first {MAP_DEFINITION_SIZE} bytes of a definition may be non-zero"
            ),
            Self::License => write!(formatter, "section \"license\": not one NUL-terminated string"),
        }
    }
}

impl core::error::Error for ParseError {}
