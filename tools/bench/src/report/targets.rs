//! What the numbers should be: ratios of two subjects that were measured side by side, and a few plain bounds.

use crate::results::{Measure, Outcome, Results, Summary, Unit};
use crate::subject::{BARE_SWAP, BARE_SWAP_XDP, BPFECHO, BPFECHO_XDP, PEERS, SELF_CONNECTED};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
}
use Bound::{AtLeast, AtMost};

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }
}

/// What ours is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// The bound itself.
    Nothing,
    /// That subject.
    Subject(&'static str),
    /// Whichever of [`PEERS`] has the largest median: all that is compared with them are rates.
    BestPeer,
}
use Against::{BestPeer, Nothing, Subject};

/// A target of some measures.
struct Goal {
    group: &'static str,
    names: &'static [&'static str],
    ours: &'static str,
    against: &'static [Against],
    wanted: Bound,
    /// What not even a busy machine explains. None for times alone: a machine may be as slow as it likes.
    tolerated: Option<Bound>,
}

const GOALS: [Goal; 17] = [
    Goal {
        group: "ping-pong",
        names: &[
            "p50, 1 B, TCP_NODELAY",
            "p50, 64 B, TCP_NODELAY",
            "p50, 1024 B, TCP_NODELAY",
            "p50, 16384 B, TCP_NODELAY",
        ],
        ours: BPFECHO,
        against: &[Subject(SELF_CONNECTED)],
        wanted: AtMost(1.00),
        tolerated: Some(AtMost(1.5)),
    },
    Goal {
        group: "ping-pong",
        names: &["p50, 1 B", "p50, 64 B", "p50, 1024 B", "p50, 16384 B"],
        ours: BPFECHO,
        against: &[Subject(SELF_CONNECTED)],
        wanted: AtMost(1.10),
        tolerated: Some(AtMost(1.6)),
    },
    requests(&["1 connection"], 12.0),
    requests(&["50 connections"], 4.0),
    requests(&["500 connections"], 5.0),
    requests(&["1000 connections"], 6.0),
    Goal {
        group: "connections",
        names: &["orderly close"],
        ours: BPFECHO,
        against: &[BestPeer],
        wanted: AtLeast(5.0),
        tolerated: Some(AtLeast(2.5)),
    },
    Goal {
        group: "streaming",
        names: &["1 connection, 64 KiB", "1 connection, 256 KiB"],
        ours: BPFECHO,
        against: &[Subject(SELF_CONNECTED), BestPeer],
        wanted: AtLeast(1.2),
        tolerated: Some(AtLeast(0.6)),
    },
    Goal {
        group: "udp",
        names: &["p50, 64 B"],
        ours: BPFECHO,
        against: &[Subject(SELF_CONNECTED)],
        wanted: AtMost(1.0),
        tolerated: Some(AtMost(1.5)),
    },
    program(&["lo: TCP segment"], 1.5, 2.4),
    program(&["wire: TCP segment"], 1.5, 3.0),
    program(&["xdp: TCP segment"], 1.5, 4.0),
    program(&["lo: UDP datagram"], 1.3, 2.0),
    program(&["wire: UDP datagram"], 1.3, 2.4),
    program(&["xdp: UDP datagram"], 1.3, 3.0),
    Goal {
        group: "wire",
        names: &["UDP, 64 B packets", "TCP segments, 64 B"],
        ours: BPFECHO_XDP,
        against: &[Subject(BARE_SWAP_XDP)],
        wanted: AtLeast(0.95),
        tolerated: Some(AtLeast(0.6)),
    },
    Goal {
        group: "start",
        names: &["exec to first echo"],
        ours: BPFECHO,
        against: &[Nothing],
        wanted: AtMost(10.0),
        tolerated: None,
    },
];

const fn requests(names: &'static [&'static str], times: f64) -> Goal {
    Goal {
        group: "requests",
        names,
        ours: BPFECHO,
        against: &[BestPeer],
        wanted: AtLeast(times),
        tolerated: Some(AtLeast(times / 2.0)),
    }
}

const fn program(names: &'static [&'static str], wanted: f64, tolerated: f64) -> Goal {
    Goal {
        group: "program",
        names,
        ours: BPFECHO,
        against: &[Subject(BARE_SWAP)],
        wanted: AtMost(wanted),
        tolerated: Some(AtMost(tolerated)),
    }
}

/// What is not ours should cost few instructions or, if more, little time. The former do not depend on the machine.
const NOT_OURS: [[Goal; 2]; 3] = [
    not_ours(&["instructions, lo: not ours"], &["lo: not ours"]),
    not_ours(&["instructions, wire: not ours"], &["wire: not ours"]),
    not_ours(&["instructions, xdp: not ours"], &["xdp: not ours"]),
];

const fn not_ours(instructions: &'static [&'static str], time: &'static [&'static str]) -> [Goal; 2] {
    const ANY: Goal = Goal {
        group: "program",
        names: &[],
        ours: BPFECHO,
        against: &[Nothing],
        wanted: AtMost(10.0),
        tolerated: None,
    };
    [
        Goal { names: instructions, wanted: AtMost(15.0), tolerated: Some(AtMost(30.0)), ..ANY },
        Goal { names: time, ..ANY },
    ]
}

/// A target, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The measure, with its group.
    pub(crate) text: String,
    /// What is measured.
    pub(crate) unit: Unit,
    /// The median of ours, unless it is void.
    pub(crate) ours: Option<f64>,
    /// The median of the other, and who that is, if there is one to compare with.
    pub(crate) other: Option<(&'static str, f64)>,
    /// Of ours to the other's.
    pub(crate) ratio: Option<f64>,
    /// What is wanted of the ratio, or of ours.
    pub(crate) wanted: Bound,
    /// Whether it is wanted of ours.
    pub(crate) is_absolute: bool,
    tolerated: Option<Bound>,
}

impl Target {
    /// What the bounds are about.
    fn figure(&self) -> Option<f64> {
        self.ratio.or(self.ours)
    }

    /// Whether the target is met.
    pub(crate) fn is_met(&self) -> bool {
        self.figure().is_some_and(|figure| self.wanted.holds(figure))
    }

    /// Whether it is missed by so much that something must be broken, on however busy a machine.
    pub(crate) fn is_missed_grossly(&self) -> bool {
        self.figure().is_none_or(|figure| self.tolerated.is_some_and(|bound| !bound.holds(figure)))
    }
}

/// All targets whose measure was taken, of ours and of what it is compared with.
pub(crate) fn targets(results: &Results) -> Vec<Target> {
    let plain = GOALS.iter().flat_map(|goal| goal.targets(results));
    let not_ours = NOT_OURS.iter().filter_map(|alternatives| {
        let of_all: Vec<Target> = alternatives.iter().flat_map(|goal| goal.targets(results)).collect();
        of_all.iter().find(|target| target.is_met()).or(of_all.first()).cloned()
    });
    plain.chain(not_ours).collect()
}

impl Goal {
    fn targets(&self, results: &Results) -> Vec<Target> {
        let of_all = results.measures.iter();
        let measures =
            of_all.filter(|measure| measure.group == self.group && self.names.contains(&&*measure.name));
        measures
            .flat_map(|measure| self.against.iter().filter_map(|against| self.target(measure, *against)))
            .collect()
    }

    fn target(&self, measure: &Measure, against: Against) -> Option<Target> {
        let is_absolute = matches!(against, Nothing);
        let ours = match &measure.rows.iter().find(|row| row.subject == self.ours)?.outcome {
            Outcome::Values(values) => Some(values),
            Outcome::Void(_) => None,
            Outcome::Absent(_) => return None,
        };
        let other = against.of(measure);
        if ours.is_some() && other.is_none() && !is_absolute {
            return None;
        }
        Some(Target {
            text: format!("{}, {}", measure.group, measure.name),
            unit: measure.unit,
            ours: ours.and_then(|values| median(values)),
            other: other.and_then(|(subject, values)| Some((subject, median(values)?))),
            ratio: ours.zip(other).and_then(|(ours, (_, others))| ratio(ours, others)),
            wanted: self.wanted,
            is_absolute,
            tolerated: self.tolerated,
        })
    }
}

impl Against {
    /// Who that is in `measure`, and its numbers.
    fn of(self, measure: &Measure) -> Option<(&'static str, &[f64])> {
        let numbers = measure.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Values(values) if values.iter().all(|value| *value > 0.0) => {
                Some((row.subject, &**values))
            }
            _ => None,
        });
        let mut candidates: Vec<_> = numbers
            .filter(|(subject, _)| match self {
                Nothing => false,
                Subject(other) => *subject == other,
                BestPeer => PEERS.contains(subject),
            })
            .collect();
        candidates
            .sort_by(|(_, a), (_, b)| f64::total_cmp(&median(a).unwrap_or(0.0), &median(b).unwrap_or(0.0)));
        candidates.pop()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    Summary::of(values).map(|summary| summary.median)
}

/// The median of the ratios of each round. In a round both were measured one after the other, so what the machine
/// did to both of them cancels out, which in the ratio of two medians of different rounds it does not.
fn ratio(ours: &[f64], others: &[f64]) -> Option<f64> {
    let of_rounds: Vec<f64> = ours.iter().zip(others).map(|(ours, other)| ours / other).collect();
    median(&of_rounds)
}
