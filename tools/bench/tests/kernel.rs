//! The parts of the benchmark that work with the kernel alone, and what they refuse.

#[path = "../../../loader/tests/harness/mod.rs"]
mod harness;
#[path = "../../../loader/tests/objects/mod.rs"]
mod objects;

use std::collections::HashSet;

use harness::Outcome;
use loader::ProgramKind;

use objects::{exit, mov};

fn main() {
    harness::run(harness::tests! {
        instructions_are_counted_as_the_kernel_executes_them no_program_is_void_for_a_packet
        packets_come_back_from_every_subject what_is_lost_or_wrong_is_void
    })
}

/// The interpreter compares each verdict and each packet with those of the kernel.
fn instructions_are_counted_as_the_kernel_executes_them() -> Outcome {
    let measures = bench::program::instructions()?;
    let names: HashSet<_> = measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!(names.len(), measures.len());
    for name in ["lo: SYN", "wire: TCP segment, VLAN tag", "wire: not ours", "xdp: UDP datagram, IPv6"] {
        assert!(names.contains(&*format!("instructions, {name}")), "{name}");
    }
    // Five for the bounds check, four for each of two exchanges, two for the verdict.
    let segment = measures.iter().find(|measure| measure.name == "instructions, lo: TCP segment").unwrap();
    let swap = segment.rows.iter().find(|row| row.subject == "bare swap").unwrap();
    assert_eq!(format!("{:?}", swap.outcome), "Values([15.0])");
    Ok(())
}

fn no_program_is_void_for_a_packet() -> Outcome {
    let measures = bench::program::measure(1, true)?;
    for measure in &measures {
        for row in &measure.rows {
            assert!(format!("{:?}", row.outcome).starts_with("Values(["), "{}: {row:?}", measure.name);
        }
    }
    Ok(())
}

fn packets_come_back_from_every_subject() -> Outcome {
    let measures = bench::wire::measure(1, true)?;
    assert_eq!(measures.len(), 2);
    for measure in &measures {
        assert_eq!(measure.rows.len(), 5);
        for row in &measure.rows {
            assert!(format!("{:?}", row.outcome).starts_with("Values(["), "{}: {row:?}", measure.name);
        }
    }
    Ok(())
}

fn what_is_lost_or_wrong_is_void() -> Outcome {
    // XDP_DROP, and XDP_TX of the packet as it came.
    for (verdict, outcome) in [(1, "of 1000 packets 0 came back"), (3, "1000 wrong packets came back")] {
        let server = harness::load_as(ProgramKind::XdpFrags, &[mov(verdict), exit()])?;
        assert_eq!(format!("{:?}", bench::wire::try_server(&server)?), format!("Void({outcome:?})"));
    }
    Ok(())
}
