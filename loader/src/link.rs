//! Linking: one program of an object with the functions it calls and every relocation resolved. Pure.

use alloc::borrow::ToOwned;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use object::elf;

use crate::instruction::Instruction;
use crate::lines::{LineSections, ObjectLines, PlacedFunction, ProgramLines};
use crate::map::Map;
use crate::object::{Function, INSTRUCTION_LIMIT, Object, Place, Relocation, Symbol};

/// A program that is ready to be loaded.
///
/// The maps it uses are numbers in its instructions, so it can not outlive them, nor the object's bytes.
#[derive(Debug, Clone)]
pub struct LinkedProgram<'a> {
    name: String,
    license: CString,
    instructions: Vec<Instruction>,
    functions: Vec<PlacedFunction<'a>>,
    lines: Option<LineSections<'a>>,
    maps: PhantomData<&'a Map>,
}

impl LinkedProgram<'_> {
    /// The name of the program's symbol.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object's license.
    pub fn license(&self) -> &core::ffi::CStr {
        &self.license
    }

    /// The program followed by the functions it calls.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The source lines of the instructions.
    pub(crate) fn lines(&self) -> Option<ProgramLines<'_>> {
        Some(ObjectLines::read(self.lines?)?.of_program(&self.functions))
    }
}

impl<'data> Object<'data> {
    /// Links the program `program`.
    ///
    /// `maps` gives the maps that the program refers to, by the names of their symbols. `constants` gives
    /// the value of each undefined symbol whose address the code takes; it becomes the instruction's
    /// immediate, so the verifier sees a constant. Both may hold more than the program needs.
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn link<'a>(
        &self,
        program: &str,
        maps: &[(&str, &'a Map)],
        constants: &[(&str, u64)],
    ) -> Result<LinkedProgram<'a>, LinkError>
    where
        'data: 'a,
    {
        let map_fd =
            |wanted: &str| maps.iter().find(|(name, _)| *name == wanted).map(|(_, map)| map.fd().as_raw());
        self.link_to_fds(program, &map_fd, constants)
    }

    /// [`link`](Self::link) with a lookup of the maps' fds.
    pub(crate) fn link_to_fds<'a>(
        &self,
        program: &str,
        map_fd: &dyn Fn(&str) -> Option<i32>,
        constants: &[(&str, u64)],
    ) -> Result<LinkedProgram<'a>, LinkError>
    where
        'data: 'a,
    {
        let entry = self
            .functions
            .iter()
            .position(|function| function.global && function.name == program)
            .ok_or_else(|| LinkError::NoSuchProgram { program: program.to_owned() })?;
        let mut linker = Linker { object: self, program, map_fd, constants, placed: Vec::new(), end: 0 };
        linker.place(entry)?;
        let mut instructions = Vec::new();
        // Grows while it is walked: a call places its target behind what is already there.
        let mut next = 0;
        while let Some(&(function, start)) = linker.placed.get(next) {
            linker.copy(function, start, &mut instructions)?;
            next += 1;
        }
        let placed = linker.placed.iter().filter_map(|&(index, start)| {
            let function = *self.functions.get(index)?;
            Some(PlacedFunction { section: self.code.get(function.section)?.name, function, start })
        });
        Ok(LinkedProgram {
            name: program.to_owned(),
            // `read_license` ends the string at its first NUL.
            license: CString::new(self.license()).unwrap_or_default(),
            instructions,
            functions: placed.collect(),
            lines: self.lines,
            maps: PhantomData,
        })
    }
}

struct Linker<'a, 'data> {
    object: &'a Object<'data>,
    program: &'a str,
    map_fd: &'a dyn Fn(&str) -> Option<i32>,
    constants: &'a [(&'a str, u64)],
    /// Functions by index and the instruction at which they start in the program.
    placed: Vec<(usize, usize)>,
    /// Instructions in the program once all of `placed` is copied.
    end: usize,
}

impl<'data> Linker<'_, 'data> {
    fn function(&self, index: usize) -> Result<&Function<'data>, LinkError> {
        // Indices come from `position` on the same list.
        self.object
            .functions
            .get(index)
            .ok_or_else(|| LinkError::NoSuchProgram { program: self.program.to_owned() })
    }

    /// Where the function starts in the program; appends it when it is not there yet.
    fn place(&mut self, index: usize) -> Result<usize, LinkError> {
        if let Some(&(_, start)) = self.placed.iter().find(|(placed, _)| *placed == index) {
            return Ok(start);
        }
        let start = self.end;
        self.end = start.saturating_add(self.function(index)?.length);
        if self.end > INSTRUCTION_LIMIT {
            return Err(LinkError::TooLarge { program: self.program.to_owned() });
        }
        self.placed.push((index, start));
        Ok(start)
    }

    /// Appends the function `index`, relocated, to `out`, where it starts at `start`.
    fn copy(&mut self, index: usize, start: usize, out: &mut Vec<Instruction>) -> Result<(), LinkError> {
        let function = *self.function(index)?;
        let Some(section) = self.object.code.get(function.section) else {
            return Ok(());
        };
        let code = section.instructions.iter().skip(function.start).take(function.length);
        let mut code = code.copied().enumerate();
        while let Some((position, mut instruction)) = code.next() {
            let in_section = function.start + position;
            let site = Site { function: &function, instruction: in_section };
            let relocation = section.relocations.get(&in_section).copied();
            if instruction.opcode == Instruction::LOAD_IMMEDIATE_64 {
                let second = code.next().filter(|(_, second)| is_second_half(*second));
                let Some((_, mut second)) = second else {
                    return Err(LinkError::TruncatedLddw { at: site.name() });
                };
                if let Some(misplaced) = section.relocations.get(&(in_section + 1)) {
                    return Err(self.wrong_instruction(&site, *misplaced, second.opcode));
                }
                match relocation {
                    Some(relocation) => {
                        self.load_immediate(&site, relocation, &mut instruction, &mut second)?;
                    }
                    // The number of an fd that means nothing in this process.
                    None if instruction.source() != 0 => {
                        return Err(LinkError::MissingRelocation { at: site.name() });
                    }
                    None => {}
                }
                out.extend([instruction, second]);
                continue;
            }
            if instruction.is_local_call() {
                let target = self.call_target(&site, relocation, instruction.immediate)?;
                // Both are at most INSTRUCTION_LIMIT.
                let here = (start + position) as i32;
                instruction.immediate = self.place(target)? as i32 - here - 1;
            } else if let Some(relocation) = relocation {
                return Err(self.wrong_instruction(&site, relocation, instruction.opcode));
            }
            out.push(instruction);
        }
        Ok(())
    }

    fn symbol(&self, relocation: Relocation) -> Option<&Symbol<'data>> {
        self.object.symbols.get(relocation.symbol)
    }

    /// The error for a relocation on an instruction that it can not apply to.
    fn wrong_instruction(&self, site: &Site<'_, '_>, relocation: Relocation, opcode: u8) -> LinkError {
        match relocation.kind {
            kind if kind == elf::R_BPF_64_64.0 || kind == elf::R_BPF_64_32.0 => {
                LinkError::RelocWrongInstruction { kind, opcode, at: site.name() }
            }
            kind => LinkError::RelocUnknownType { kind, at: site.name() },
        }
    }

    /// Relocates a 64-bit immediate load, which consists of `first` and `second`.
    fn load_immediate(
        &self,
        site: &Site<'_, '_>,
        relocation: Relocation,
        first: &mut Instruction,
        second: &mut Instruction,
    ) -> Result<(), LinkError> {
        if relocation.kind != elf::R_BPF_64_64.0 || first.source() != 0 {
            return Err(self.wrong_instruction(site, relocation, first.opcode));
        }
        let Some(symbol) = self.symbol(relocation) else {
            return Ok(());
        };
        let name = symbol.name.to_owned();
        let at = site.name();
        let value = match symbol.place {
            Place::Common => return Err(LinkError::CommonSymbol { name, at }),
            Place::Code(_) => return Err(LinkError::FunctionPointer { name, at }),
            Place::Other(section) => {
                return Err(LinkError::DataRelocation { section: section.to_owned(), at });
            }
            Place::Maps if symbol.kind == elf::STT_SECTION => {
                return Err(LinkError::DataRelocation { section: "maps".to_owned(), at });
            }
            Place::Maps => {
                let Some(fd) = (self.map_fd)(symbol.name) else {
                    return Err(LinkError::MapNotGiven { name, at });
                };
                *first = Instruction::new(
                    first.opcode,
                    first.destination(),
                    Instruction::PSEUDO_MAP_FD,
                    first.offset,
                    first.immediate,
                );
                u64::from(fd.cast_unsigned())
            }
            Place::Undefined => {
                let constant = self.constants.iter().find(|(constant, _)| *constant == symbol.name);
                let Some((_, value)) = constant else {
                    return Err(LinkError::UnresolvedSymbol { name, at });
                };
                *value
            }
        };
        if first.immediate != 0 || second.immediate != 0 {
            return Err(LinkError::NonZeroAddend { name, at });
        }
        // The halves of the 64-bit immediate.
        first.immediate = value as i32;
        second.immediate = (value >> 32) as i32;
        Ok(())
    }

    /// The function that the call at `site` with the immediate `immediate` calls, by index.
    fn call_target(
        &self,
        site: &Site<'_, '_>,
        relocation: Option<Relocation>,
        immediate: i32,
    ) -> Result<usize, LinkError> {
        let not_function = || LinkError::CallTargetNotFunction { at: site.name() };
        let immediate = i64::from(immediate);
        let (section, start) = match relocation {
            // Within a section the compiler has already filled in the distance.
            None => {
                (site.function.section, i64::try_from(site.instruction).ok().map(|at| at + 1 + immediate))
            }
            Some(relocation) => {
                if relocation.kind != elf::R_BPF_64_32.0 {
                    return Err(self.wrong_instruction(site, relocation, Instruction::CALL));
                }
                let symbol = self.symbol(relocation).ok_or_else(not_function)?;
                let name = symbol.name.to_owned();
                let section = match symbol.place {
                    Place::Code(section) => section,
                    Place::Undefined => {
                        return Err(LinkError::UnresolvedSymbol { name, at: site.name() });
                    }
                    Place::Common => {
                        return Err(LinkError::CommonSymbol { name, at: site.name() });
                    }
                    Place::Maps | Place::Other(_) => return Err(not_function()),
                };
                // A static callee is the section and an offset, a global one a symbol and -1; for both
                // the immediate counts from the instruction after the symbol.
                let base = i64::try_from(symbol.value / Instruction::SIZE as u64).ok();
                let aligned = symbol.value.is_multiple_of(Instruction::SIZE as u64);
                let start = base.filter(|_| aligned).and_then(|base| base.checked_add(1 + immediate));
                (section, start)
            }
        };
        let start = start.and_then(|start| usize::try_from(start).ok()).ok_or_else(not_function)?;
        self.object
            .functions
            .iter()
            .position(|function| function.section == section && function.start == start)
            .ok_or_else(not_function)
    }
}

/// The second slot of a 64-bit immediate load holds nothing but an immediate.
fn is_second_half(instruction: Instruction) -> bool {
    Instruction { immediate: 0, ..instruction } == Instruction::default()
}

/// An instruction of a function, for messages.
struct Site<'a, 'data> {
    function: &'a Function<'data>,
    /// Counted from the start of the section.
    instruction: usize,
}

impl Site<'_, '_> {
    fn name(&self) -> Location {
        Location {
            function: self.function.name.to_owned(),
            offset: (self.instruction - self.function.start) * Instruction::SIZE,
        }
    }
}

/// Where in an object's code something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The function's name.
    pub function: String,
    /// The instruction's offset from the start of the function in bytes.
    pub offset: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "function {:?} at {:#x}", self.function, self.offset)
    }
}

/// Why a program can not be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the message of each variant says what it and its fields mean
pub enum LinkError {
    NoSuchProgram { program: String },
    TooLarge { program: String },
    TruncatedLddw { at: Location },
    MissingRelocation { at: Location },
    RelocUnknownType { kind: u32, at: Location },
    RelocWrongInstruction { kind: u32, opcode: u8, at: Location },
    UnresolvedSymbol { name: String, at: Location },
    CommonSymbol { name: String, at: Location },
    FunctionPointer { name: String, at: Location },
    DataRelocation { section: String, at: Location },
    MapNotGiven { name: String, at: Location },
    NonZeroAddend { name: String, at: Location },
    CallTargetNotFunction { at: Location },
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProgram { program } => {
                write!(formatter, "program {program:?}: the object has no such global function")
            }
            Self::TooLarge { program } => write!(
                formatter,
                "program {program:?}: more than {INSTRUCTION_LIMIT} instructions with all it calls"
            ),
            Self::TruncatedLddw { at } => {
                write!(formatter, "{at}: 64-bit immediate load without its second half")
            }
            Self::MissingRelocation { at } => {
                write!(formatter, "{at}: 64-bit immediate load of a kernel object without a relocation")
            }
            Self::RelocUnknownType { kind, at } => write!(
                formatter,
                "{at}: relocation type {kind}: wanted {} (R_BPF_64_64) or {} (R_BPF_64_32)",
                elf::R_BPF_64_64.0,
                elf::R_BPF_64_32.0
            ),
            Self::RelocWrongInstruction { kind, opcode, at } => {
                write!(formatter, "{at}: relocation type {kind} does not fit an instruction {opcode:#04x}")
            }
            Self::UnresolvedSymbol { name, at } => write!(formatter, "{at}: symbol {name:?} is undefined"),
            Self::CommonSymbol { name, at } => {
                write!(formatter, "{at}: symbol {name:?} is common: compile with -fno-common")
            }
            Self::FunctionPointer { name, at } => {
                write!(formatter, "{at}: pointer to function {name:?}: not supported")
            }
            Self::DataRelocation { section, at } => {
                write!(formatter, "{at}: pointer into section {section:?}: global data is not supported")
            }
            Self::MapNotGiven { name, at } => write!(formatter, "{at}: map {name:?} was not given"),
            Self::NonZeroAddend { name, at } => {
                write!(formatter, "{at}: symbol {name:?} with an offset: only the symbol itself is supported")
            }
            Self::CallTargetNotFunction { at } => {
                write!(formatter, "{at}: call of something that is not the start of a function")
            }
        }
    }
}

impl core::error::Error for LinkError {}
