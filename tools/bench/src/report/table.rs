//! The text for people: on a terminal of [`WIDTH`] columns, and in a code block of a README.

use std::fmt::Write as _;

use super::quantity::{quantity, with_spread};
use super::{Settings, Target, targets::Bound};
use crate::results::{Measure, Outcome, Results, Row, Summary};

const WIDTH: usize = 120;
const GAP: usize = 2;

/// Cells, one below the other; the first is the title.
type Column = Vec<String>;

/// The machine, a table for each group, and the targets.
pub(super) fn text(results: &Results, settings: &Settings, targets: &[Target]) -> String {
    let machine = &settings.machine;
    let rounds = match settings.rounds {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds (smallest–largest)"),
    };
    let run = if settings.short { "short run, " } else { "" };
    let said =
        [machine.program(), machine.hardware(), machine.conditions(), format!("{run}medians of {rounds}")];
    let mut text = said.iter().map(|line| wrapped(line, "")).collect::<String>();
    for group in groups(results) {
        let _ = write!(text, "\n{}", group_table(&group));
    }
    if !targets.is_empty() {
        let _ = write!(text, "\n{}", targets_table(targets));
    }
    text
}

/// The measures of each group, in the order in which they were taken.
fn groups(results: &Results) -> Vec<Vec<&Measure>> {
    let mut groups: Vec<Vec<&Measure>> = Vec::new();
    for measure in &results.measures {
        match groups.iter_mut().find(|group| group[0].group == measure.group) {
            Some(group) => group.push(measure),
            None => groups.push(vec![measure]),
        }
    }
    groups
}

/// A row for each measure and a column for each subject, or the other way round if only that fits.
fn group_table(measures: &[&Measure]) -> String {
    let mut names = vec![measures[0].group.to_owned()];
    names.extend(measures.iter().map(|measure| measure.name.clone()));
    let mut columns = vec![names];
    for subject in subjects(measures) {
        let cells = measures.iter().map(|measure| cell(measure, subject));
        columns.push([subject.to_owned()].into_iter().chain(cells).collect());
    }
    let turned: Vec<Column> = (0..=measures.len())
        .map(|row| columns.iter().map(|column| column[row].clone()).collect::<Column>())
        .collect();
    let mut tables = if total_width(&columns) > WIDTH && total_width(&turned) <= WIDTH {
        vec![grid(&turned)]
    } else {
        blocks(columns).iter().map(|block| grid(block)).collect()
    };
    tables.push(notes(measures));
    tables.retain(|table| !table.is_empty());
    tables.join("\n")
}

/// What of `columns` fits side by side, each time with the names in front of it.
fn blocks(mut columns: Vec<Column>) -> Vec<Vec<Column>> {
    let names = columns.remove(0);
    let mut blocks: Vec<Vec<Column>> = Vec::new();
    for column in columns {
        match blocks.last_mut() {
            Some(block) if total_width(block) + GAP + width(&column) <= WIDTH => block.push(column),
            _ => blocks.push(vec![names.clone(), column]),
        }
    }
    blocks
}

/// Whoever was measured in one of `measures`.
fn subjects(measures: &[&Measure]) -> Vec<&'static str> {
    let mut subjects = Vec::new();
    for row in measures.iter().flat_map(|measure| &measure.rows) {
        if !matches!(row.outcome, Outcome::Absent(_)) && !subjects.contains(&row.subject) {
            subjects.push(row.subject);
        }
    }
    subjects
}

fn cell(measure: &Measure, subject: &str) -> String {
    match measure.rows.iter().find(|row| row.subject == subject).map(|row| &row.outcome) {
        Some(Outcome::Values(values)) => {
            Summary::of(values).map_or_else(String::new, |summary| with_spread(summary, measure.unit))
        }
        Some(Outcome::Void(_)) => "void".to_owned(),
        Some(Outcome::Absent(_)) => "-".to_owned(),
        None => String::new(),
    }
}

/// Why there is no number, once for all measures that lack it for the same reason.
fn notes(measures: &[&Measure]) -> String {
    let mut notes: Vec<(&Row, Vec<&str>)> = Vec::new();
    for measure in measures {
        for row in measure.rows.iter().filter(|row| !matches!(row.outcome, Outcome::Values(_))) {
            match notes.iter_mut().find(|(noted, _)| *noted == row) {
                Some((_, names)) => names.push(&measure.name),
                None => notes.push((row, vec![&measure.name])),
            }
        }
    }
    let note = |(row, names): &(&Row, Vec<&str>)| {
        let (mark, why) = match &row.outcome {
            Outcome::Values(_) => return String::new(),
            Outcome::Void(how) => ("void", how),
            Outcome::Absent(why) => ("-", why),
        };
        let names =
            if names.len() == measures.len() { String::new() } else { format!(", {}", names.join("; ")) };
        wrapped(&format!("{mark}  {}{names}: {why}", row.subject), "    ")
    };
    notes.iter().map(note).collect()
}

fn targets_table(targets: &[Target]) -> String {
    let titles = ["targets", "bpfecho", "other", "", "ratio", "wanted", "met"];
    let mut columns = titles.map(|title| vec![title.to_owned()]);
    for target in targets {
        for (column, cell) in columns.iter_mut().zip(target_row(target)) {
            column.push(cell);
        }
    }
    format!("{}\nA ratio is the median of those of each round.\n", grid(&columns))
}

fn target_row(target: &Target) -> [String; 7] {
    let (who, others) =
        target.other.map_or(("", String::new()), |(who, value)| (who, quantity(value, target.unit)));
    let met = match (target.is_met(), target.is_missed_grossly()) {
        (true, _) => "yes",
        (false, false) => "no",
        (false, true) => "NO, by far",
    };
    let (sign, bound) = match target.wanted {
        Bound::AtMost(bound) => ("≤", bound),
        Bound::AtLeast(bound) => ("≥", bound),
    };
    let wanted = if target.is_absolute { quantity(bound, target.unit) } else { format!("{bound:.2}") };
    [
        target.text.clone(),
        target.ours.map_or_else(|| "void".to_owned(), |ours| quantity(ours, target.unit)),
        others,
        who.to_owned(),
        target.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        format!("{sign} {wanted}"),
        met.to_owned(),
    ]
}

/// `columns` side by side, without rows that have nothing but a name.
fn grid(columns: &[Column]) -> String {
    let widths: Vec<usize> = columns.iter().map(|column| width(column)).collect();
    let rows = (0..columns[0].len()).filter(|row| columns[1..].iter().any(|column| !column[*row].is_empty()));
    rows.map(|row| {
        let cells = columns.iter().zip(&widths).map(|(column, width)| format!("{:width$}", column[row]));
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned() + "\n"
    })
    .collect()
}

fn width(column: &[String]) -> usize {
    column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn total_width(columns: &[Column]) -> usize {
    columns.iter().map(|column| width(column) + GAP).sum::<usize>() - GAP
}

/// `text` in lines that fit, all but the first behind `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(WIDTH).subsequent_indent(indent)) + "\n"
}
