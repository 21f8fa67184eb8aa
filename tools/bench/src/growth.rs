//! How costs grow: with open connections, with addresses served, with the size of messages.

use std::net::Ipv4Addr;

use rustix::process::{Resource, getrlimit};

use crate::client::connection::{Connection, Options};
use crate::client::ping_pong::latency;
use crate::client::{Endpoint, Limits, many};
use crate::groups::Run;
use crate::results::{Measure, Unit};
use crate::rounds::Task;
use crate::running::Subject;
use crate::subject::{BPFECHO, EPOLL, SELF_CONNECTED};

const GROUP: &str = "growth";

/// Whose connections and sizes grow.
const SUBJECTS: [&str; 3] = [BPFECHO, SELF_CONNECTED, EPOLL];

const CONNECTIONS: [usize; 6] = [1, 10, 100, 1000, 10_000, 20_000];

const ADDRESSES: [u32; 3] = [1, 100, 10_000];

/// From 1 B to 1 MiB.
const SIZES: [usize; 11] = [1, 4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// All measures of the group. What grows takes turns, too, as it is compared.
pub(crate) fn measure(run: &Run) -> Result<Vec<Measure>, String> {
    if run.short {
        return Ok(Vec::new());
    }
    let limits = run.limits(GROUP);
    let served = ADDRESSES.map(|count| serve(run, count));
    let connections = CONNECTIONS.map(|count| {
        let take = move |endpoint| many::rate(endpoint, count, limits);
        let mut task = task(run, format!("{count} connections open"), Unit::PerSecond, take);
        for entry in &mut task.entries {
            // Only a server in user space has a file for each connection.
            let at_once = if entry.subject == EPOLL { count } else { count.min(many::SHARE) };
            if let Err(why) = can_open(at_once) {
                entry.turn = Err(why);
            }
        }
        task
    });
    let mut addresses = Vec::new();
    for (count, subject) in ADDRESSES.iter().zip(served) {
        addresses.push((format!("{count} addresses"), subject?));
    }
    let addresses: Vec<Task> = addresses
        .iter()
        .map(|(name, subject)| Task {
            group: GROUP,
            measures: vec![(name.clone(), Unit::Nanoseconds)],
            entries: vec![subject.entry(move |endpoint| median(endpoint, 64, limits))],
        })
        .collect();
    let sizes = SIZES.map(|size| {
        let take = move |endpoint| median(endpoint, size, limits);
        task(run, format!("{size} B"), Unit::Nanoseconds, take)
    });
    Ok([run.rounds(&connections), run.rounds(&addresses), run.rounds(&sizes)].concat())
}

fn task<'a>(
    run: &Run<'a>,
    name: String,
    unit: Unit,
    take: impl Fn(Endpoint) -> Result<Vec<f64>, String> + Copy + 'a,
) -> Task<'a> {
    let subjects = run.subjects.iter().flatten().filter(|subject| SUBJECTS.contains(&subject.name));
    let entries = subjects.map(|subject| subject.entry(take)).collect();
    Task { group: GROUP, measures: vec![(name, unit)], entries }
}

/// Whether a process may have so many connections.
fn can_open(connections: usize) -> Result<(), String> {
    /// All other files.
    const OTHERS: usize = 100;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < (connections + OTHERS) as u64 => {
            Err(format!("a process may open {limit} files only (ulimit -n)"))
        }
        _ => Ok(()),
    }
}

/// bpfecho that serves so many addresses, each for itself.
fn serve(run: &Run, count: u32) -> Result<Subject, String> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    let addresses: Vec<Ipv4Addr> = (first..first + count).map(Ipv4Addr::from).collect();
    Subject::bpfecho(BPFECHO, run.bpfecho, "auto", &addresses)
        .map_err(|error| format!("bpfecho with {count} addresses: {error}"))
}

/// The median latency of messages of `size` bytes, with TCP_NODELAY.
fn median(endpoint: Endpoint, size: usize, limits: Limits) -> Result<Vec<f64>, String> {
    let mut connection = Connection::open(endpoint, Options::NoDelay, size, limits.patience)?;
    let latency = latency(&mut connection, limits)?;
    connection.finish().map(|()| latency[..1].to_vec())
}
