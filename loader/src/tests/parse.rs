//! What [`Object::parse`] reads and refuses.

use std::string::{String, ToString};
use std::vec::Vec;

use object::write::SymbolSection;
use object::{SectionKind, SymbolKind};

use super::objects::{Builder, R_BPF_64_64, exit, load_64, mov};
use crate::{MapDefinition, Object};

fn refusal(bytes: &[u8]) -> String {
    Object::parse(bytes).expect_err("to be refused").to_string()
}

fn minimal() -> Builder {
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[mov(-1), exit()]);
    builder
}

/// Overwrites a field of the header of the section `name` at `at` bytes from the header's start.
fn patch_section(bytes: &mut [u8], name: &str, at: usize, value: &[u8]) {
    let table = u64::from_ne_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
    let names_index = u16::from_ne_bytes(bytes[62..64].try_into().expect("2 bytes")) as usize;
    let count = u16::from_ne_bytes(bytes[60..62].try_into().expect("2 bytes")) as usize;
    let read = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
    let names = read(table + names_index * 64 + 24);
    let found = (0..count).map(|index| table + index * 64).find(|&header| {
        let offset = u32::from_ne_bytes(bytes[header..header + 4].try_into().expect("4 bytes")) as usize;
        bytes[names + offset..].starts_with(&[name.as_bytes(), b"\0"].concat())
    });
    let start = found.expect("a section of that name") + at;
    bytes[start..start + value.len()].copy_from_slice(value);
}

const SH_TYPE: usize = 4;
const SH_LINK: usize = 40;

#[test]
fn programs_maps_and_license() {
    let mut builder = minimal();
    let text = builder.code(".text", &[mov(0), exit()]);
    builder.function("helper", text, 0, 2, true);
    builder.maps(&[("ports", &[2, 4, 8, 65536, 1]), ("counters", &[6, 4, 24, 1, 0])]);
    builder.license(b"Dual MIT/GPL\0");
    builder.section(".BTF", SectionKind::Other, b"never read");
    let bytes = builder.bytes();
    let object = Object::parse(&bytes).expect("an object");
    assert_eq!(object.program_names().collect::<Vec<_>>(), ["echo"]);
    assert_eq!(object.license(), "Dual MIT/GPL");
    let map = |name: &str, [kind, key_size, value_size, max_entries, flags]: [u32; 5]| MapDefinition {
        name: name.into(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags,
    };
    assert_eq!(object.maps(), [map("ports", [2, 4, 8, 65536, 1]), map("counters", [6, 4, 24, 1, 0])]);
}

#[test]
fn longer_map_definitions_with_zeros() {
    let mut builder = minimal();
    builder.maps(&[("a", &[1, 4, 4, 1, 0, 0, 0]), ("b", &[1, 4, 4, 2, 0, 0, 0])]);
    let bytes = builder.bytes();
    let object = Object::parse(&bytes).expect("an object");
    assert_eq!(object.maps().iter().map(|map| map.max_entries).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(object.license(), "");
}

#[test]
fn embedded_bytes_may_be_unaligned() {
    let mut bytes = std::vec![0];
    bytes.extend(minimal().bytes());
    assert!(Object::parse(&bytes[1..]).is_ok());
}

#[test]
fn wrong_headers() {
    let patched = |at: usize, value: u8| {
        let mut bytes = minimal().bytes();
        bytes[at] = value;
        refusal(&bytes)
    };
    assert_eq!(refusal(b"BC\xc0\xde"), "not an ELF object (bitcode needs llc first)");
    assert_eq!(refusal(b""), "not an ELF object (bitcode needs llc first)");
    assert_eq!(patched(4, 1), "ELF class: wanted 64-bit");
    let low = if cfg!(target_endian = "little") { 0 } else { 1 };
    if cfg!(target_endian = "little") {
        assert_eq!(patched(5, 2), "ELF byte order: wanted the host's, little-endian");
    } else {
        assert_eq!(patched(5, 1), "ELF byte order: wanted the host's, big-endian");
    }
    assert_eq!(patched(16 + low, 2), "ELF type 2: wanted 1 (relocatable)");
    assert_eq!(patched(18 + low, 62), "ELF machine 62: wanted 247 (BPF)");
    let bytes = minimal().bytes();
    assert_eq!(refusal(&bytes[..40]), "broken ELF object: Invalid ELF header size or alignment");
}

#[test]
fn names_that_are_not_utf8() {
    let mut builder = minimal();
    builder.0.add_section(Vec::new(), b"\xff".to_vec(), SectionKind::Data);
    let text = refusal(&builder.bytes());
    assert!(text.starts_with("section ") && text.ends_with(": its name is not UTF-8"), "{text}");
    let mut bytes = minimal().bytes();
    let at = bytes.windows(5).position(|window| window == b"echo\0").expect("the name");
    bytes[at] = 0xff;
    assert_eq!(refusal(&bytes), "symbol 1: its name is not UTF-8");
}

#[test]
fn broken_code() {
    let mut bytes = minimal().bytes();
    patch_section(&mut bytes, "tc", SH_TYPE, &8_u32.to_ne_bytes());
    assert_eq!(refusal(&bytes), "section \"tc\": executable, but its code is not in the file");

    let mut builder = minimal();
    builder.section("odd", SectionKind::Text, &[0; 12]);
    assert_eq!(
        refusal(&builder.bytes()),
        "section \"odd\": 12 bytes of code are not a whole number of instructions"
    );

    let mut builder = minimal();
    builder.code("huge", &std::vec![exit(); 1_000_000]);
    assert_eq!(refusal(&builder.bytes()), "section \"huge\": more than 1000000 instructions in one object");

    let mut builder = minimal();
    builder.code("xdp", &[exit()]);
    assert_eq!(refusal(&builder.bytes()), "section \"xdp\": code without a function symbol (stripped?)");
}

#[test]
fn functions_outside_their_section() {
    for (value, size) in [(8, 16), (16, 8), (4, 8), (0, 4), (u64::MAX - 7, 8), (16, 0)] {
        let mut builder = minimal();
        let section = builder.code("xdp", &[mov(0), exit()]);
        let place = SymbolSection::Section(section);
        builder.symbol("drop", place, SymbolKind::Text, value, size, true);
        assert_eq!(
            refusal(&builder.bytes()),
            "function \"drop\": not a whole number of instructions inside section \"xdp\"",
            "value {value}, size {size}"
        );
    }
}

#[test]
fn broken_relocations() {
    let relocated = |offset: u64| {
        let mut builder = Builder::new();
        let [first, second] = load_64();
        let section = builder.program("tc", "echo", &[first, second, exit()]);
        let symbol = builder.undefined("limit");
        builder.relocate(section, offset, symbol, R_BPF_64_64);
        (builder, section, symbol)
    };
    for offset in [4, 24, u64::MAX] {
        let text = std::format!("section \".reltc\": relocation at {offset:#x} is not at an instruction");
        assert_eq!(refusal(&relocated(offset).0.bytes()), text);
    }
    let (mut builder, section, symbol) = relocated(0);
    builder.relocate(section, 0, symbol, R_BPF_64_64);
    assert_eq!(refusal(&builder.bytes()), "section \".reltc\": two relocations at 0x0");

    let mut bytes = relocated(0).0.bytes();
    patch_section(&mut bytes, ".reltc", SH_TYPE, &4_u32.to_ne_bytes());
    assert_eq!(
        refusal(&bytes),
        "section \".reltc\": relocations of code with explicit addends are not supported"
    );
    let mut bytes = relocated(0).0.bytes();
    patch_section(&mut bytes, ".reltc", SH_LINK, &1_u32.to_ne_bytes());
    assert_eq!(refusal(&bytes), "broken ELF object: relocations of another symbol table");

    // r_info of the only relocation: symbol above, type below.
    let bytes = relocated(0).0.bytes();
    let entry = |symbol: u64| [0_u64.to_ne_bytes(), (symbol << 32 | 1).to_ne_bytes()].concat();
    let at = (1..9).find_map(|symbol| {
        let wanted = entry(symbol);
        bytes.windows(16).position(|window| window == wanted)
    });
    let at = at.expect("the relocation");
    for symbol in [0, 999] {
        let mut bytes = bytes.clone();
        bytes[at..at + 16].copy_from_slice(&entry(symbol));
        assert_eq!(refusal(&bytes), "section \".reltc\": relocation at 0x0 has no symbol");
    }
}

#[test]
fn broken_maps() {
    let maps = |maps: &[(&str, &[u32])]| {
        let mut builder = minimal();
        builder.maps(maps);
        builder
    };
    assert_eq!(
        refusal(&maps(&[("a", &[1, 4, 4, 1])]).bytes()),
        "section \"maps\": 16 bytes are not 1 equal definitions of at least 20 bytes"
    );
    let definition: &[u32] = &[1, 4, 4, 1, 0];
    assert_eq!(
        refusal(&maps(&[("a", definition), ("b", definition), ("c", &[1, 4, 4, 1, 0, 0])]).bytes()),
        "section \"maps\": 64 bytes are not 3 equal definitions of at least 20 bytes"
    );
    assert_eq!(
        refusal(&maps(&[("a", definition), ("b", &[0, 4, 4, 1, 0, 0, 0])]).bytes()),
        "map \"b\": offset 0x14 is not where a definition of 24 bytes starts"
    );
}

#[test]
fn maps_that_mean_more_than_this_crate_knows() {
    let mut builder = minimal();
    builder.maps(&[("pinned", &[1, 4, 4, 1, 0, 0, 2])]);
    assert_eq!(
        refusal(&builder.bytes()),
        "map \"pinned\": only the first 20 bytes of a definition may be non-zero"
    );

    let mut builder = minimal();
    let symbols = builder.maps(&[("outer", &[13, 4, 4, 1, 0])]);
    let section = builder.0.symbol(symbols[0]).section.id().expect("the section");
    builder.relocate(section, 0, symbols[0], R_BPF_64_64);
    assert_eq!(refusal(&builder.bytes()), "section \".relmaps\": initial values of maps are not supported");
}

#[test]
fn licenses() {
    for license in [&b"GPL"[..], b"GPL\0GPL\0", b"\xff\0", b""] {
        let mut builder = minimal();
        builder.license(license);
        assert_eq!(refusal(&builder.bytes()), "section \"license\": not one NUL-terminated string");
    }
}
