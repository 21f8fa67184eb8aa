//! How long a program takes for a packet.
//!
//! A test run repeats a program on one packet, which stays as the run before left it. So a small program is run instead
//! that writes the headers of the question anew, and then goes on, by a tail call, as the program that is measured; what
//! it takes to go on as one that returns at once is measured in turn and subtracted. That leaves neither the kernel's own
//! loop nor the restoring in the number, but the whole of the program.
//!
//! Packets of test runs have a complete checksum that no device has looked at (CHECKSUM_NONE); those on loopback mostly
//! have none yet (CHECKSUM_PARTIAL), for which less is to be done.

use std::os::fd::{AsFd, AsRawFd};

use loader::{Map, MapDefinition, Program, TestInput, TestRun};
use rustix::time::{ClockId, clock_gettime};

use super::echo::SERVER_MAC;
use super::packets::{Frame, Kind, NOT_OURS, answered};
use super::{GROUP, echo, name};
use crate::bytecode::{Code, Hook, bare_swap, returning};
use crate::results::{Measure, Outcome, Row, Unit};
use crate::subject::{BARE_SWAP, BPFECHO};

/// How often a program runs for one sample: for some milliseconds, so that of several samples at least one is not
/// interrupted for long.
const RUNS: u32 = 100_000;

/// BPF_MAP_TYPE_PROG_ARRAY (linux/bpf.h).
const PROG_ARRAY: u32 = 3;

/// A program behind the one that restores its packet.
struct Restored {
    program: Program,
    /// Has the program that is measured; a program array that nobody has open is emptied.
    _programs: Map,
}

impl Restored {
    /// Puts `program` behind one that writes the headers of `frame`.
    fn new(hook: Hook, frame: &Frame, program: &Program) -> Result<Self, String> {
        let definition = MapDefinition {
            name: "measured".into(),
            kind: PROG_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: 0,
        };
        let programs = Map::create(&definition).map_err(|error| error.to_string())?;
        let fd = program.as_fd().as_raw_fd().to_ne_bytes();
        programs.update(&0_u32.to_ne_bytes(), &fd).map_err(|error| error.to_string())?;
        let mut code = Code::default();
        code.settle();
        code.packet(hook, frame.headers);
        code.write(&frame.bytes[..frame.headers]);
        code.settle();
        code.tail_call(&programs);
        Ok(Self { program: code.load("restore", hook.kind())?, _programs: programs })
    }

    fn run_once(&self, frame: &Frame) -> Result<TestRun, String> {
        self.program.test_run(&frame.bytes).map_err(|error| error.to_string())
    }

    /// The mean of some runs in nanoseconds. The kernel would say it in whole ones, of which a program takes few. So the
    /// call is timed: by the time on a CPU, in which there is neither another thread nor the wait for RCU before and
    /// after runs of XDP (bpf_dispatcher_change_prog() in kernel/bpf/dispatcher.c). What else it takes is little beside so many
    /// runs, and subtracted.
    fn sample(&self, frame: &Frame) -> Result<f64, String> {
        let input = TestInput { repeat: RUNS, ..TestInput::from(&frame.bytes) };
        let start = time_on_cpu();
        self.program.test_run(input).map_err(|error| error.to_string())?;
        Ok((time_on_cpu() - start) / f64::from(RUNS))
    }
}

/// How long this thread has been on a CPU, in nanoseconds.
fn time_on_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// One measure: what is run, and what has come of it.
struct Timed {
    hook: Hook,
    kind: Kind,
    frame: Frame,
    /// Returns at once.
    empty: Restored,
    subjects: Vec<(&'static str, Restored, Outcome)>,
}

impl Timed {
    fn new(hook: Hook, kind: Kind, probe: &Program) -> Result<Self, String> {
        let frame = kind.frame(hook, SERVER_MAC)?;
        let empty = returning(hook.passed()).load("empty", hook.kind())?;
        let empty = Restored::new(hook, &frame, &empty)?;
        if empty.run_once(&frame)?.verdict != hook.passed() {
            return Err("a tail call to an empty program fails".into());
        }
        let mut timed = Self { hook, kind, frame, empty, subjects: Vec::new() };
        timed.add(BPFECHO, probe)?;
        if kind.ours {
            let swap = bare_swap(hook, &timed.frame.layout).load("bare_swap", hook.kind())?;
            timed.add(BARE_SWAP, &swap)?;
        }
        Ok(timed)
    }

    /// Adds a subject; it is void if it does not answer the packet, or answers one that is not its own.
    fn add(&mut self, subject: &'static str, program: &Program) -> Result<(), String> {
        let restored = Restored::new(self.hook, &self.frame, program)?;
        let run = restored.run_once(&self.frame)?;
        let is_right = if self.kind.ours {
            run.verdict == self.hook.reflected() && self.frame.is_answered_by(&run.packet)
        } else {
            run.verdict == self.hook.passed() && run.packet == self.frame.bytes
        };
        let outcome = if is_right {
            Outcome::Values(Vec::new())
        } else {
            Outcome::Void(format!("verdict {}, packet {:02x?}", run.verdict, run.packet))
        };
        self.subjects.push((subject, restored, outcome));
        Ok(())
    }

    /// Takes the value of one round: the smallest of some samples, less the smallest without the program, as whatever
    /// disturbs a sample only adds to it. All take turns.
    fn round(&mut self, samples: u32) -> Result<(), String> {
        let mut empty = f64::INFINITY;
        let mut smallest = vec![f64::INFINITY; self.subjects.len()];
        for _ in 0..samples {
            empty = empty.min(self.empty.sample(&self.frame)?);
            for (smallest, (_, restored, _)) in smallest.iter_mut().zip(&self.subjects) {
                *smallest = smallest.min(restored.sample(&self.frame)?);
            }
        }
        for (smallest, (_, _, outcome)) in smallest.into_iter().zip(&mut self.subjects) {
            if let Outcome::Values(values) = outcome {
                values.push(smallest - empty);
            }
        }
        Ok(())
    }

    fn measure(self) -> Measure {
        let rows = self.subjects.into_iter().map(|(subject, _, outcome)| Row { subject, outcome });
        Measure {
            group: GROUP,
            name: format!("{}: {}", name(self.hook), self.kind.name),
            unit: Unit::Nanoseconds,
            rows: rows.collect(),
        }
    }
}

/// Measures each program with each kind of packet that it answers, and one that is not its own.
pub(super) fn measure(rounds: u32, short: bool) -> Result<Vec<Measure>, String> {
    let loaded = echo::load_all()?;
    let mut all = Vec::new();
    for hook in [Hook::Loopback, Hook::Wire, Hook::Xdp] {
        for kind in answered(hook).chain([NOT_OURS]) {
            all.push(Timed::new(hook, kind, echo::program(&loaded, hook)?)?);
        }
    }
    let samples = if short { 3 } else { 8 };
    for timed in &mut all {
        for _ in 0..rounds {
            timed.round(samples)?;
        }
    }
    Ok(all.into_iter().map(Timed::measure).collect())
}
