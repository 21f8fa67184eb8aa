//! Words for numbers and lists of things.

use std::fmt::Display;
use std::time::Duration;

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match (items.pop(), items.as_slice()) {
        (None, _) => String::new(),
        (Some(only), []) => only,
        (Some(last), first) => format!("{} and {last}", first.join(", ")),
    }
}

/// A number of things: `1 packet`, `2 packets`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// How often something happened in a second, of `count` times in `time`, in three digits: `7`, `123`, `1.23 k`,
/// `45.6 M`. In whole numbers, as all the rest: floating point takes kilobytes of a static binary.
pub fn rate(count: u64, time: Duration) -> String {
    let count = u128::from(count) * 1_000_000_000;
    let mut divisor = time.as_nanos().max(1);
    let mut units = ["", " k", " M", " G", " T", " P"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    let rounded = |power: u128, divisor: u128| (count * power + divisor / 2) / divisor;
    // What would be rounded to 1000 gets the next unit.
    while rounded(1, divisor) >= 1000 {
        let Some(next) = units.next() else { break };
        (divisor, unit) = (divisor.saturating_mul(1000), next);
    }
    let (hundredths, tenths) = (rounded(100, divisor), rounded(10, divisor));
    match unit {
        "" => format!("{}", rounded(1, divisor)),
        _ if hundredths < 1000 => format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100),
        _ if tenths < 1000 => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        _ => format!("{}{unit}", rounded(1, divisor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers() {
        assert_eq!(list([0; 0]), "");
        assert_eq!(list([7]), "7");
        assert_eq!(list([7, 8]), "7 and 8");
        assert_eq!(list([7, 8, 9]), "7, 8 and 9");
        assert_eq!([0, 1, 2].map(|count| counted(count, "byte")), ["0 bytes", "1 byte", "2 bytes"]);
    }

    #[test]
    fn rates_have_three_digits() {
        let said = [0, 7, 999, 1000, 9994, 9995, 12_345, 99_950, 999_499, 999_500, 123_456_789]
            .map(|count| rate(count, Duration::from_secs(1)));
        let expected =
            ["0", "7", "999", "1.00 k", "9.99 k", "10.0 k", "12.3 k", "100 k", "999 k", "1.00 M", "123 M"];
        assert_eq!(said, expected);
        assert_eq!(rate(3, Duration::from_millis(500)), "6");
        assert_eq!(rate(u64::MAX, Duration::from_secs(1)), "18447 P");
    }
}
