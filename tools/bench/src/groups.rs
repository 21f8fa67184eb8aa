//! What is measured of subjects that echo on loopback, and for how long.

use std::path::Path;
use std::time::Duration;

use crate::client::connection::{Connection, Options};
use crate::client::connections::{self, End};
use crate::client::datagrams::{self, Datagrams, IN_FLIGHT};
use crate::client::ping_pong::{PERCENTILES, latency};
use crate::client::{Endpoint, Limits, requests, streaming};
use crate::growth;
use crate::results::{Measure, Unit};
use crate::rounds::{self, Entry, Task};
use crate::running::{Absent, Started};
use crate::subject;

/// Each group with how long one of its turns takes: in the full run, and in the short one. In milliseconds.
pub(crate) const GROUPS: [(&str, u64, u64); 6] = [
    ("ping-pong", 200, 150),
    ("requests", 500, 300),
    ("connections", 400, 300),
    ("streaming", 500, 300),
    ("udp", 250, 150),
    ("growth", 200, 0),
];

/// How long an answer may take until it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the groups have in common.
pub(crate) struct Run<'a> {
    /// The program bpfecho.
    pub(crate) bpfecho: &'a Path,
    /// All that was started, and what was not and why.
    pub(crate) subjects: &'a [Started],
    /// How often each measure is taken.
    pub(crate) rounds: u32,
    /// Whether only the most important measures are taken.
    pub(crate) short: bool,
}

/// A measure: its group, what it yields, whom it suits, how it is taken.
struct Kind {
    group: &'static str,
    measures: Vec<(String, Unit)>,
    /// Whom it does not suit, and why.
    except: (&'static [&'static str], &'static str),
    take: Box<dyn Fn(Endpoint, Limits) -> Result<Vec<f64>, String>>,
}

const NOBODY: (&[&str], &str) = (&[], "");

impl Run<'_> {
    /// The measures of a group, one of [`GROUPS`].
    pub(crate) fn measure(&self, group: &str) -> Result<Vec<Measure>, String> {
        match group {
            "ping-pong" => Ok(self.each(self.ping_pong())),
            "requests" => Ok(self.each(self.requests())),
            "connections" => Ok(self.each(self.connections())),
            "streaming" => Ok(self.each(self.streaming())),
            "udp" => Ok(self.each(self.udp())),
            _ => growth::measure(self),
        }
    }

    /// What bounds a turn of a group.
    pub(crate) fn limits(&self, group: &str) -> Limits {
        let turn = GROUPS.iter().find(|(name, ..)| *name == group);
        let milliseconds = turn.map_or(0, |(_, full, short)| if self.short { *short } else { *full });
        Limits { duration: Duration::from_millis(milliseconds), patience: PATIENCE }
    }

    /// Takes measures one after another.
    fn each(&self, kinds: Vec<Kind>) -> Vec<Measure> {
        kinds.iter().flat_map(|kind| self.rounds(&[self.task(kind)])).collect()
    }

    /// Takes measures side by side, and says so.
    pub(crate) fn rounds(&self, tasks: &[Task]) -> Vec<Measure> {
        for task in tasks {
            let names: Vec<&str> = task.measures.iter().map(|(name, _)| name.as_str()).collect();
            eprintln!("bench: {}: {}", task.group, names.join("; "));
        }
        rounds::measure(tasks, self.rounds)
    }

    fn task<'a>(&'a self, kind: &'a Kind) -> Task<'a> {
        let limits = self.limits(kind.group);
        let entry = |subject: &'a Started| match subject {
            Err(Absent { name, why }) => Entry { subject: name, turn: Err(why.clone()) },
            Ok(subject) if kind.except.0.contains(&subject.name) => {
                Entry { subject: subject.name, turn: Err(kind.except.1.into()) }
            }
            Ok(subject) => subject.entry(move |endpoint| (kind.take)(endpoint, limits)),
        };
        let entries = self.subjects.iter().map(entry).collect();
        Task { group: kind.group, measures: kind.measures.clone(), entries }
    }

    /// Those of `all` that are measured; in a short run the first `short` of them.
    fn some<T: Copy>(&self, all: &[T], short: usize) -> Vec<T> {
        all.iter().copied().take(if self.short { short } else { all.len() }).collect()
    }

    fn ping_pong(&self) -> Vec<Kind> {
        let kind = |size, options| Kind {
            group: "ping-pong",
            measures: percentiles(size, if options == Options::NoDelay { ", TCP_NODELAY" } else { "" }),
            except: NOBODY,
            take: Box::new(move |endpoint, limits| {
                let mut connection = Connection::open(endpoint, options, size, limits.patience)?;
                let latency = latency(&mut connection, limits)?;
                connection.finish().map(|()| latency)
            }),
        };
        let sizes = self.some(&[64, 1, 1024, 16384], 1).into_iter();
        sizes
            .flat_map(|size| [Options::NoDelay, Options::Default].map(|options| kind(size, options)))
            .collect()
    }

    fn requests(&self) -> Vec<Kind> {
        let kind = |connections: usize| {
            let plural = if connections == 1 { "" } else { "s" };
            let name = format!("{connections} connection{plural}");
            let cpu = format!("CPU, {name}");
            let forks = connections > 50;
            Kind {
                group: "requests",
                measures: vec![(name, Unit::PerSecond), (cpu, Unit::Nanoseconds)],
                except: if forks { (&subject::FORKING, "a process for each connection") } else { NOBODY },
                take: Box::new(move |endpoint, limits| requests::rate(endpoint, connections, limits)),
            }
        };
        self.some(&[1, 50, 500, 1000, 5000], 2).into_iter().map(kind).collect()
    }

    fn connections(&self) -> Vec<Kind> {
        let kind = |(name, end): (&str, End)| Kind {
            group: "connections",
            measures: vec![(name.into(), Unit::PerSecond)],
            except: (&[subject::SELF_CONNECTED], "nobody to connect to"),
            take: Box::new(move |endpoint, limits| connections::rate(endpoint, end, limits)),
        };
        self.some(&[("orderly close", End::Orderly), ("reset", End::Reset)], 1)
            .into_iter()
            .map(kind)
            .collect()
    }

    fn streaming(&self) -> Vec<Kind> {
        let kind = |(connections, kib): (usize, usize)| {
            let plural = if connections == 1 { "" } else { "s" };
            Kind {
                group: "streaming",
                measures: vec![(
                    format!("{connections} connection{plural}, {kib} KiB"),
                    Unit::GigabytesPerSecond,
                )],
                except: NOBODY,
                take: Box::new(move |endpoint, limits| {
                    streaming::rate(endpoint, connections, kib << 10, limits)
                }),
            }
        };
        self.some(&[(1, 64), (1, 256), (8, 64)], 1).into_iter().map(kind).collect()
    }

    fn udp(&self) -> Vec<Kind> {
        let except: (&[&str], _) = (&subject::FORKING, "TCP only");
        let kind = |size| Kind {
            group: "udp",
            measures: percentiles(size, ""),
            except,
            take: Box::new(move |endpoint, limits| {
                let mut datagrams = Datagrams::open(endpoint, size, limits.patience)?;
                let latency = latency(&mut datagrams, limits)?;
                datagrams.finish().map(|()| latency)
            }),
        };
        let in_flight = Kind {
            group: "udp",
            measures: vec![(format!("{IN_FLIGHT} in flight"), Unit::PerSecond)],
            except,
            take: Box::new(datagrams::rate),
        };
        let kinds = [kind(64), kind(1024), in_flight];
        kinds.into_iter().take(if self.short { 1 } else { 3 }).collect()
    }
}

fn percentiles(size: usize, suffix: &str) -> Vec<(String, Unit)> {
    PERCENTILES.map(|name| (format!("{name}, {size} B{suffix}"), Unit::Nanoseconds)).to_vec()
}
