//! What was measured.

use crate::subject::FORKING;

/// All that one run has measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// In the order in which they were taken.
    pub measures: Vec<Measure>,
}

impl Results {
    /// Whether any subject has failed, other than those that others have written and that are as good as they are.
    pub fn is_void(&self) -> bool {
        let rows = self.measures.iter().flat_map(|measure| &measure.rows);
        rows.filter(|row| !FORKING.contains(&row.subject)).any(|row| matches!(row.outcome, Outcome::Void(_)))
    }
}

/// One measure of all subjects that can have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What belongs together, as `ping-pong`.
    pub group: &'static str,
    /// What distinguishes it in its group, as `p50, 64 B, TCP_NODELAY`. With the group it is unique.
    pub name: String,
    /// What the numbers are in.
    pub unit: Unit,
    /// A row for each subject.
    pub rows: Vec<Row>,
}

/// A measure of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured, one of [`crate::subject`].
    pub subject: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a measure of a subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A number from each round, at least one.
    Values(Vec<f64>),
    /// The subject returned a wrong byte or lost a request: how.
    Void(String),
    /// The subject was not measured: why.
    Absent(String),
}

/// Units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of time; less is better.
    Nanoseconds,
    /// Of time; less is better.
    Milliseconds,
    /// Requests, connections or packets per second; more is better.
    PerSecond,
    /// Of payload each way, 10^9 bytes; more is better.
    GigabytesPerSecond,
    /// Of the program in the kernel; less is better.
    Instructions,
}

/// The numbers of several rounds in three.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Summary {
    /// Of `values`, of which there is at least one; `None` if there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, low, high })
    }
}
