//! How long a program takes for a packet.
//!
//! A test run repeats a program on one packet, which stays as the run before left it. So a small program is run instead
//! that writes the headers of the question anew, and then goes on, by a tail call, as the program that is measured;
//! what it takes to go on as one that returns at once is measured in turn and subtracted. That leaves the whole of the
//! program. To it is added what a test run takes of a program that returns at once, so the number is what
//! BPF_PROG_TEST_RUN would say if each run had a packet of its own. Of packets that are not the program's own the number is
//! what it takes longer than one that returns at once.
//!
//! Before and after the writing the processor has to settle. So no load of the program waits for stores that have just
//! been made of parts of it, which those of a real packet are not, and its end does not overlap the next writing. What
//! a processor does meanwhile in the kernel's loop still hides a nanosecond or two of it, of a short program most.
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

    /// What comes of the second run, which gets the question only if it is restored.
    fn run_twice(&self, frame: &Frame) -> Result<TestRun, String> {
        let input = TestInput { repeat: 2, ..TestInput::from(&frame.bytes) };
        self.program.test_run(input).map_err(|error| error.to_string())
    }

    fn sample(&self, frame: &Frame) -> Result<f64, String> {
        sample(&self.program, frame)
    }
}

/// The mean of some runs in nanoseconds. The kernel would say it in whole ones, of which a program takes few. So the call
/// is timed: by the time on a CPU, in which there is neither another thread nor the wait for RCU before and after runs of
/// XDP (bpf_dispatcher_change_prog() in kernel/bpf/dispatcher.c). What else it takes is little beside so many runs.
fn sample(program: &Program, frame: &Frame) -> Result<f64, String> {
    let input = TestInput { repeat: RUNS, ..TestInput::from(&frame.bytes) };
    let start = time_on_cpu();
    program.test_run(input).map_err(|error| error.to_string())?;
    Ok((time_on_cpu() - start) / f64::from(RUNS))
}

/// How long this thread has been on a CPU, in nanoseconds.
fn time_on_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// One measure: of which packets, and what has come of it.
struct Timed {
    hook: Hook,
    kind: Kind,
    frame: Frame,
    rows: Vec<Row>,
}

impl Timed {
    fn new(hook: Hook, kind: Kind) -> Result<Self, String> {
        let frame = kind.frame(hook, SERVER_MAC)?;
        let subjects = if kind.ours { &[BPFECHO, BARE_SWAP][..] } else { &[BPFECHO] };
        let row = |&subject| Row { subject, outcome: Outcome::Values(Vec::new()) };
        Ok(Self { hook, kind, frame, rows: subjects.iter().map(row).collect() })
    }

    /// Takes the values of one round, of the smallest of some samples of each, as whatever disturbs one only adds to it.
    /// All take turns.
    fn round(&mut self, probe: &Program, samples: u32) -> Result<(), String> {
        let Self { hook, ref frame, .. } = *self;
        let returns = returning(hook.passed()).load("empty", hook.kind())?;
        let swap = bare_swap(hook, &frame.layout).load("bare_swap", hook.kind())?;
        let restored = [&returns, probe, &swap].map(|program| Restored::new(hook, frame, program));
        let [empty, probe, swap] = restored;
        let empty = empty?;
        if empty.run_twice(frame)?.verdict != hook.passed() {
            return Err("a tail call to an empty program fails".into());
        }
        let mut subjects = vec![probe?, swap?];
        subjects.truncate(self.rows.len());
        for (subject, row) in subjects.iter().zip(&mut self.rows) {
            if let Err(how) = check(hook, &self.kind, frame, &subject.run_twice(frame)?) {
                row.outcome = Outcome::Void(how);
            }
        }
        let (mut loop_alone, mut without) = (f64::INFINITY, f64::INFINITY);
        let mut smallest = vec![f64::INFINITY; subjects.len()];
        for _ in 0..samples {
            loop_alone = loop_alone.min(sample(&returns, frame)?);
            without = without.min(empty.sample(frame)?);
            for (smallest, subject) in smallest.iter_mut().zip(&subjects) {
                *smallest = smallest.min(subject.sample(frame)?);
            }
        }
        for (smallest, row) in smallest.into_iter().zip(&mut self.rows) {
            if let Outcome::Values(values) = &mut row.outcome {
                let own = (smallest - without).max(0.0);
                values.push(if self.kind.ours { loop_alone + own } else { own });
            }
        }
        Ok(())
    }

    fn measure(self) -> Measure {
        let name = format!("{}: {}", name(self.hook), self.kind.name);
        Measure { group: GROUP, name, unit: Unit::Nanoseconds, rows: self.rows }
    }
}

/// Whether a packet was answered rightly, or left alone if it is not the program's own; else what became of it.
fn check(hook: Hook, kind: &Kind, frame: &Frame, run: &TestRun) -> Result<(), String> {
    let is_right = if kind.ours {
        run.verdict == hook.reflected() && frame.is_answered_by(&run.packet)
    } else {
        run.verdict == hook.passed() && run.packet == frame.bytes
    };
    if is_right { Ok(()) } else { Err(format!("verdict {}, packet {:02x?}", run.verdict, run.packet)) }
}

/// Measures each program with each kind of packet that it answers, and one that is not its own.
///
/// All programs are loaded anew for each round: where they happen to lie makes a difference of nanoseconds.
pub(super) fn measure(rounds: u32, short: bool) -> Result<Vec<Measure>, String> {
    let mut all = Vec::new();
    for hook in [Hook::Loopback, Hook::Wire, Hook::Xdp] {
        for kind in answered(hook).chain([NOT_OURS]) {
            all.push(Timed::new(hook, kind)?);
        }
    }
    let samples = if short { 3 } else { 6 };
    for _ in 0..rounds {
        let loaded = echo::load_all()?;
        for timed in &mut all {
            timed.round(echo::program(&loaded, timed.hook)?, samples)?;
        }
    }
    Ok(all.into_iter().map(Timed::measure).collect())
}
