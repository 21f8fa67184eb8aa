//! Damaged objects are refused or linked, but never a panic.

use std::vec::Vec;

use super::objects::{Builder, R_BPF_64_32, R_BPF_64_64, call, exit, load_64, mov};
use crate::Object;

const MUTATIONS: u32 = 20_000;

/// An object with one of everything that is read.
fn specimen() -> Vec<u8> {
    let mut builder = Builder::new();
    let [first, second] = load_64();
    let text = builder.code(".text", &[mov(1), call(0), exit(), exit()]);
    builder.function("outer", text, 0, 3, true);
    builder.function("inner", text, 2, 2, false);
    let code = [first, second, first, second, call(-1), exit()];
    let section = builder.program("tc", "echo", &code);
    let map = builder.maps(&[("ports", &[2, 4, 4, 1, 0]), ("counters", &[6, 4, 8, 1, 0])])[0];
    let limit = builder.undefined("limit");
    let text_symbol = builder.0.section_symbol(text);
    builder.relocate(section, 0, map, R_BPF_64_64);
    builder.relocate(section, 16, limit, R_BPF_64_64);
    builder.relocate(section, 32, text_symbol, R_BPF_64_32);
    builder.license(b"MIT\0");
    let line = |instruction| (instruction, "echo.rs", "echo();", 7);
    builder.lines(&[("tc", &[line(0), line(4)]), (".text", &[line(0), line(2)])], 16);
    builder.bytes()
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Parses and links everything there is; says whether the program `echo` came out.
fn survives(bytes: &[u8]) -> bool {
    let Ok(object) = Object::parse(bytes) else {
        return false;
    };
    let names: Vec<_> = object.program_names().chain(["echo", "outer"]).collect();
    let link = |name| object.link_to_fds(name, &|_| Some(3), &[("limit", u64::MAX)]).is_ok();
    names.into_iter().filter(|name| link(name)).any(|name| name == "echo")
}

#[test]
fn mutations() {
    let original = specimen();
    assert!(survives(&original));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut linked = 0_u32;
    for _ in 0..MUTATIONS {
        let mut bytes = original.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                1 => bytes[at] = random.below(256) as u8,
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        linked += u32::from(survives(&bytes));
    }
    // Some damage is to bytes that do not matter, so both outcomes have been seen.
    assert!((1..MUTATIONS).contains(&linked), "{linked} of {MUTATIONS} linked");
}
