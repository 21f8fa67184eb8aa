//! What must hold for every object we commit, whatever the compiler did.

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionKind};
use probe::abi::{self, setting};

/// The bytes of one instruction.
const INSTRUCTION: usize = 8;

/// The largest program that every kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Checks the object: nothing undefined but the settings, one program in one function, no loop. Returns what
/// it is, in words.
pub(crate) fn inspect(bytes: &[u8]) -> Result<String, String> {
    let object =
        ElfFile64::<Endianness>::parse(bytes).map_err(|error| format!("reading the object: {error}"))?;
    for symbol in object.symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name().unwrap_or_default();
        if !name.is_empty() && !setting::ALL.contains(&name) {
            return Err(format!("the symbol `{name}` is not defined: it must be inlined or not be needed"));
        }
    }
    const KNOWN: [&str; 3] = ["tc", "maps", "license"];
    let foreign = object.sections().find(|section| {
        let data = matches!(section.kind(), SectionKind::Metadata | SectionKind::Other);
        !data && !section.name().is_ok_and(|name| KNOWN.contains(&name))
    });
    if let Some(section) = foreign {
        let name = section.name().unwrap_or_default();
        return Err(format!("the section `{name}` is global data, which kernels before 5.2 do not have"));
    }
    let mut sections = object.sections().filter(|section| section.kind() == SectionKind::Text);
    let (Some(section), None) = (sections.next(), sections.next()) else {
        return Err("there is not exactly one section of code".into());
    };
    let functions: Vec<_> = object
        .symbols()
        .filter(|symbol| symbol.is_definition() && symbol.section_index() == Some(section.index()))
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    if functions != [abi::LOOPBACK_PROGRAM] {
        return Err(format!("the functions are {functions:?} instead of {:?}", [abi::LOOPBACK_PROGRAM]));
    }
    let code = section.data().map_err(|error| format!("reading the code: {error}"))?;
    let count = code.len() / INSTRUCTION;
    if count > MAX_INSTRUCTIONS {
        return Err(format!("{count} instructions are more than {MAX_INSTRUCTIONS}"));
    }
    let graph = Graph { code, little_endian: object.is_little_endian() };
    graph.loop_free()?;
    Ok(format!("{count} instructions"))
}

/// The control flow of a program.
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
    fn loop_free(&self) -> Result<(), String> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            Unseen,
            OnPath,
            Done,
        }
        let mut states = vec![State::Unseen; self.code.len() / INSTRUCTION];
        let mut path = vec![(0, self.successors(0)?)];
        states[0] = State::OnPath;
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
