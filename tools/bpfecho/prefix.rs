//! Addresses, alone and as networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How many bits stand in front of an IPv4 address that is mapped into IPv6 (RFC 4291 2.5.5.2).
const MAPPED: u8 = 96;

/// All addresses that begin with the same bits. Sorted IPv4 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why a text is not a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// What should be an address is not.
    Address(String),
    /// The length is not a number of bits of the address.
    Length {
        /// The text.
        text: String,
        /// 4 or 6.
        version: u8,
    },
    /// Bits of the address behind the length are set.
    HostBits {
        /// The text.
        text: String,
        /// Without these bits.
        network: Prefix,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(formatter, "`{text}` is not an IP address"),
            Self::Length { text, version } => {
                let bits = if *version == 4 { 32 } else { 128 };
                write!(
                    formatter,
                    "`{text}`: the length of an IPv{version} prefix is a number from 0 to {bits}"
                )
            }
            Self::HostBits { text, network } => {
                write!(
                    formatter,
                    "`{text}` has bits behind its length set: did you mean {}/{}?",
                    network.address, network.length
                )
            }
        }
    }
}

impl std::error::Error for PrefixError {}

impl From<IpAddr> for Prefix {
    /// The single address; one of IPv4 that is mapped into IPv6 is the IPv4 address it means.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, length: bits(address) }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `ADDRESS` or `ADDRESS/LENGTH`.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address(address.into()))?;
        let Some(length) = length else { return Ok(address.into()) };
        let version = if address.is_ipv4() { 4 } else { 6 };
        let length = length
            .parse()
            .ok()
            .filter(|length| *length <= bits(address))
            .ok_or(PrefixError::Length { text: text.into(), version })?;
        let network = Self::network(address, length);
        if network.address != address {
            return Err(PrefixError::HostBits { text: text.into(), network });
        }
        Ok(network.canonical())
    }
}

impl Prefix {
    /// Where no host has an address: multicast and what is reserved, "this network" (RFC 1122 3.2.1.3).
    pub const NOBODY: [Self; 4] =
        [Self::ipv4([224, 0, 0, 0], 3), Self::ipv4([0; 4], 8), Self::ipv6(0xff00, 8), Self::ipv6(0, 128)];

    /// Every IPv4 address, and every IPv6 address.
    pub const EVERYBODY: [Self; 2] = [Self::ipv4([0; 4], 0), Self::ipv6(0, 0)];

    /// This host itself, whoever is asked.
    pub const LOOPBACK: [Self; 2] =
        [Self::ipv4([127, 0, 0, 0], 8), Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), length: 128 }];

    /// The network of `length` bits that `address` is in; with more bits than it has, the address alone.
    pub fn network(address: IpAddr, length: u8) -> Self {
        let length = length.min(bits(address));
        // No bit is left of a number that is shifted by all of its bits.
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        Self { address, length }
    }

    /// The IPv4 prefix that is meant by one of IPv4 addresses mapped into IPv6.
    fn canonical(self) -> Self {
        match self.address.to_canonical() {
            address @ IpAddr::V4(_) if self.address.is_ipv6() && self.length >= MAPPED => {
                Self { address, length: self.length - MAPPED }
            }
            _ => self,
        }
    }

    /// The first address: all bits behind [`length`](Self::length) are zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all of its addresses begin with: up to 32 for IPv4, 128 for IPv6.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The last IPv4 address: that of all hosts, in a network that has one. `None` for IPv6.
    pub fn last_ipv4(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(address) = self.address else { return None };
        let hosts = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
        Some(Ipv4Addr::from_bits(address.to_bits() | hosts))
    }

    /// Whether it is one address.
    pub fn is_single(&self) -> bool {
        self.length == bits(self.address)
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && Self::network(address, self.length).address == self.address
    }

    /// Whether all of it is in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.length >= other.length && other.contains(self.address)
    }

    /// Whether all of it is in one of `others`.
    pub fn is_within_any(&self, others: &[Self]) -> bool {
        others.iter().any(|other| self.is_within(other))
    }

    /// The prefix of an IPv4 address, of which no bit behind `length` is set.
    const fn ipv4([a, b, c, d]: [u8; 4], length: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
    }

    /// The prefix of an IPv6 address of which no bit is set but of these first 16.
    const fn ipv6(first: u16, length: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), length }
    }

    /// The bytes of a [`probe::abi::Prefix`].
    pub fn key(&self) -> [u8; size_of::<probe::abi::Prefix>()] {
        let (length, address) = match self.address {
            IpAddr::V4(address) => (MAPPED + self.length, address.to_ipv6_mapped()),
            IpAddr::V6(address) => (self.length, address),
        };
        let mut key = [0; size_of::<probe::abi::Prefix>()];
        let (to_length, to_address) = key.split_at_mut(size_of::<u32>());
        to_length.copy_from_slice(&u32::from(length).to_ne_bytes());
        to_address.copy_from_slice(&address.octets());
        key
    }
}

/// How many bits an address has.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    /// `ADDRESS/LENGTH`, and without the length if it is one address.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)?;
        if self.is_single() { Ok(()) } else { write!(formatter, "/{}", self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn texts() {
        for (text, shown) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5/32", "10.0.0.5"),
            ("10.9.0.0/16", "10.9.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::5", "fd00::5"),
            ("fd00::/64", "fd00::/64"),
            ("::/0", "::/0"),
            ("::1/128", "::1"),
            ("::ffff:127.0.0.2", "127.0.0.2"),
            ("::ffff:10.9.0.0/112", "10.9.0.0/16"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(prefix(text).to_string(), shown);
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (text, reason) in [
            ("", "`` is not an IP address"),
            ("10.0.0.256/8", "`10.0.0.256` is not an IP address"),
            ("/8", "`` is not an IP address"),
            ("10.0.0.0/33", "`10.0.0.0/33`: the length of an IPv4 prefix is a number from 0 to 32"),
            ("10.0.0.0/", "`10.0.0.0/`: the length of an IPv4 prefix is a number from 0 to 32"),
            ("::/129", "`::/129`: the length of an IPv6 prefix is a number from 0 to 128"),
            ("::/8/8", "`::/8/8`: the length of an IPv6 prefix is a number from 0 to 128"),
            ("10.9.0.1/16", "`10.9.0.1/16` has bits behind its length set: did you mean 10.9.0.0/16?"),
            ("fd00::1/64", "`fd00::1/64` has bits behind its length set: did you mean fd00::/64?"),
            ("::ffff:0:0/80", "`::ffff:0:0/80` has bits behind its length set: did you mean ::/80?"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn what_is_in_it() {
        let network = prefix("10.9.0.0/16");
        for (address, is_in) in
            [("10.9.255.255", true), ("10.10.0.0", false), ("::ffff:10.9.0.1", true), ("fd00::1", false)]
        {
            assert_eq!(network.contains(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(prefix("::/0").contains("fd00::1".parse().unwrap()));
        // Although the keys say so: no IPv6 prefix has IPv4 addresses in it.
        assert!(!prefix("::/0").contains("10.9.0.1".parse().unwrap()));
        assert!(prefix("10.9.1.0/24").is_within(&network));
        assert!(network.is_within(&network));
        assert!(!prefix("10.0.0.0/8").is_within(&network));
        assert!(network.is_within(&prefix("0.0.0.0/0")));
        for (text, is_loopback) in [
            ("127.0.0.0/8", true),
            ("127.0.0.1", true),
            ("126.0.0.0/7", false),
            ("::1", true),
            ("::/127", false),
        ] {
            assert_eq!(prefix(text).is_within_any(&Prefix::LOOPBACK), is_loopback, "{text}");
        }
    }

    #[test]
    fn networks() {
        let network = |address: &str, length| Prefix::network(address.parse().unwrap(), length).to_string();
        assert_eq!(network("10.9.8.7", 16), "10.9.0.0/16");
        assert_eq!(network("10.9.8.7", 0), "0.0.0.0/0");
        assert_eq!(network("10.9.8.7", 32), "10.9.8.7");
        assert_eq!(network("fd00::7", 64), "fd00::/64");
        assert_eq!(network("fd00::7", 0), "::/0");
        let last = |text: &str| prefix(text).last_ipv4().map(|address| address.to_string());
        assert_eq!(last("10.9.0.0/16").as_deref(), Some("10.9.255.255"));
        assert_eq!(last("10.9.0.1").as_deref(), Some("10.9.0.1"));
        assert_eq!(last("0.0.0.0/0").as_deref(), Some("255.255.255.255"));
        assert_eq!(last("fd00::/64"), None);
    }

    #[test]
    fn keys_are_those_of_the_program() {
        let key = |text: &str| {
            let key = prefix(text).key();
            let (length, address) = key.split_at(4);
            let address = <[u8; 16]>::try_from(address).unwrap();
            (u32::from_ne_bytes(length.try_into().unwrap()), Ipv6Addr::from(address).to_string())
        };
        assert_eq!(key("0.0.0.0/0"), (96, "::ffff:0.0.0.0".into()));
        assert_eq!(key("10.9.0.0/16"), (112, "::ffff:10.9.0.0".into()));
        assert_eq!(key("10.9.0.1"), (128, "::ffff:10.9.0.1".into()));
        assert_eq!(key("::/0"), (0, "::".into()));
        assert_eq!(key("fd00::/64"), (64, "fd00::".into()));
    }
}
