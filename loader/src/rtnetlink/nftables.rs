//! Rules of nftables by which packets may be dropped for the state of their connection. Pure but for [`tracking_rules`].

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use netlink_packet_core::parse_string;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::answer::{Malformed, attributes};
use super::error::NetlinkError;
use super::netlink::Netlink;
use super::request::Request;

/// `struct nfgenmsg`.
const HEADER_SIZE: usize = 4;

/// Attributes (linux/netfilter/nf_tables.h).
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_CT_KEY: u16 = 2;
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;

/// NFT_CT_STATE, the key of a connection's state, in network byte order as all numbers here.
const STATE: [u8; 4] = [0; 4];

/// NF_DROP.
const DROP: [u8; 4] = [0; 4];

/// NF_CT_STATE_INVALID_BIT, in a register: in this machine's byte order.
const INVALID: u32 = 1;

/// What rules do with the state of connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackingRules {
    /// The chains in which packets may be dropped because their connection is invalid, each as `table chain`.
    pub dropping: Vec<String>,
    /// Whether some packets are not tracked.
    pub has_notrack: bool,
}

/// What the rules of this network namespace do with the state of connections. Rules of the older kind, which iptables
/// makes without nftables, are not seen.
///
/// # Errors
///
/// [`NetlinkError`]: EPERM without CAP_NET_ADMIN, EPROTONOSUPPORT or EINVAL from a kernel without nftables.
pub fn tracking_rules() -> Result<TrackingRules, NetlinkError> {
    let mut netlink = Netlink::open_protocol(NETLINK_NETFILTER)?;
    let rules = netlink.list(&Request::list_rules(), |payload| rule(payload).map(Some))?;
    let dropping: BTreeSet<String> =
        rules.iter().filter(|rule| rule.drops_invalid).map(|rule| rule.chain.clone()).collect();
    let has_notrack = rules.iter().any(|rule| rule.is_notrack);
    Ok(TrackingRules { dropping: dropping.into_iter().collect(), has_notrack })
}

struct Rule {
    chain: String,
    drops_invalid: bool,
    is_notrack: bool,
}

fn rule(payload: &[u8]) -> Result<Rule, Malformed> {
    let body = payload.get(HEADER_SIZE..).ok_or("truncated rule header")?;
    let (mut table, mut chain, mut expressions) = (None, None, Vec::new());
    for attribute in attributes(body) {
        match attribute.kind() {
            NFTA_RULE_TABLE => table = parse_string(attribute.value()).ok(),
            NFTA_RULE_CHAIN => chain = parse_string(attribute.value()).ok(),
            NFTA_RULE_EXPRESSIONS => {
                expressions =
                    attributes(attribute.value()).filter_map(|one| expression(one.value())).collect();
            }
            _ => {}
        }
    }
    let table = table.ok_or("rule without a table")?;
    let chain = chain.ok_or("rule without a chain")?;
    let has = |wanted: Expression| expressions.contains(&wanted);
    // `ct state invalid drop`, or a map from states to verdicts. A rule that does not look at a mask looks at one state.
    let is_about_invalid = has(Expression::State) && !has(Expression::OtherStates);
    let drops_invalid = is_about_invalid && (has(Expression::Drop) || has(Expression::Map));
    Ok(Rule { chain: format!("{table} {chain}"), drops_invalid, is_notrack: has(Expression::NoTrack) })
}

/// A part of a rule, as far as it matters here.
#[derive(PartialEq, Eq)]
enum Expression {
    /// Loads the state.
    State,
    /// Masks something in which the bit of invalid connections is not.
    OtherStates,
    /// Drops or rejects.
    Drop,
    /// Looks a verdict up.
    Map,
    /// Has a packet not tracked.
    NoTrack,
}

fn expression(bytes: &[u8]) -> Option<Expression> {
    let name = attributes(bytes).find(|attribute| attribute.kind() == NFTA_EXPR_NAME)?;
    let name = parse_string(name.value()).ok()?;
    let data = value(bytes, NFTA_EXPR_DATA).unwrap_or_default();
    match name.as_str() {
        "ct" => (value(&data, NFTA_CT_KEY)? == STATE).then_some(Expression::State),
        // Of iptables: which state is in a structure of its own, so any counts.
        "match" => (value(&data, NFTA_MATCH_NAME)? == b"conntrack\0").then_some(Expression::State),
        "bitwise" => {
            let mask = value(&value(&data, NFTA_BITWISE_MASK)?, NFTA_DATA_VALUE)?;
            let mask = u32::from_ne_bytes(mask.try_into().ok()?);
            (mask & INVALID == 0).then_some(Expression::OtherStates)
        }
        "immediate" => {
            let verdict = value(&value(&data, NFTA_IMMEDIATE_DATA)?, NFTA_DATA_VERDICT)?;
            (value(&verdict, NFTA_VERDICT_CODE)? == DROP).then_some(Expression::Drop)
        }
        "reject" => Some(Expression::Drop),
        "lookup" => value(&data, NFTA_LOOKUP_DREG).map(|_| Expression::Map),
        "notrack" => Some(Expression::NoTrack),
        _ => None,
    }
}

/// The value of the attribute `kind` among those in `bytes`.
fn value(bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    attributes(bytes).find(|attribute| attribute.kind() == kind).map(|attribute| attribute.value().to_vec())
}
