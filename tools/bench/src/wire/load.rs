//! What sends packets to a server and counts what comes back, by programs on XDP at the client's end of a veth: nothing
//! costs less.
//!
//! The kernel makes the frames itself (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18), some at a time, and a program redirects
//! them into the veth. What it then does for them, at both ends, it does before the next ones, on the CPU of the
//! sender, which therefore stays on one; so a queue never runs over, and no packet is lost but by the server.

use std::thread;
use std::time::{Duration, Instant};

use loader::{BpfLink, Map, MapDefinition, Program, XdpMode};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cable::Cable;
use crate::bytecode::{Code, Hook, XDP_DROP};
use crate::program::Frame;

/// How many frames are sent at a time: as many as a poll of the receiver takes (NAPI_POLL_WEIGHT), a quarter of what
/// the queue of a veth holds (VETH_RING_SIZE in drivers/net/veth.c).
const BATCH: u32 = 64;

/// How long what was sent may stay away.
const PATIENCE: Duration = Duration::from_secs(1);

/// BPF_MAP_TYPE_PERCPU_ARRAY (linux/bpf.h).
const PERCPU_ARRAY: u32 = 6;

/// A client that sends one frame again and again.
pub(super) struct Load {
    frame: Frame,
    sender: Program,
    _receiver: BpfLink,
    /// Packets that came back: right ones, and others.
    counts: Map,
}

impl Load {
    /// Puts the client at its end of `cable`.
    pub(super) fn new(cable: &Cable, frame: Frame) -> Result<Self, String> {
        let definition = MapDefinition {
            name: "counts".into(),
            kind: PERCPU_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 2,
            flags: 0,
        };
        let counts = Map::create(&definition).map_err(|error| error.to_string())?;
        let mut code = Code::default();
        code.packet(Hook::Xdp, frame.bytes.len());
        code.count(&counts, &expected(&frame));
        code.exit(XDP_DROP);
        let receiver = code.load("receiver", Hook::Xdp.kind())?;
        let receiver = cable.client.run(|| {
            BpfLink::xdp(&receiver, cable.near, XdpMode::Native).map_err(|error| error.to_string())
        })?;
        // The memory of a frame that has come back is used again, with the headers of the answer.
        let mut code = Code::default();
        code.packet(Hook::Xdp, frame.headers);
        code.write(&frame.bytes[..frame.headers]);
        code.redirect_to(cable.near);
        let sender = code.load("sender", Hook::Xdp.kind())?;
        Ok(Self { frame, sender, _receiver: receiver, counts })
    }

    /// Sends so many packets, and waits until they have come back. Gives the packets per second, or how it failed.
    ///
    /// The time is the kernel's, from the first batch to the end of the last, to which that of waiting is added. Around
    /// the whole call the clock would show the wait for RCU before and after (bpf_dispatcher_change_prog() in
    /// kernel/bpf/dispatcher.c), too.
    pub(super) fn run(&self, cable: &Cable, packets: u32) -> Result<Result<f64, String>, String> {
        let before = self.counted()?;
        let seconds = cable.client.run(|| {
            stay_on_one_cpu()?;
            let sent = self.sender.run_live(&self.frame.bytes, packets, BATCH);
            let each = sent.map_err(|error| error.to_string())?;
            let waited = self.await_all(before.iter().sum::<u64>() + u64::from(packets))?;
            Ok(f64::from(each) * f64::from(packets) / 1e9 + waited.as_secs_f64())
        })?;
        let after = self.counted()?;
        let [right, wrong] = [after[0] - before[0], after[1] - before[1]];
        Ok(if wrong > 0 {
            Err(format!("{wrong} wrong packets came back"))
        } else if right != u64::from(packets) {
            Err(format!("of {packets} packets {right} came back"))
        } else {
            Ok(f64::from(packets) / seconds)
        })
    }

    /// Waits until so many packets have come back, but not for ever. Returns how long that took.
    fn await_all(&self, packets: u64) -> Result<Duration, String> {
        let start = Instant::now();
        let mut waited = Duration::ZERO;
        while self.counted()?.iter().sum::<u64>() < packets && waited < PATIENCE {
            thread::yield_now();
            waited = start.elapsed();
        }
        Ok(waited)
    }

    fn counted(&self) -> Result<[u64; 2], String> {
        let mut counts = [0; 2];
        for (key, count) in (0_u32..).zip(&mut counts) {
            let cpus = self.counts.lookup_per_cpu(&key.to_ne_bytes()).map_err(|error| error.to_string())?;
            *count =
                cpus.iter().filter_map(|value| Some(u64::from_ne_bytes(value[..].try_into().ok()?))).sum();
        }
        Ok(counts)
    }
}

/// What a packet that came back has where: addresses and ports exchanged, and the end of the payload.
fn expected(frame: &Frame) -> Vec<(usize, [u8; 4])> {
    let layout = frame.layout;
    let mut answer = frame.bytes.clone();
    answer[layout.addresses..][..2 * layout.address_length].rotate_left(layout.address_length);
    answer[layout.ports..][..4].rotate_left(2);
    let places = [layout.addresses, layout.addresses + layout.address_length, layout.ports, answer.len() - 4];
    let word = |at: usize| Some((at, answer.get(at..at + 4)?.try_into().ok()?));
    places.into_iter().filter_map(word).collect()
}

/// Keeps this thread on one of its CPUs, the last.
fn stay_on_one_cpu() -> Result<(), String> {
    let failed = |error| format!("choosing a CPU: {error}");
    let allowed = sched_getaffinity(None).map_err(failed)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).map_err(failed)
}
