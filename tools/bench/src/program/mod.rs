//! The program in the kernel without a network: how long it takes for a packet (`BPF_PROG_TEST_RUN`), and how many
//! instructions are executed, beside a bare swap of addresses and ports.

mod counted;
mod echo;
mod helpers;
mod interpreter;
mod packets;
mod timed;

use crate::bytecode::Hook;
use crate::results::Measure;

pub(crate) use echo::load;
pub(crate) use packets::{DATAGRAM, Frame, Kind, SEGMENT, server};

const GROUP: &str = "program";

/// Measures the time of the programs for each kind of packet, and counts their instructions.
///
/// # Errors
///
/// What the kernel refused.
pub fn measure(rounds: u32, short: bool) -> Result<Vec<Measure>, String> {
    let mut measures = timed::measure(rounds, short)?;
    measures.extend(instructions()?);
    Ok(measures)
}

/// Counts the instructions that are executed for each kind of packet, in an interpreter; the kernel has to come to the
/// same verdict and the same packet.
///
/// # Errors
///
/// What the kernel refused, or where the two differ.
pub fn instructions() -> Result<Vec<Measure>, String> {
    counted::measure()
}

/// What the names of measures begin with.
fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Loopback => "lo",
        Hook::Wire => "wire",
        Hook::Xdp => "xdp",
    }
}
