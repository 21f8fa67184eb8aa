//! What linking does to instructions, and what it refuses.

use std::string::{String, ToString};
use std::vec::Vec;

use object::write::{SectionId, SymbolId, SymbolSection};
use object::{SectionKind, SymbolKind};

use super::objects::{Builder, R_BPF_64_32, R_BPF_64_64, call, exit, instruction, load_64, mov};
use crate::{Instruction, LinkError, LinkedProgram, Object};

const FD: i32 = 7;

fn link(builder: &Builder, constants: &[(&str, u64)]) -> Result<LinkedProgram<'static>, LinkError> {
    let object = Object::parse(builder.bytes().leak()).expect("an object");
    object.link_to_fds("echo", &|name| (name == "ports").then_some(FD), constants)
}

fn linked(builder: &Builder, constants: &[(&str, u64)]) -> Vec<[u8; 8]> {
    let program = link(builder, constants).expect("a program");
    program.instructions().iter().map(|instruction| instruction.to_bytes()).collect()
}

fn refusal(builder: &Builder) -> String {
    link(builder, &[]).expect_err("to be refused").to_string()
}

/// A program that starts with a 64-bit immediate load.
fn loading() -> (Builder, SectionId) {
    let mut builder = Builder::new();
    let [first, second] = load_64();
    let section = builder.program("tc", "echo", &[first, second, mov(0), exit()]);
    (builder, section)
}

/// [`loading`] with a relocation at its start against what `make` makes.
fn loading_symbol(make: impl FnOnce(&mut Builder, SectionId) -> SymbolId) -> Builder {
    let (mut builder, section) = loading();
    let symbol = make(&mut builder, section);
    builder.relocate(section, 0, symbol, R_BPF_64_64);
    builder
}

#[test]
fn name_and_license() {
    let (mut builder, _) = loading();
    builder.license(b"MIT\0");
    let program = link(&builder, &[]).expect("a program");
    assert_eq!((program.name(), program.license()), ("echo", c"MIT"));
    assert_eq!(program.instructions().len(), 4);
}

#[test]
fn a_map_becomes_its_fd() {
    let builder = loading_symbol(|builder, _| builder.maps(&[("ports", &[2, 4, 4, 1, 0])])[0]);
    let expected = [instruction(0x18, 1, 1, 0, FD), [0; 8], mov(0), exit()];
    assert_eq!(linked(&builder, &[]), expected);
}

#[test]
fn an_undefined_symbol_becomes_its_value() {
    let builder = loading_symbol(|builder, _| builder.undefined("limit"));
    let expected = |low: i32, high: i32| {
        [instruction(0x18, 1, 0, 0, low), instruction(0, 0, 0, 0, high), mov(0), exit()]
    };
    assert_eq!(linked(&builder, &[("other", 1), ("limit", 65536)]), expected(65536, 0));
    let value = 0x8000_0001_ffff_fffe;
    assert_eq!(linked(&builder, &[("limit", value)]), expected(-2, i32::MIN + 1));
}

#[test]
fn calls_within_a_section_need_no_relocation() {
    let mut builder = Builder::new();
    let section = builder.code("tc", &[mov(1), exit(), call(1), exit(), mov(2), exit()]);
    builder.function("first", section, 0, 2, false);
    builder.function("echo", section, 2, 2, true);
    builder.function("second", section, 4, 2, false);
    assert_eq!(linked(&builder, &[]), [call(1), exit(), mov(2), exit()]);
}

/// Two callees by section symbol, one by its own; the latter calls the first of them again.
#[test]
fn calls_by_relocation_append_each_callee_once() {
    let mut builder = Builder::new();
    let text =
        builder.code(".text", &[mov(1), exit(), mov(9), exit(), mov(2), call(-1), exit(), mov(3), exit()]);
    builder.function("shared", text, 0, 2, false);
    builder.function("unused", text, 2, 2, false);
    let nested = builder.function("nested", text, 4, 3, true);
    builder.function("other", text, 7, 2, false);
    let section = builder.program("tc", "echo", &[call(-1), call(-1), call(6), exit()]);
    let text_symbol = builder.0.section_symbol(text);
    builder.relocate(section, 0, text_symbol, R_BPF_64_32);
    builder.relocate(section, 8, nested, R_BPF_64_32);
    builder.relocate(section, 16, text_symbol, R_BPF_64_32);
    builder.relocate(text, 5 * 8, text_symbol, R_BPF_64_32);
    let expected = [
        call(3), // shared, at 4
        call(4), // nested, at 6
        call(6), // other, at 9
        exit(),
        mov(1),
        exit(),
        mov(2),
        call(-4), // shared again
        exit(),
        mov(3),
        exit(),
    ];
    assert_eq!(linked(&builder, &[]), expected);
}

#[test]
fn recursion_ends() {
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[call(-1), exit()]);
    assert_eq!(linked(&builder, &[]), [call(-1), exit()]);
}

#[test]
fn untyped_global_functions_end_where_the_next_starts() {
    let mut builder = Builder::new();
    let section = builder.code("tc", &[mov(1), exit(), mov(2), exit()]);
    let place = SymbolSection::Section(section);
    builder.symbol("echo", place, SymbolKind::Label, 0, 0, true);
    builder.symbol("after", place, SymbolKind::Label, 16, 0, true);
    assert_eq!(linked(&builder, &[]), [mov(1), exit()]);
}

#[test]
fn no_such_program() {
    let mut builder = Builder::new();
    let section = builder.code("tc", &[exit()]);
    builder.function("echo", section, 0, 1, false);
    assert_eq!(refusal(&builder), "program \"echo\": the object has no such global function");
}

#[test]
fn too_large_with_everything_it_calls() {
    let mut builder = Builder::new();
    let mut code = std::vec![exit(); 600_000];
    code[0] = call(0);
    let section = builder.code("tc", &code);
    // Functions may overlap, which would make the program larger than the object.
    builder.function("echo", section, 0, 600_000, true);
    builder.function("inner", section, 1, 599_999, false);
    assert_eq!(refusal(&builder), "program \"echo\": more than 1000000 instructions with all it calls");
}

#[test]
fn half_of_a_load() {
    let text = "function \"echo\" at 0x0: 64-bit immediate load without its second half";
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[load_64()[0]]);
    assert_eq!(refusal(&builder), text);
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[load_64()[0], exit()]);
    assert_eq!(refusal(&builder), text);
}

#[test]
fn an_fd_of_somebody_else() {
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[mov(0), instruction(0x18, 1, 1, 0, 3), [0; 8], exit()]);
    assert_eq!(
        refusal(&builder),
        "function \"echo\" at 0x8: 64-bit immediate load of a kernel object without a relocation"
    );
}

#[test]
fn relocations_that_do_not_fit() {
    let with = |offset: u64, kind: u32| {
        let (mut builder, section) = loading();
        let symbol = builder.undefined("limit");
        builder.relocate(section, offset, symbol, kind);
        refusal(&builder)
    };
    assert_eq!(
        with(0, 12),
        "function \"echo\" at 0x0: relocation type 12: wanted 1 (R_BPF_64_64) or 10 (R_BPF_64_32)"
    );
    assert_eq!(
        with(0, R_BPF_64_32),
        "function \"echo\" at 0x0: relocation type 10 does not fit an instruction 0x18"
    );
    assert_eq!(
        with(8, R_BPF_64_64),
        "function \"echo\" at 0x0: relocation type 1 does not fit an instruction 0x00"
    );
    assert_eq!(
        with(16, R_BPF_64_64),
        "function \"echo\" at 0x10: relocation type 1 does not fit an instruction 0xb7"
    );
    let mut builder = Builder::new();
    let section = builder.program("tc", "echo", &[call(-1), exit()]);
    let symbol = builder.undefined("helper");
    builder.relocate(section, 0, symbol, R_BPF_64_64);
    assert_eq!(
        refusal(&builder),
        "function \"echo\" at 0x0: relocation type 1 does not fit an instruction 0x85"
    );
}

#[test]
fn symbols_that_can_not_be_loaded() {
    let refused = |make: fn(&mut Builder, SectionId) -> SymbolId| refusal(&loading_symbol(make));
    assert_eq!(
        refused(|builder, _| builder.undefined("limit")),
        "function \"echo\" at 0x0: symbol \"limit\" is undefined"
    );
    assert_eq!(
        refused(|builder, _| builder.symbol("shared", SymbolSection::Common, SymbolKind::Data, 8, 8, true)),
        "function \"echo\" at 0x0: symbol \"shared\" is common: compile with -fno-common"
    );
    assert_eq!(
        refused(|builder, section| builder.function("again", section, 0, 4, true)),
        "function \"echo\" at 0x0: pointer to function \"again\": not supported"
    );
    let text = "function \"echo\" at 0x0: pointer into section";
    assert_eq!(
        refused(|builder, _| {
            let section = builder.section(".rodata", SectionKind::ReadOnlyData, &[0; 8]);
            builder.0.section_symbol(section)
        }),
        std::format!("{text} \".rodata\": global data is not supported")
    );
    assert_eq!(
        refused(|builder, _| {
            let map = builder.maps(&[("ports", &[2, 4, 4, 1, 0])])[0];
            let section = builder.0.symbol(map).section.id().expect("the section");
            builder.0.section_symbol(section)
        }),
        std::format!("{text} \"maps\": global data is not supported")
    );
    assert_eq!(
        refused(|builder, _| builder.maps(&[("unheard_of", &[2, 4, 4, 1, 0])])[0]),
        "function \"echo\" at 0x0: map \"unheard_of\" was not given"
    );
}

#[test]
fn addends() {
    for code in [[instruction(0x18, 1, 0, 0, 8), [0; 8]], [load_64()[0], instruction(0, 0, 0, 0, 1)]] {
        let mut builder = Builder::new();
        let section = builder.program("tc", "echo", &[code[0], code[1], exit()]);
        let map = builder.maps(&[("ports", &[2, 4, 4, 1, 0])])[0];
        builder.relocate(section, 0, map, R_BPF_64_64);
        assert_eq!(
            refusal(&builder),
            "function \"echo\" at 0x0: symbol \"ports\" with an offset: only the symbol itself is supported"
        );
    }
}

#[test]
fn calls_of_what_is_no_function() {
    let text = "function \"echo\" at 0x0: call of something that is not the start of a function";
    for distance in [0, 1, -2, i32::MAX, i32::MIN] {
        let mut builder = Builder::new();
        builder.program("tc", "echo", &[call(distance), exit()]);
        assert_eq!(refusal(&builder), text, "{distance}");
    }
    let calling = |make: fn(&mut Builder) -> SymbolId| {
        let mut builder = Builder::new();
        let section = builder.program("tc", "echo", &[call(-1), exit()]);
        let symbol = make(&mut builder);
        builder.relocate(section, 0, symbol, R_BPF_64_32);
        refusal(&builder)
    };
    assert_eq!(calling(|builder| builder.maps(&[("ports", &[2, 4, 4, 1, 0])])[0]), text);
    assert_eq!(
        calling(|builder| builder.undefined("memcpy")),
        "function \"echo\" at 0x0: symbol \"memcpy\" is undefined"
    );
    assert_eq!(
        calling(|builder| builder.symbol("c", SymbolSection::Common, SymbolKind::Data, 8, 8, true)),
        "function \"echo\" at 0x0: symbol \"c\" is common: compile with -fno-common"
    );
}

#[test]
fn other_instructions_stay_as_they_are() {
    let helper_call = instruction(0x85, 0, 0, 0, 1);
    let plain_load = [instruction(0x18, 2, 0, 0, 5), instruction(0, 0, 0, 0, 6)];
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[helper_call, plain_load[0], plain_load[1], exit()]);
    let code = linked(&builder, &[]);
    assert_eq!(code, [helper_call, plain_load[0], plain_load[1], exit()]);
    assert_eq!(Instruction::from_bytes(code[0]).source(), 0);
}
