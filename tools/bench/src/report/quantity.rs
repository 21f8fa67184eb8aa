//! Numbers as people read them.

use crate::results::{Summary, Unit};

/// `value` with its unit, as `6.0 us` or `345 k/s`.
pub(super) fn quantity(value: f64, unit: Unit) -> String {
    let scale = Scale::of(value, unit);
    format!("{}{}", scale.digits(value), scale.suffix)
}

/// The median and in brackets the smallest and the largest, as `6.0 us (5.9–6.4)`, unless all of them read the same.
pub(super) fn with_spread(summary: Summary, unit: Unit) -> String {
    let scale = Scale::of(summary.median, unit);
    let [median, low, high] = [summary.median, summary.low, summary.high].map(|value| scale.digits(value));
    if low == high {
        format!("{median}{}", scale.suffix)
    } else {
        format!("{median}{} ({low}–{high})", scale.suffix)
    }
}

/// How the numbers of one cell are written.
struct Scale {
    divisor: f64,
    suffix: &'static str,
    decimals: usize,
}

impl Scale {
    fn of(value: f64, unit: Unit) -> Self {
        let (most_decimals, steps): (_, &[_]) = match unit {
            Unit::Nanoseconds => (1, &[(1.0, " ns"), (1e3, " us"), (1e6, " ms"), (1e9, " s")]),
            Unit::Milliseconds => (1, &[(1e-3, " us"), (1.0, " ms"), (1e3, " s")]),
            Unit::PerSecond => (2, &[(1.0, "/s"), (1e3, " k/s"), (1e6, " M/s")]),
            Unit::GigabytesPerSecond => (2, &[(1e-3, " MB/s"), (1.0, " GB/s")]),
            Unit::Instructions => (0, &[(1.0, "")]),
        };
        let fits = |&&(divisor, _): &&(f64, _)| value >= divisor;
        let (divisor, suffix) = *steps.iter().rev().find(fits).unwrap_or(&steps[0]);
        let decimals = match value / divisor {
            ..10.0 => 2,
            ..100.0 => 1,
            _ => 0,
        };
        Self { divisor, suffix, decimals: decimals.min(most_decimals) }
    }

    fn digits(&self, value: f64) -> String {
        format!("{:.*}", self.decimals, value / self.divisor)
    }
}

/// Whether more of it is better.
pub(super) fn is_rate(unit: Unit) -> bool {
    matches!(unit, Unit::PerSecond | Unit::GigabytesPerSecond)
}
