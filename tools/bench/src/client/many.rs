//! Requests per second over connections that are all open, and used in turn.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::connection::{Connection, Options};
use super::requests::SIZE;
use super::{Endpoint, Limits};
use crate::sys;

/// How many connections a thread holds at most, in a table of open files of its own: as many as are allowed nearly
/// everywhere (RLIMIT_NOFILE in getrlimit(2)).
pub(crate) const SHARE: usize = 10_000;

/// How many requests a thread makes at least until it is the next one's turn, so that handing over costs nothing.
const TURN: usize = 1000;

/// Requests per second over so many connections. There is one request at a time, however many connections there are, so
/// that what they cost is not what threads cost; and each is used equally often, so that none is cheap because it was used
/// just now.
pub(crate) fn rate(endpoint: Endpoint, connections: usize, limits: Limits) -> Result<Vec<f64>, String> {
    thread::scope(|scope| {
        let shares = (0..connections).step_by(SHARE).map(|first| SHARE.min(connections - first));
        let holders: Vec<Holder> =
            shares.map(|share| Holder::start(scope, endpoint, share, limits.patience)).collect();
        // How often each connection is used until it is the next thread's turn.
        let laps = TURN.div_ceil(connections);
        let tour = || holders.iter().all(|holder| holder.tour(laps));
        // The first opens the connections, whose first requests are also acknowledged differently.
        let mut is_whole = tour();
        let (begin, mut requests) = (Instant::now(), 0);
        while is_whole && begin.elapsed() < limits.duration {
            is_whole = tour();
            requests += connections * laps;
        }
        let elapsed = begin.elapsed();
        holders.into_iter().try_for_each(Holder::finish)?;
        Ok(vec![requests as f64 / elapsed.as_secs_f64()])
    })
}

/// A thread that holds some of the connections.
struct Holder<'scope> {
    tours: Sender<usize>,
    done: Receiver<()>,
    thread: ScopedJoinHandle<'scope, Result<(), String>>,
}

impl<'scope> Holder<'scope> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        endpoint: Endpoint,
        connections: usize,
        patience: Duration,
    ) -> Self {
        let (tours, wanted) = channel();
        let (is_done, done) = channel();
        let thread = scope.spawn(move || hold(endpoint, connections, patience, &wanted, &is_done));
        Self { tours, done, thread }
    }

    /// Has it make so many requests on each of its connections. Whether that went well; if not, [`Self::finish`] says why.
    fn tour(&self, laps: usize) -> bool {
        self.tours.send(laps).is_ok() && self.done.recv().is_ok()
    }

    fn finish(self) -> Result<(), String> {
        drop(self.tours);
        self.thread.join().unwrap_or_else(|_| Err("a client panicked".into()))
    }
}

fn hold(
    endpoint: Endpoint,
    connections: usize,
    patience: Duration,
    wanted: &Receiver<usize>,
    is_done: &Sender<()>,
) -> Result<(), String> {
    sys::own_files().map_err(|error| format!("making a table of open files: {error}"))?;
    let open = |_| Connection::open(endpoint, Options::NoDelay, SIZE, patience);
    let mut open: Vec<Connection> = (0..connections).map(open).collect::<Result<_, _>>()?;
    for laps in wanted {
        for _ in 0..laps {
            open.iter_mut().try_for_each(Connection::request)?;
        }
        // Nobody waits for it any more if another thread has failed.
        let _ = is_done.send(());
    }
    open.into_iter().try_for_each(Connection::finish)
}
