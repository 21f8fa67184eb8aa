use super::*;

/// The results of `code`, with a packet of four bytes, and `r0`.
fn execute(code: &[Instruction]) -> Result<Run, String> {
    run(code, vec![0; 8], [0, 4], vec![1, 2, 3, 4], &Maps::new())
}

const EXIT: Instruction = Instruction::new(0x95, 0, 0, 0, 0);

fn set(register: u8, value: i32) -> Instruction {
    Instruction::new(0xb7, register, 0, 0, value)
}

#[test]
fn arithmetic_has_64_or_32_bits() {
    for (opcode, a, b, expected) in [
        (0x0f, -1, 2, 1),   // r0 += r1
        (0x1f, 1, 2, -1),   // r0 -= r1
        (0x3f, 7, 0, 0),    // r0 /= 0
        (0x9f, 7, 0, 7),    // r0 %= 0
        (0x7f, -1, 60, 15), // r0 >>= r1
        (0x7c, -1, 28, 15), // w0 >>= w1
        (0xcf, -16, 2, -4), // r0 s>>= r1
        (0x87, 5, 0, -5),   // r0 = -r0
    ] {
        let code = [set(0, a), set(1, b), Instruction::new(opcode, 0, 1, 0, 0), EXIT];
        assert_eq!(execute(&code), Ok(Run { verdict: expected, packet: vec![1, 2, 3, 4], instructions: 4 }));
    }
    // What 32 bits give has no sign: r0 = 0; w0 -= 1; r0 >>= 32
    let code = [set(0, 0), Instruction::new(0x14, 0, 0, 0, 1), Instruction::new(0x77, 0, 0, 0, 32), EXIT];
    assert_eq!(execute(&code).unwrap().verdict, 0);
}

#[test]
fn jumps_compare_with_or_without_a_sign() {
    for (opcode, is_taken) in [
        (0x25, true),  // if r0 > 1
        (0x65, false), // if r0 s> 1
        (0x26, true),  // if w0 > 1
        (0x66, false), // if w0 s> 1
        (0xc5, true),  // if r0 s< 1
        (0x45, true),  // if r0 & 1
        (0x15, false), // if r0 == 1
    ] {
        let code = [set(0, -1), Instruction::new(opcode, 0, 0, 1, 1), set(0, 5), EXIT];
        assert_eq!(execute(&code).unwrap().verdict, if is_taken { -1 } else { 5 }, "{opcode:#x}");
    }
}

#[test]
fn functions_have_stacks_and_registers_of_their_own() {
    let code = [
        set(6, 3),
        Instruction::new(0x7b, FRAME as u8, 6, -8, 0), // *(u64 *)(r10 - 8) = r6
        Instruction::new(Instruction::CALL, 0, Instruction::PSEUDO_CALL, 0, 3),
        Instruction::new(0x79, 0, FRAME as u8, -8, 0), // r0 = *(u64 *)(r10 - 8)
        Instruction::new(0x0f, 0, 6, 0, 0),            // r0 += r6
        EXIT,
        set(6, 9),
        Instruction::new(0x7b, FRAME as u8, 6, -8, 0),
        EXIT,
    ];
    assert_eq!(execute(&code).map(|run| (run.verdict, run.instructions)), Ok((6, 9)));
}

#[test]
fn what_is_not_understood_is_an_error() {
    let load = |offset| [Instruction::new(0x61, 2, 1, 0, 0), Instruction::new(0x71, 0, 2, offset, 0), EXIT];
    assert_eq!(execute(&load(3)).unwrap().verdict, 4);
    for (code, error) in [
        (&load(4)[..], "instruction 1: 1 bytes at 0x200004, which is in no region"),
        (&[Instruction::new(0x05, 0, 0, -1, 0)], "more than 1000000 instructions"),
        (&[Instruction::new(0xbf, 0, 1, 8, 0)], "instruction 0: unknown operation 0xbf with 8"),
        (&[Instruction::new(Instruction::CALL, 0, 0, 0, 5)], "instruction 0: helper 5 is not known here"),
        (&[set(0, 1)], "instruction 1: behind the program"),
    ] {
        assert_eq!(execute(code), Err(error.into()));
    }
}
