//! Which source lines an object and a linked program have.

use std::vec;
use std::vec::Vec;

use object::read::elf::ElfFile64;
use object::{NativeEndian, Object as _, ObjectSection, SectionKind};

use super::objects::{Builder, R_BPF_64_32, call, exit, mov};
use crate::Object;
use crate::lines::{LineSections, ObjectLines};

/// A program that calls the second function of `.text`, with lines in records of `size` bytes.
fn calling(size: usize) -> Builder {
    let mut builder = Builder::new();
    let text = builder.code(".text", &[mov(1), exit(), mov(2), mov(3), exit(), exit()]);
    builder.function("unused", text, 0, 2, false);
    let called = builder.function("called", text, 2, 3, true);
    builder.function("unused_too", text, 5, 1, false);
    let section = builder.program("tc", "echo", &[call(-1), mov(0), exit()]);
    builder.relocate(section, 0, called, R_BPF_64_32);
    let line = |instruction, number| (instruction, "echo.rs", "text", number);
    let text = [line(0, 10), line(2, 20), line(3, 21), line(5, 30)];
    builder.lines(&[(".text", &text), ("tc", &[line(0, 1), line(2, 2)]), ("gone", &[line(0, 5)])], size);
    builder
}

/// The instructions of `echo` at which lines begin, with the numbers of the lines; none without lines.
fn lines(builder: &Builder) -> Option<Vec<(u32, u32)>> {
    let object = Object::parse(builder.bytes().leak()).expect("an object");
    let program = object.link_to_fds("echo", &|_| None, &[]).expect("a program");
    let records = program.lines()?.records;
    Some(records.iter().map(|record| (record.instruction, record.position >> 10)).collect())
}

/// Those of the program, and behind them those of the function that it calls.
#[test]
fn a_program_has_those_of_its_functions() {
    for size in [16, 20, 64] {
        assert_eq!(lines(&calling(size)), Some(vec![(0, 1), (2, 2), (3, 20), (4, 21)]), "{size}");
    }
}

/// Nothing that is wrong with lines keeps a program from being linked.
#[test]
fn what_is_not_understood_is_as_good_as_none() {
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[exit()]);
    assert_eq!(lines(&builder), None);
    builder.section(".BTF", SectionKind::Other, b"alone");
    assert_eq!(lines(&builder), None);
    builder.section(".BTF.ext", SectionKind::Other, b"not understood");
    assert_eq!(lines(&builder), None);
}

#[test]
fn broken_sections() {
    let bytes = calling(16).bytes();
    let object = ElfFile64::<NativeEndian>::parse(&*bytes).expect("an object");
    let section = |name| object.section_by_name(name).expect("the section").data().expect("its bytes");
    let sections = [section(".BTF"), section(".BTF.ext")];
    let read = |which: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = sections.map(<[u8]>::to_vec);
        change(&mut changed[which]);
        ObjectLines::read(LineSections { btf: &changed[0], ext: &changed[1] }).is_some()
    };
    for (which, section) in sections.iter().enumerate() {
        assert!(read(which, &|_| {}));
        for length in 0..section.len() {
            assert!(!read(which, &|bytes| bytes.truncate(length)), "{which} {length}");
        }
        // The magic number, and what the header says of its length and of the second part.
        for at in [0, 4, 16, 20] {
            assert!(!read(which, &|bytes| bytes[at..at + 4].fill(0xff)), "{which} {at}");
        }
    }
    // The size of a record, the name of a section, how many records it has.
    for at in [24, 28, 32] {
        assert!(!read(1, &|bytes| bytes[at..at + 4].fill(0xff)), "{at}");
    }
    // The second record begins where the first does.
    assert!(!read(1, &|bytes| bytes[52..56].fill(0)));
    for size in [0, 8, 15_u32] {
        assert!(!read(1, &|bytes| bytes[24..28].copy_from_slice(&size.to_ne_bytes())), "{size}");
    }
}
