//! The result, check by machine.

use std::fmt::Write as _;

use crate::console::{Console, Outcome};

/// A table with a row for each check and a column for each machine.
pub(crate) fn table(columns: &[(&str, &Console)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, console) in columns {
        for check in &console.checks {
            if !names.contains(&check.name.as_str()) {
                names.push(&check.name);
            }
        }
    }
    let mut rows = vec![vec!["check"]];
    rows[0].extend(columns.iter().map(|(machine, _)| *machine));
    for name in names {
        let mut row = vec![name];
        row.extend(columns.iter().map(|(_, console)| {
            let check = console.checks.iter().find(|check| check.name == name);
            check.map_or("-", |check| match check.outcome {
                Outcome::Ok => "ok",
                Outcome::NotHere => "not here",
                Outcome::Failed => "FAIL",
            })
        }));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_for_each_machine() {
        let old = Console::parse("@ begin echo\n@ end 0\n@ begin tcx\nnot here: why\n@ end 0\n");
        let new = Console::parse("@ begin echo\n@ end 1\n@ begin tcx\n@ end 0\n@ begin more\n@ end 0\n");
        let expected = "check  5.10      7.2\n\
                        echo   ok        FAIL\n\
                        tcx    not here  ok\n\
                        more   -         ok\n";
        assert_eq!(table(&[("5.10", &old), ("7.2", &new)]), expected);
    }
}
