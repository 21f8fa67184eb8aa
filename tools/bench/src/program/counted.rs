//! How many instructions are executed for a packet: in the [interpreter], whose verdict and packet have to be the
//! kernel's.

use std::os::fd::{AsFd, AsRawFd};

use loader::{Instruction, Map, Object, Program};
use probe::abi::{self, helpers};

use super::echo::{self, Loaded, SERVER_MAC};
use super::packets::{Frame, NOT_OURS, answered};
use super::{GROUP, interpreter, name};
use crate::bytecode::{Hook, IFINDEX, bare_swap};
use crate::results::{Measure, Outcome, Row, Unit};
use crate::subject::{BARE_SWAP, BPFECHO};

/// The fields of `struct __sk_buff` up to the last one that programs read, `data_end`.
const SKB: usize = 84;

/// Counts for each kind of packet that is answered, and one that is not.
pub(super) fn measure() -> Result<Vec<Measure>, String> {
    let loaded = echo::load_all()?;
    let mut measures = Vec::new();
    for hook in [Hook::Loopback, Hook::Wire, Hook::Xdp] {
        for kind in answered(hook).chain([NOT_OURS]) {
            let frame = kind.frame(hook, SERVER_MAC)?;
            let mut rows = vec![(BPFECHO, count_probe(hook, &loaded, &frame)?)];
            if kind.ours {
                rows.push((BARE_SWAP, count_bare_swap(hook, &frame)?));
            }
            let outcome = |count: u32| Outcome::Values(vec![count.into()]);
            measures.push(Measure {
                group: GROUP,
                name: format!("instructions, {}: {}", name(hook), kind.name),
                unit: Unit::Instructions,
                rows: rows
                    .into_iter()
                    .map(|(subject, count)| Row { subject, outcome: outcome(count) })
                    .collect(),
            });
        }
    }
    Ok(measures)
}

fn count_bare_swap(hook: Hook, frame: &Frame) -> Result<u32, String> {
    let code = bare_swap(hook, &frame.layout);
    code.with_linked("bare_swap", |linked| {
        let program = linked.load(hook.kind(), false).map_err(|error| error.to_string())?;
        count(hook, &program, linked.instructions(), &[], frame)
    })
}

/// Links the probe once more, with the maps of the one that is loaded.
fn count_probe(hook: Hook, loaded: &[Loaded; 2], frame: &Frame) -> Result<u32, String> {
    let program = echo::program(loaded, hook)?;
    let ids = program.info().map_err(|error| error.to_string())?.maps;
    let maps =
        ids.into_iter().map(Map::open).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let named: Vec<_> = maps.iter().map(|map| (map.definition().name.as_str(), map)).collect();
    let [loopback, wire] = loaded;
    let (symbol, configuration) = match hook {
        Hook::Loopback => (abi::LOOPBACK_PROGRAM, &loopback.configuration),
        Hook::Wire => (abi::WIRE_PROGRAM, &wire.configuration),
        Hook::Xdp => (abi::XDP_PROGRAM, &wire.configuration),
    };
    let object = bpfecho::echo::object().map_err(|error| error.to_string())?;
    let object = Object::parse(&object).map_err(|error| error.to_string())?;
    let settings = bpfecho::settings::settings(configuration, helpers::NEW);
    let linked = object.link(symbol, &named, &settings).map_err(|error| error.to_string())?;
    count(hook, program, linked.instructions(), &maps, frame)
}

/// Counts the instructions of `code`, which the kernel has as `program`.
fn count(
    hook: Hook,
    program: &Program,
    code: &[Instruction],
    maps: &[Map],
    frame: &Frame,
) -> Result<u32, String> {
    let maps = maps.iter().map(|map| (map.as_fd().as_raw_fd(), map)).collect();
    let run = interpreter::run(code, context(hook, frame), hook.data(), frame.bytes.clone(), &maps)
        .map_err(|error| format!("interpreting {}: {error}", program.name()))?;
    let kernel = program.test_run(&frame.bytes).map_err(|error| error.to_string())?;
    if (run.verdict, &run.packet) != (kernel.verdict, &kernel.packet) {
        return Err(format!(
            "interpreting {}: verdict {} and packet {:02x?}, but in the kernel verdict {} and packet {:02x?}",
            program.name(),
            run.verdict,
            run.packet,
            kernel.verdict,
            kernel.packet
        ));
    }
    Ok(run.instructions)
}

/// `struct __sk_buff` or `struct xdp_md` of a packet on a test run's device, less the addresses of its data.
fn context(hook: Hook, frame: &Frame) -> Vec<u8> {
    let mut context = vec![0; SKB];
    if hook != Hook::Xdp {
        let protocol = [frame.bytes[12], frame.bytes[13], 0, 0];
        let fields =
            [(0, (frame.bytes.len() as u32).to_ne_bytes()), (16, protocol), (IFINDEX as usize, [1, 0, 0, 0])];
        for (at, field) in fields {
            context[at..at + 4].copy_from_slice(&field);
        }
    }
    context
}
