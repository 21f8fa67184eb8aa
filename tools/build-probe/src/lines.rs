//! Source lines for the verifier's log: BTF and BTF.ext with nothing but them.
//!
//! With line tables alone, LLVM's types are not what a kernel takes (the functions are of type 32767), so its lines are
//! read and written anew (Documentation/bpf/btf.rst).

use object::read::elf::ElfFile64;
use object::{Endian, Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Where LLVM says that the probe's sources are. Those of `core` may be missing from a machine, and then its text is.
const SOURCES: &str = "./probe/src/";

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;

/// Both headers: magic, version, flags, length, and offset and length of two parts.
const HEADER: usize = 24;

/// `struct bpf_line_info`.
const RECORD: usize = 16;

/// The instructions from `offset` in bytes on come from line `number`.
pub(crate) struct Line<'a> {
    pub(crate) offset: u32,
    pub(crate) file: &'a str,
    text: &'a str,
    number: u32,
}

/// The lines of a section, by its name.
pub(crate) type SectionLines<'a> = (&'a str, Vec<Line<'a>>);

/// What an object says of lines.
pub(crate) fn read<'a>(object: &ElfFile64<'a, Endianness>) -> Result<Vec<SectionLines<'a>>, String> {
    let section = |name| {
        let data = object.section_by_name(name).and_then(|section| section.data().ok());
        data.ok_or_else(|| format!("no section {name}"))
    };
    let endian = object.endian();
    let (btf, ext) = (section(".BTF")?, section(".BTF.ext")?);
    let strings = part(btf, endian).ok_or("the strings of .BTF are broken")?;
    read_sections(part(ext, endian), strings, endian).ok_or_else(|| "the lines of .BTF.ext are broken".into())
}

/// The second of the two parts behind a header: the strings of one, the lines of the other.
fn part(bytes: &[u8], endian: Endianness) -> Option<&[u8]> {
    let (header, _) = bytes.as_chunks::<4>();
    let field = |index: usize| Some(endian.read_u32(*header.get(index)?) as usize);
    bytes.get(field(1)?..)?.get(field(4)?..)?.get(..field(5)?)
}

fn read_sections<'a>(
    lines: Option<&[u8]>,
    strings: &'a [u8],
    endian: Endianness,
) -> Option<Vec<SectionLines<'a>>> {
    let (words, _) = lines?.as_chunks::<4>();
    let mut words = words.iter().map(|&word| endian.read_u32(word));
    let string = |offset: u32| {
        let text = strings.get(offset as usize..)?.split(|&byte| byte == 0).next()?;
        str::from_utf8(text).ok()
    };
    (words.next()? as usize == RECORD).then_some(())?;
    let mut sections = Vec::new();
    while let Some(name) = words.next() {
        let mut lines = Vec::new();
        for _ in 0..words.next()? {
            let [offset, file, text, position] = [words.next()?, words.next()?, words.next()?, words.next()?];
            // Below the number is the column.
            lines.push(Line { offset, file: string(file)?, text: string(text)?, number: position >> 10 });
        }
        sections.push((string(name)?, lines));
    }
    Some(sections)
}

/// The lines of the probe itself in what the compiler made, for the sections that the linker made of it.
pub(crate) fn of_linked<'a>(
    compiled: &ElfFile64<'a, Endianness>,
    linked: &ElfFile64<'a, Endianness>,
) -> Result<Vec<SectionLines<'a>>, String> {
    let mut sections: Vec<SectionLines<'a>> = Vec::new();
    for (name, lines) in read(compiled)? {
        let Some((section, start)) = place(linked, name) else {
            continue;
        };
        let index = sections.iter().position(|(name, _)| *name == section).unwrap_or_else(|| {
            sections.push((section, Vec::new()));
            sections.len() - 1
        });
        let mut own: Vec<Line<'_>> = lines
            .into_iter()
            .filter_map(|line| {
                let (file, text) = (line.file.strip_prefix(SOURCES)?, line.text.trim());
                Some(Line { offset: start + line.offset, file, text, ..line })
            })
            .collect();
        own.dedup_by_key(|line| (line.file, line.number));
        sections[index].1.extend(own);
    }
    for (_, lines) in &mut sections {
        lines.sort_by_key(|line| line.offset);
    }
    Ok(sections)
}

/// Where the linker put a section: those of programs keep their names, one of a function has the function's.
fn place<'a>(linked: &ElfFile64<'a, Endianness>, name: &str) -> Option<(&'a str, u32)> {
    let Some(function) = name.strip_prefix(".text.") else {
        return Some((linked.section_by_name(name)?.name().ok()?, 0));
    };
    let symbol =
        linked.symbols().find(|symbol| symbol.kind() == SymbolKind::Text && symbol.name() == Ok(function))?;
    let section = linked.section_by_index(symbol.section_index()?).ok()?;
    Some((section.name().ok()?, u32::try_from(symbol.address()).ok()?))
}

/// The sections `.BTF` and `.BTF.ext`.
pub(crate) fn write(sections: &[SectionLines<'_>], endian: Endianness) -> (Vec<u8>, Vec<u8>) {
    let mut strings = vec![0];
    let mut lines = vec![RECORD as u32];
    for (name, records) in sections {
        lines.extend([intern(&mut strings, name), records.len() as u32]);
        for line in records {
            let [file, text] = [line.file, line.text].map(|string| intern(&mut strings, string));
            lines.extend([line.offset, file, text, line.number << 10]);
        }
    }
    // Without any type the kernel refuses it: an unsigned integer of 8 bits (BTF_KIND_INT).
    let kind = [intern(&mut strings, "u8"), 1 << 24, 1, 8];
    let bytes =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|&word| endian.write_u32(word)).collect() };
    let file = |first: &[u8], second: &[u8]| {
        let (before, length) = (first.len() as u32, second.len() as u32);
        let mut file = endian.write_u16(MAGIC).to_vec();
        file.extend([VERSION, 0]);
        file.extend(bytes(&[HEADER as u32, 0, before, before, length]));
        [&file, first, second].concat()
    };
    (file(&bytes(&kind), &strings), file(&[], &bytes(&lines)))
}

/// Where `string` is among the NUL-terminated `strings`; appends it when it is not there yet.
fn intern(strings: &mut Vec<u8>, string: &str) -> u32 {
    let wanted = [string.as_bytes(), b"\0"].concat();
    let found = strings.windows(wanted.len()).position(|window| window == wanted);
    let offset = found.unwrap_or_else(|| {
        strings.extend(wanted);
        strings.len() - string.len() - 1
    });
    offset as u32
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Line, part, read_sections, write};
    use object::Endianness;

    #[test]
    fn what_is_written_can_be_read() {
        for endian in [Endianness::Little, Endianness::Big] {
            let line = |offset, text, number| Line { offset, file: "frame.rs", text, number };
            let written =
                [("xdp", vec![line(0, "a();", 3), line(16, "b();", 4)]), (".text", vec![line(8, "", 9)])];
            let (btf, ext) = write(&written, endian);
            let strings = part(&btf, endian).expect("the strings");
            let read = read_sections(part(&ext, endian), strings, endian).expect("the lines");
            let text = |sections: &[(&str, Vec<Line<'_>>)]| {
                let lines =
                    sections.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (name, line)));
                lines
                    .map(|(name, line)| {
                        format!("{name} {} {}:{} {}", line.offset, line.file, line.number, line.text)
                    })
                    .collect::<Vec<_>>()
            };
            assert_eq!(text(&read), text(&written));
            assert_eq!(btf.len(), HEADER + 16 + strings.len());
        }
    }
}
