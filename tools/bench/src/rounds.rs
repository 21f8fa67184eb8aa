//! Rounds: whatever is compared takes turns, so that what the machine does meanwhile befalls all of it.

use crate::results::{Measure, Outcome, Row, Unit};

/// What is measured of several subjects.
pub(crate) struct Task<'a> {
    /// See [`Measure::group`].
    pub(crate) group: &'static str,
    /// The names and units of what a turn yields.
    pub(crate) measures: Vec<(String, Unit)>,
    /// Of whom.
    pub(crate) entries: Vec<Entry<'a>>,
}

/// A subject of a task.
pub(crate) struct Entry<'a> {
    /// One of [`crate::subject`].
    pub(crate) subject: &'static str,
    /// Its turn, or why it has none.
    pub(crate) turn: Result<Turn<'a>, String>,
}

/// Takes each measure once, or says how the subject failed.
pub(crate) type Turn<'a> = Box<dyn Fn() -> Result<Vec<f64>, String> + 'a>;

/// What has come of an entry so far: the values of each round, how it failed, or why it was not measured.
enum State {
    Valid(Vec<Vec<f64>>),
    Void(String),
    Absent(String),
}

/// Takes the measures of `tasks`: in each round all tasks, of each all subjects.
pub(crate) fn measure(tasks: &[Task], rounds: u32) -> Vec<Measure> {
    let start = |entry: &Entry| match &entry.turn {
        Ok(_) => State::Valid(Vec::new()),
        Err(why) => State::Absent(why.clone()),
    };
    let mut states: Vec<Vec<State>> =
        tasks.iter().map(|task| task.entries.iter().map(start).collect()).collect();
    for _ in 0..rounds {
        for (task, states) in tasks.iter().zip(&mut states) {
            for (entry, state) in task.entries.iter().zip(states) {
                take(entry, state);
            }
        }
    }
    tasks.iter().zip(&states).flat_map(|(task, states)| measures(task, states)).collect()
}

/// One turn of an entry, unless it has failed before.
fn take(entry: &Entry, state: &mut State) {
    if let (Ok(turn), State::Valid(rounds)) = (&entry.turn, &mut *state) {
        match turn() {
            Ok(values) => rounds.push(values),
            Err(how) => *state = State::Void(how),
        }
    }
}

fn measures<'a>(task: &'a Task, states: &'a [State]) -> impl Iterator<Item = Measure> + 'a {
    task.measures.iter().enumerate().map(move |(index, (name, unit))| {
        let outcome = |state: &State| match state {
            State::Valid(rounds) => Outcome::Values(rounds.iter().map(|values| values[index]).collect()),
            State::Void(how) => Outcome::Void(how.clone()),
            State::Absent(why) => Outcome::Absent(why.clone()),
        };
        let rows = task.entries.iter().zip(states);
        let rows =
            rows.map(|(entry, state)| Row { subject: entry.subject, outcome: outcome(state) }).collect();
        Measure { group: task.group, name: name.clone(), unit: *unit, rows }
    })
}
