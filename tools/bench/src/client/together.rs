//! Threads that begin at once, and how long they take.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Enough for a client, and little for thousands of them.
const STACK: usize = 128 << 10;

/// What threads did together.
pub(crate) struct Together<R> {
    /// What each returned, in their order.
    pub(crate) results: Vec<R>,
    /// From when the first began until the last ended.
    pub(crate) elapsed: Duration,
    /// What all processors of the machine worked meanwhile.
    pub(crate) cpu: Duration,
}

/// Has each of `workers` begin in a thread of its own, when all of these are there, and tells it when that was.
pub(crate) fn together<R: Send>(
    workers: Vec<impl FnOnce(Instant) -> Result<R, String> + Send>,
) -> Result<Together<R>, String> {
    // A barrier that can be given up: the threads wait for the lock, and go if they then find true in it.
    let gate = RwLock::new(false);
    let (arrived, running) = (AtomicUsize::new(0), AtomicUsize::new(workers.len()));
    let (opened, ended) = (OnceLock::new(), OnceLock::new());
    let attend = |worker: Box<dyn FnOnce(Instant) -> Result<R, String> + Send + '_>| {
        arrived.fetch_add(1, Ordering::Relaxed);
        if !*gate.read().unwrap_or_else(PoisonError::into_inner) {
            return Err("a thread was missing".into());
        }
        let result = worker(*opened.get_or_init(Instant::now));
        if running.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = ended.set((Instant::now(), cpu_time()));
        }
        result
    };
    let (count, attend) = (workers.len(), &attend);
    let mut closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let (before, results) = thread::scope(|scope| {
        let mut threads = Vec::with_capacity(count);
        for worker in workers {
            let worker: Box<dyn FnOnce(Instant) -> Result<R, String> + Send + '_> = Box::new(worker);
            let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || attend(worker));
            threads.push(thread.map_err(|error| format!("starting {count} threads: {error}"))?);
        }
        while arrived.load(Ordering::Relaxed) < count {
            thread::yield_now();
        }
        let before = cpu_time()?;
        *closed = true;
        drop(closed);
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".into())));
        Ok::<_, String>((before, results.collect::<Result<Vec<R>, String>>()?))
    })?;
    let (Some(opened), Some((ended, after))) = (opened.into_inner(), ended.into_inner()) else {
        return Err("no client began".into());
    };
    Ok(Together { results, elapsed: ended - opened, cpu: after?.saturating_sub(before) })
}

/// How long all processors together have worked: for users, for the kernel and in interrupts (proc_stat(5)).
fn cpu_time() -> Result<Duration, String> {
    let path = "/proc/stat";
    let text = fs::read_to_string(path).map_err(|error| format!("reading {path}: {error}"))?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = numbers[..] else {
        return Err(format!("{path} does not begin with the times of all processors"));
    };
    let ticks = user + nice + system + irq + softirq;
    Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}
