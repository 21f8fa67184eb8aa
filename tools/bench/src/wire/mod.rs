//! Packets per second over a veth, beside a bare swap of addresses and ports.

mod cable;
mod load;
mod namespace;

use loader::Program;
use loader::rtnetlink::Interface;

use crate::bytecode::Hook;
use crate::program::{DATAGRAM, Frame, Kind, SEGMENT};
use crate::results::{Measure, Outcome, Row, Unit};

use cable::{Attached, Cable, SUBJECTS};
use load::Load;

/// What is sent, with 64 bytes of payload.
const MEASURES: [(&str, Kind); 2] = [("UDP, 64 B packets", DATAGRAM), ("TCP segments, 64 B", SEGMENT)];

/// A subject at the end of a cable of its own.
struct Line {
    subject: &'static str,
    cable: Cable,
    load: Load,
    outcome: Outcome,
}

impl Line {
    /// One at whose end `attach` attaches the programs that answer packets of this kind.
    fn new(
        subject: &'static str,
        kind: &Kind,
        attach: impl FnOnce(&Interface, &Frame) -> Result<Vec<Attached>, String> + Send,
    ) -> Result<Self, String> {
        let mut cable = Cable::new()?;
        let frame = kind.frame(Hook::Wire, cable.server_mac())?;
        // The kernel may not have its hook.
        let outcome = match cable.serve(|interface| attach(interface, &frame)) {
            Ok(()) => Outcome::Values(Vec::new()),
            Err(why) => Outcome::Absent(why),
        };
        let load = Load::new(&cable, frame)?;
        Ok(Self { subject, cable, load, outcome })
    }

    /// Takes the number of one round, unless there is none any more.
    fn round(&mut self, packets: u32) -> Result<(), String> {
        if let Outcome::Values(values) = &mut self.outcome {
            match self.load.run(&self.cable, packets)? {
                Ok(rate) => values.push(rate),
                Err(how) => self.outcome = Outcome::Void(how),
            }
        }
        Ok(())
    }
}

/// Measures how many packets per second come back.
///
/// # Errors
///
/// What the kernel refused, and that ip(8) is missing.
pub fn measure(rounds: u32, short: bool) -> Result<Vec<Measure>, String> {
    let packets = if short { 100_000 } else { 500_000 };
    MEASURES.iter().map(|(name, kind)| measure_kind(name, kind, rounds, packets)).collect()
}

fn measure_kind(name: &str, kind: &Kind, rounds: u32, packets: u32) -> Result<Measure, String> {
    let line =
        |subject| Line::new(subject, kind, |interface, frame| cable::attach(subject, interface, frame));
    let mut lines = SUBJECTS.into_iter().map(line).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        lines.iter_mut().try_for_each(|line| line.round(packets))?;
    }
    let rows = lines.into_iter().map(|line| Row { subject: line.subject, outcome: line.outcome });
    Ok(Measure { group: "wire", name: name.into(), unit: Unit::PerSecond, rows: rows.collect() })
}

/// What comes of one round with a few datagrams and `server`, a program on XDP, in the place of a subject.
///
/// # Errors
///
/// Those of [`measure`].
pub fn try_server(server: &Program) -> Result<Outcome, String> {
    let mut line = Line::new("", &DATAGRAM, |interface, _| Ok(vec![cable::xdp(server, interface)?]))?;
    line.round(1000)?;
    Ok(line.outcome)
}
