//! Words for numbers and lists of things.

use std::fmt::Display;

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
}
