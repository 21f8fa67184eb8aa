//! What must hold for every object we commit, whatever the compiler did.

use object::read::elf::{ElfFile64, ElfSection64};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use probe::abi::{self, setting};

/// The bytes of one instruction.
const INSTRUCTION: usize = 8;

/// The largest program that every kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// The sections of programs: each has one, the function of the name.
const PROGRAMS: [(&str, &str); 2] = [("tc/lo", abi::LOOPBACK_PROGRAM), ("tc/wire", abi::WIRE_PROGRAM)];

/// The section of the functions that programs call.
const FUNCTIONS: &str = ".text";

/// Checks the object: nothing undefined but the settings, the programs in one section each, no loop, and no more
/// instructions than every kernel takes. Returns what it is, in words.
pub(crate) fn inspect(bytes: &[u8]) -> Result<String, String> {
    let object =
        ElfFile64::<Endianness>::parse(bytes).map_err(|error| format!("reading the object: {error}"))?;
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
            let count = inspect_code(&object, &section)?;
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
    let summary = programs.iter().map(|(name, count)| format!("{name} {count}"));
    Ok(format!("{}, shared {called} instructions", summary.collect::<Vec<_>>().join(", ")))
}

/// Checks a section of code: its functions begin where a function may, and none has a loop. Returns how many
/// instructions it has.
fn inspect_code(
    object: &ElfFile64<'_, Endianness>,
    section: &ElfSection64<'_, '_, Endianness>,
) -> Result<usize, String> {
    let code = section.data().map_err(|error| format!("reading the code: {error}"))?;
    let graph = Graph { code, little_endian: object.is_little_endian() };
    let functions = object.symbols().filter(|symbol| {
        symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
    });
    for function in functions {
        let name = function.name().unwrap_or_default();
        let start = usize::try_from(function.address()).unwrap_or(usize::MAX) / INSTRUCTION;
        graph.loop_free(start).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(code.len() / INSTRUCTION)
}

/// The control flow in a section of code.
struct Graph<'a> {
    code: &'a [u8],
    little_endian: bool,
}

impl Graph<'_> {
    /// Where instruction `index` may go on.
    fn successors(&self, index: usize) -> Result<Vec<usize>, String> {
        const LDDW: u8 = 0x18;
        const JA: u8 = 0x05;
        const CALL: u8 = 0x85;
        const EXIT: u8 = 0x95;
        const CLASS: u8 = 0x07;
        const CLASS_JMP: u8 = 0x05;
        let offset = index * INSTRUCTION;
        let Some(&[opcode, _, low, high, ..]) = self.code.get(offset..offset + INSTRUCTION) else {
            return Err(format!("control runs out of the program at instruction {index}"));
        };
        let jump = if self.little_endian {
            i16::from_le_bytes([low, high])
        } else {
            i16::from_be_bytes([low, high])
        };
        let next = index + 1;
        let target = next.wrapping_add_signed(isize::from(jump));
        Ok(match opcode {
            EXIT => vec![],
            LDDW => vec![index + 2],
            JA => vec![target],
            CALL => vec![next],
            _ if opcode & CLASS == CLASS_JMP => vec![next, target],
            _ => vec![next],
        })
    }

    /// Kernels before 5.3 refuse every loop, newer ones do not: so they would not notice.
    fn loop_free(&self, start: usize) -> Result<(), String> {
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
}
