//! Sets of ports.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use probe::abi::map::PORT_WORDS;

use crate::text::list;

/// A set of ports, none of them zero: ranges that neither overlap nor touch, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl FromIterator<RangeInclusive<u16>> for Ports {
    /// The ports of all these ranges, less port 0.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u16>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges
            .into_iter()
            .map(|range| *range.start().max(&1)..=*range.end())
            .filter(|range| !range.is_empty())
            .collect();
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self::from_iter([port..=port])
    }
}

impl FromStr for Ports {
    type Err = String;

    /// Reads a list of ports and ranges such as `7,2000-2999`. The error names the part that is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let port = |word: &str| match word.parse() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(format!("`{word}` is not a port: ports are numbers from 1 to 65535")),
        };
        text.split(',')
            .map(|part| match part.split_once('-') {
                None => port(part).map(|port| port..=port),
                Some((first, last)) => match (port(first)?, port(last)?) {
                    (first, last) if first <= last => Ok(first..=last),
                    (first, last) => Err(format!("`{part}` holds no port: did you mean {last}-{first}?")),
                },
            })
            .collect()
    }
}

impl Ports {
    /// The ports of both sets.
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }

    /// Whether there is no port.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// The lowest port.
    pub fn first(&self) -> Option<u16> {
        self.0.first().map(|range| *range.start())
    }

    /// The highest port.
    pub fn last(&self) -> Option<u16> {
        self.0.last().map(|range| *range.end())
    }

    /// All ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().cloned().flatten()
    }

    /// The entries of the map [`probe::abi::map::PORTS`].
    pub fn words(&self) -> Vec<u64> {
        let mut words = vec![0; PORT_WORDS as usize];
        for port in self.iter() {
            words[usize::from(port / 64)] |= 1 << (port % 64);
        }
        words
    }

    /// As on the command line: `7,1122,2000-2999`.
    pub fn compact(&self) -> String {
        self.parts().collect::<Vec<_>>().join(",")
    }

    /// Each range as it is typed.
    fn parts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
    }
}

impl fmt::Display for Ports {
    /// `7, 1122 and 2000-2999`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&list(self.parts()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Ports {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn lists_and_ranges() {
        for (text, shown, compact) in [
            ("7", "7", "7"),
            ("7-7", "7", "7"),
            ("1122,7", "7 and 1122", "7,1122"),
            ("2000-2999,7,1122", "7, 1122 and 2000-2999", "7,1122,2000-2999"),
            ("2000,2001", "2000-2001", "2000-2001"),
            ("5-9,1-6,20", "1-9 and 20", "1-9,20"),
            ("1-100,5-9,50", "1-100", "1-100"),
            ("65535,1-65534", "1-65535", "1-65535"),
        ] {
            assert_eq!((ports(text).to_string().as_str(), ports(text).compact().as_str()), (shown, compact));
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (text, word) in [
            ("", ""),
            ("0", "0"),
            ("65536", "65536"),
            ("7,,8", ""),
            ("7-", ""),
            ("0-7", "0"),
            ("1-2-3", "2-3"),
        ] {
            let reason = format!("`{word}` is not a port: ports are numbers from 1 to 65535");
            assert_eq!(text.parse::<Ports>(), Err(reason), "{text}");
        }
        assert_eq!("9-7".parse::<Ports>(), Err("`9-7` holds no port: did you mean 7-9?".into()));
    }

    #[test]
    fn sets() {
        let set = ports("7,63-65,65535");
        assert_eq!(set.iter().collect::<Vec<_>>(), [7, 63, 64, 65, 65535]);
        assert_eq!((set.first(), set.last()), (Some(7), Some(65535)));
        assert_eq!(set.union(&ports("8,66")), ports("7-8,63-66,65535"));
        let words = set.words();
        assert_eq!(words.len(), 1024);
        assert_eq!((words[0], words[1], words[1023]), (1 << 7 | 1 << 63, 3, 1 << 63));
        assert_eq!(words.iter().map(|word| word.count_ones()).sum::<u32>(), 5);
        assert_eq!(ports("1-65535").words().iter().map(|word| word.count_ones()).sum::<u32>(), 65535);
        let none = Ports::from_iter([0..=0, RangeInclusive::new(9, 7)]);
        assert!(none.is_empty() && none.first().is_none() && none.words().iter().all(|word| *word == 0));
        assert_eq!(Ports::from(7), ports("7"));
    }
}
