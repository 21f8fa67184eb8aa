//! Requests as bytes, and answers from bytes.
#![cfg(target_endian = "little")] // the bytes below are

use std::net::IpAddr;
use std::string::{String, ToString};
use std::vec::Vec;

use netlink_packet_route::AddressFamily;

use super::answer::{self, Ending, Message};
use super::request::Request;
use super::{Action, FilterInfo, Interface, InterfaceAddress, LinkKind, NetlinkError};
use crate::place::{IfIndex, Side, XdpMode};
use crate::sys::{Errno, Evidence};

const INDEX: IfIndex = IfIndex(3);
const SEQUENCE: u32 = 0x0a0b_0c0d;

/// Bytes from hexadecimal, whatever the spacing.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).expect("ASCII"), 16);
    digits.chunks(2).map(|pair| byte(pair).expect("hexadecimal")).collect()
}

fn ours() -> FilterInfo {
    FilterInfo {
        priority: 0xc000,
        handle: 1,
        protocol: 3,
        kind: "bpf".into(),
        name: Some("echo".into()),
        program_id: Some(0x1234),
        chain: 0,
    }
}

#[track_caller]
fn golden(request: &Request, bytes: &str) {
    assert_eq!(request.encode(SEQUENCE), hex(bytes));
}

/// `ip link show`, without its extended mask.
#[test]
fn list_interfaces() {
    golden(
        &Request::list_interfaces(),
        // length, RTM_GETLINK, REQUEST|DUMP, sequence, port; ifinfomsg
        "20000000 1200 0103 0d0c0b0a 00000000  00 00 0000 00000000 00000000 00000000",
    );
}

/// `ip address show` and `ip route show table all`
#[test]
fn list_addresses_and_routes() {
    golden(
        &Request::list_addresses(),
        // RTM_GETADDR, REQUEST|DUMP; ifaddrmsg
        "18000000 1600 0103 0d0c0b0a 00000000  00 00 00 00 00000000",
    );
    for (family, number) in [(AddressFamily::Inet, "02"), (AddressFamily::Inet6, "0a")] {
        golden(
            &Request::list_routes(family),
            // RTM_GETROUTE, REQUEST|DUMP; rtmsg
            &std::format!("1c000000 1a00 0103 0d0c0b0a 00000000  {number} 00 00 00 00 00 00 00 00000000"),
        );
    }
}

/// `ip link set eth0 allmulticast on`, and off
#[test]
fn all_multicast() {
    let bytes = |flags: &str| {
        // RTM_SETLINK, REQUEST|ACK; ifinfomsg with flags and the mask of those that change
        std::format!("20000000 1300 0500 0d0c0b0a 00000000  00 00 0000 03000000 {flags} 00020000")
    };
    golden(&Request::set_all_multicast(INDEX, true), &bytes("00020000"));
    golden(&Request::set_all_multicast(INDEX, false), &bytes("00000000"));
}

/// `ip link set eth0 xdpgeneric obj ...`, where nothing is yet, and `... off` for exactly that program
#[test]
fn xdp_programs() {
    let (native, generic) = (XdpMode::Native, XdpMode::Generic);
    // RTM_SETLINK, REQUEST|ACK; ifinfomsg; nested IFLA_XDP with IFLA_XDP_FD and IFLA_XDP_FLAGS
    let attach = |flags: &str| {
        std::format!(
            "34000000 1300 0500 0d0c0b0a 00000000  00 00 0000 03000000 00000000 00000000
             1400 2b00  0800 0100 09000000  0800 0300 {flags}000000"
        )
    };
    // UPDATE_IF_NOEXIST with DRV_MODE or SKB_MODE
    golden(&Request::attach_xdp(INDEX, 9, native), &attach("05"));
    golden(&Request::attach_xdp(INDEX, 9, generic), &attach("03"));
    // With IFLA_XDP_EXPECTED_FD behind them.
    let detach = |flags: &str| {
        std::format!(
            "3c000000 1300 0500 0d0c0b0a 00000000  00 00 0000 03000000 00000000 00000000
             1c00 2b00  0800 0100 ffffffff  0800 0300 {flags}000000  0800 0800 09000000"
        )
    };
    // REPLACE with the mode
    golden(&Request::detach_xdp(INDEX, 9, native), &detach("14"));
    golden(&Request::detach_xdp(INDEX, 9, generic), &detach("12"));
    let any = attach("04").replace("09000000", "ffffffff");
    golden(&Request::detach_any_xdp(INDEX, native), &any);
    golden(&Request::detach_any_xdp(INDEX, generic), &any.replace("04000000", "02000000"));
}

/// `tc qdisc show dev eth0`
#[test]
fn list_qdiscs() {
    golden(
        &Request::list_qdiscs(INDEX),
        // RTM_GETQDISC, REQUEST|DUMP; tcmsg: family, index, handle, parent, info
        "24000000 2600 0103 0d0c0b0a 00000000  00000000 03000000 00000000 00000000 00000000",
    );
}

/// `tc qdisc add dev eth0 clsact`
#[test]
fn add_clsact() {
    golden(
        &Request::add_clsact(INDEX),
        // RTM_NEWQDISC, REQUEST|ACK|EXCL|CREATE; ffff:0 on ffff:fff1; TCA_KIND
        "30000000 2400 0506 0d0c0b0a 00000000  00000000 03000000 0000ffff f1ffffff 00000000
         0b00 0100 636c7361637400 00",
    );
}

/// `tc qdisc del dev eth0 clsact`
#[test]
fn remove_clsact() {
    golden(
        &Request::remove_clsact(INDEX),
        // RTM_DELQDISC, REQUEST|ACK
        "30000000 2500 0500 0d0c0b0a 00000000  00000000 03000000 0000ffff f1ffffff 00000000
         0b00 0100 636c7361637400 00",
    );
}

/// `tc filter show dev eth0 ingress` and `... egress`
#[test]
fn list_filters() {
    let dump = |minor: &str| {
        std::format!(
            "24000000 2e00 0103 0d0c0b0a 00000000  00000000 03000000 00000000 {minor}ffffff 00000000"
        )
    };
    golden(&Request::list_filters(INDEX, Side::Ingress), &dump("f2"));
    golden(&Request::list_filters(INDEX, Side::Egress), &dump("f3"));
}

/// `tc filter add dev eth0 egress bpf direct-action object-pinned /sys/fs/bpf/echo`, with the name `echo`
#[test]
fn add_filter() {
    golden(
        &Request::add_filter(INDEX, Side::Egress, 9, "echo"),
        // RTM_NEWTFILTER, REQUEST|ACK|ECHO|EXCL|CREATE; no priority, ETH_P_ALL; TCA_KIND;
        // TCA_OPTIONS with TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS (direct action)
        "4c000000 2c00 0d06 0d0c0b0a 00000000  00000000 03000000 00000000 f3ffffff 00030000
         0800 0100 62706600
         2000 0200  0800 0600 09000000  0900 0700 6563686f00 000000  0800 0800 01000000",
    );
}

/// `tc filter get dev eth0 egress pref 49152 handle 1 bpf`
#[test]
fn read_filter() {
    golden(
        &Request::read_filter(INDEX, Side::Egress, &ours()),
        // RTM_GETTFILTER, REQUEST|ACK|ECHO
        "2c000000 2e00 0d00 0d0c0b0a 00000000  00000000 03000000 01000000 f3ffffff 000300c0
         0800 0100 62706600",
    );
}

/// `tc filter del dev eth0 ingress pref 49152 handle 1 bpf`, and one in chain 7
#[test]
fn remove_filter() {
    golden(
        &Request::remove_filter(INDEX, Side::Ingress, &ours()),
        // RTM_DELTFILTER, REQUEST|ACK
        "2c000000 2d00 0500 0d0c0b0a 00000000  00000000 03000000 01000000 f2ffffff 000300c0
         0800 0100 62706600",
    );
    let in_chain = FilterInfo { chain: 7, ..ours() };
    golden(
        &Request::remove_filter(INDEX, Side::Ingress, &in_chain),
        "34000000 2d00 0500 0d0c0b0a 00000000  00000000 03000000 01000000 f2ffffff 000300c0
         0800 0100 62706600  0800 0b00 07000000",
    );
}

/// An NLMSG_ERROR for `errno`, with the header of the request only (NLM_F_CAPPED) and, if there is one,
/// the kernel's text.
fn error_message(errno: i32, text: Option<&str>) -> Vec<u8> {
    let mut bytes = hex("00000000 0200 0001 0d0c0b0a 01000000");
    bytes.extend((-errno).to_ne_bytes());
    bytes.extend(hex("30000000 2400 0506 0d0c0b0a 00000000"));
    if let Some(text) = text {
        bytes[7] |= 0x02; // NLM_F_ACK_TLVS
        bytes.extend((text.len() as u16 + 5).to_ne_bytes());
        bytes.extend(1_u16.to_ne_bytes());
        bytes.extend(text.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn only_message(bytes: &[u8]) -> Message<'_> {
    let mut rest = bytes;
    let message = answer::next_message(&mut rest).expect("whole").expect("a message");
    assert_eq!(answer::next_message(&mut rest), Ok(None));
    message
}

/// What the error `bytes` reads as, in a process without capabilities.
fn decoded(action: Action, bytes: &[u8]) -> String {
    let message = only_message(bytes);
    assert_eq!((message.sequence, message.port), (SEQUENCE, 1));
    let Ok(Ending::Refusal { errno, text }) = answer::ending(&message) else {
        return String::from("not a refusal");
    };
    let evidence =
        || Evidence { capabilities: Some(0), knows_cap_bpf: true, kernel: Some((6, 1)), memlock: None };
    NetlinkError::refused_given(action, errno, text, evidence).to_string()
}

const ADD_CLSACT: Action = Action::AddClsact(INDEX);
const ADD_FILTER: Action = Action::AddFilter(INDEX, Side::Egress);

#[test]
fn no_clsact() {
    let hint = "this kernel has no clsact qdisc: CONFIG_NET_SCH_INGRESS (module sch_ingress)";
    assert_eq!(
        decoded(ADD_CLSACT, &error_message(2, Some("Specified qdisc kind is unknown"))),
        std::format!(
            "interface 3: adding a clsact qdisc: ENOENT \"Specified qdisc kind is unknown\": {hint}"
        )
    );
    assert_eq!(
        decoded(ADD_CLSACT, &error_message(2, None)),
        std::format!("interface 3: adding a clsact qdisc: ENOENT: {hint}")
    );
    assert_eq!(decoded(ADD_CLSACT, &error_message(19, None)), "interface 3: adding a clsact qdisc: ENODEV");
}

#[test]
fn no_bpf_classifier() {
    let hint = "this kernel has no BPF classifier: CONFIG_NET_CLS_BPF (module cls_bpf)";
    assert_eq!(
        decoded(ADD_FILTER, &error_message(2, Some("TC classifier not found"))),
        std::format!(
            "interface 3 egress: attaching a BPF filter: ENOENT \"TC classifier not found\": {hint}"
        )
    );
    assert_eq!(
        decoded(ADD_FILTER, &error_message(2, None)),
        std::format!("interface 3 egress: attaching a BPF filter: ENOENT: {hint}")
    );
    assert_eq!(
        decoded(ADD_FILTER, &error_message(2, Some("something else"))),
        "interface 3 egress: attaching a BPF filter: ENOENT \"something else\""
    );
}

#[test]
fn no_permission() {
    let hint = "needs CAP_NET_ADMIN, this process lacks CAP_NET_ADMIN";
    assert_eq!(
        decoded(ADD_CLSACT, &error_message(1, None)),
        std::format!("interface 3: adding a clsact qdisc: EPERM: {hint}")
    );
    assert_eq!(
        decoded(ADD_FILTER, &error_message(1, None)),
        std::format!("interface 3 egress: attaching a BPF filter: EPERM: {hint}")
    );
}

/// Before 4.3 the whole request comes back and the text is behind it.
#[test]
fn text_behind_a_whole_request() {
    let mut bytes = hex("00000000 0200 0002 0d0c0b0a 01000000  eaffffff");
    bytes.extend(Request::add_clsact(INDEX).encode(SEQUENCE));
    bytes.extend(hex("0800 0100 6e6f2100"));
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    assert_eq!(decoded(ADD_CLSACT, &bytes), "interface 3: adding a clsact qdisc: EINVAL \"no!\"");
}

#[test]
fn endings() {
    let ending = |text: &str| answer::ending(&only_message(&hex(text)));
    let acknowledgement =
        "24000000 0200 0001 00000000 00000000  00000000  30000000 2400 0506 0d0c0b0a 00000000";
    assert_eq!(ending(acknowledgement), Ok(Ending::Success));
    assert_eq!(ending("14000000 0300 0200 00000000 00000000  00000000"), Ok(Ending::Success));
    assert_eq!(ending("10000000 0300 0200 00000000 00000000"), Ok(Ending::Success));
    assert_eq!(ending("10000000 2400 0200 00000000 00000000"), Ok(Ending::No));
    // A dump that ends with an error and a text.
    let failed = "1c000000 0300 0202 00000000 00000000  ebffffff  0800 0100 6e6f2100";
    let refusal = Ending::Refusal { errno: Errno::from_raw(21), text: Some("no!".into()) };
    assert_eq!(ending(failed), Ok(refusal));
    assert_eq!(ending("10000000 0200 0000 00000000 00000000"), Err("truncated error code"));
    assert_eq!(ending("14000000 0200 0000 00000000 00000000  00000080"), Err("error code out of range"));
}

#[test]
fn broken_framing() {
    let first = |text: &str| {
        let bytes = hex(text);
        answer::next_message(&mut bytes.as_slice()).map(|message| message.is_some())
    };
    assert_eq!(first(""), Ok(false));
    assert_eq!(first("10000000 0200"), Err("truncated header"));
    assert_eq!(first("11000000 0200 0000 00000000 00000000"), Err("message longer than its datagram"));
    assert_eq!(first("0f000000 0200 0000 00000000 00000000"), Err("message longer than its datagram"));
    assert_eq!(first("ffffffff 0200 0000 00000000 00000000"), Err("message longer than its datagram"));
}

/// `struct ifinfomsg` of lo, up, with IFLA_IFNAME and IFLA_MTU.
const LINK: &str = "00 00 0403 01000000 49000100 00000000  0700 0300 6c6f00 00  0800 0400 00000100";

#[test]
fn interfaces() {
    let lo = Interface {
        index: IfIndex(1),
        name: "lo".into(),
        mtu: 65536,
        link: LinkKind::Loopback,
        mac: None,
        up: true,
        all_multicast: false,
        kind: None,
        xdp: Vec::new(),
    };
    assert_eq!(answer::interface(&hex(LINK)), Ok(lo));
    assert_eq!(answer::interface(&hex(LINK)[..15]), Err("truncated link header"));
    assert_eq!(answer::interface(&hex(LINK)[..16]), Err("interface without a name"));
    assert_eq!(answer::interface(&hex(LINK)[..24]), Err("interface without an MTU"));
}

/// An interface is what its type says; the flag alone makes a loopback interface, too.
#[test]
fn kinds_of_links() {
    let kind = |kind: u16, flags: u32| {
        let mut bytes = hex(LINK);
        bytes[2..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
        answer::interface(&bytes).expect("whole").link
    };
    assert_eq!(kind(1, 0), LinkKind::Ethernet);
    assert_eq!(kind(1, 8), LinkKind::Loopback);
    assert_eq!(kind(772, 0), LinkKind::Loopback);
    for tunnel in [512, 519, 768, 769, 776, 778, 823, 0xfffe] {
        assert_eq!(kind(tunnel, 0), LinkKind::None, "{tunnel}");
    }
    for other in [0, 32, 280, 779, 801, 0xffff] {
        assert_eq!(kind(other, 0), LinkKind::Other(other));
    }
}

/// `struct ifinfomsg` of an Ethernet interface with IFF_UP and IFF_ALLMULTI; IFLA_IFNAME, IFLA_MTU and
/// IFLA_ADDRESS.
const ETHERNET: &str = "00 00 0100 03000000 01020000 00000000
    0900 0300 6574683000 000000  0800 0400 dc050000  0a00 0100 020000000001 0000";

#[test]
fn an_ethernet_interface() {
    let interface = answer::interface(&hex(ETHERNET)).expect("whole");
    assert_eq!((interface.name.as_str(), interface.mtu, interface.link), ("eth0", 1500, LinkKind::Ethernet));
    assert_eq!(interface.mac, Some([2, 0, 0, 0, 0, 1]));
    assert!(interface.up && interface.all_multicast);
    // An address of another length, as InfiniBand has, is no MAC address.
    let short = hex(&ETHERNET.replace("0a00 0100 020000000001 0000", "0800 0100 02000000"));
    assert_eq!(answer::interface(&short).expect("whole").mac, None);
}

/// What made an interface and what XDP programs it has: IFLA_LINKINFO with IFLA_INFO_KIND; IFLA_XDP with IFLA_XDP_ATTACHED
/// and the ids of one program for each of three modes.
const MADE: &str = "1000 1200  0900 0100 7665746800 000000
    2400 2b00  0500 0200 04 000000  0800 0500 07000000  0800 0600 08000000  0800 0700 09000000";

#[test]
fn what_made_an_interface_and_its_xdp_programs() {
    let read = |more: &str| {
        let interface = answer::interface(&hex(&std::format!("{ETHERNET}{more}"))).expect("whole");
        (interface.kind, interface.xdp)
    };
    let programs = [(XdpMode::Native, 7), (XdpMode::Generic, 8)];
    // What the device itself runs is not listed.
    assert_eq!(read(MADE), (Some("veth".into()), programs.into()));
    let (one, none) = ("0c00 2b00  0800 0600 08000000", "0c00 2b00  0500 0200 00 000000");
    assert_eq!(read(one), (None, [(XdpMode::Generic, 8)].into()));
    assert_eq!(read(none), (None, Vec::new()));
    // Cut short, in both.
    assert_eq!(read("0600 1200 0900 0000  0800 2b00 0800 0500"), (None, Vec::new()));
}

/// 10.0.0.5/24 on interface 3, IFA_ADDRESS, IFA_LOCAL and IFA_BROADCAST.
const ADDRESS: &str = "02 18 80 00 03000000
    0800 0100 0a000006  0800 0200 0a000005  0800 0400 0a0000ff  0900 0300 6574683000 000000";

/// fe80::1/64 on interface 3: IFA_ADDRESS alone, and IFA_CACHEINFO cut short.
const ADDRESS6: &str = "0a 40 80 fd 03000000
    1400 0100 fe80000000000000 0000000000000001  0800 0600 00000000";

#[test]
fn addresses() {
    let expected = |address: &str, prefix_length, broadcast: Option<&str>| InterfaceAddress {
        interface: INDEX,
        address: address.parse().expect("an address"),
        prefix_length,
        broadcast: broadcast.map(|address| address.parse().expect("an address")),
    };
    // Of a point-to-point link the peer's address comes first.
    assert_eq!(answer::address(&hex(ADDRESS)), Ok(Some(expected("10.0.0.5", 24, Some("10.0.0.255")))));
    assert_eq!(answer::address(&hex(ADDRESS6)), Ok(Some(expected("fe80::1", 64, None))));
    // AF_MCTP
    assert_eq!(answer::address(&hex("2d 00 00 00 03000000  0500 0100 08 000000")), Ok(None));
    assert_eq!(answer::address(&hex(ADDRESS)[..7]), Err("truncated address header"));
    assert_eq!(answer::address(&hex(ADDRESS)[..8]), Err("address message without an address"));
}

/// A default route by 10.0.0.1: RTA_TABLE, RTA_GATEWAY, RTA_OIF.
const ROUTE: &str = "02 00 00 00 fe 03 00 01 00000000
    0800 0f00 fe000000  0800 0500 0a000001  0800 0400 03000000";

/// A default route with two paths: one by 10.0.0.1, one by fe80::2 (RTA_VIA).
const PATHS: &str = "02 00 00 00 fe 03 00 01 00000000
    3800 0900  1000 00 00 03000000  0800 0500 0a000001
               2400 00 00 04000000  1600 1200 0a00 fe80000000000000 0000000000000002 0000 00000000";

#[test]
fn gateways() {
    let read = |bytes: &[u8]| {
        answer::gateways(bytes).map(|found| found.iter().map(IpAddr::to_string).collect::<Vec<_>>())
    };
    assert_eq!(read(&hex(ROUTE)), Ok(std::vec!["10.0.0.1".into()]));
    assert_eq!(read(&hex(PATHS)), Ok(std::vec!["10.0.0.1".into(), "fe80::2".into()]));
    assert_eq!(read(&hex(ROUTE)[..12]), Ok(Vec::new()));
    assert_eq!(read(&hex(ROUTE)[..11]), Err("truncated route header"));
    // A path that claims to be shorter than its header, and one that is longer than its route.
    for length in ["0000", "0700", "ff00"] {
        let broken = hex(&PATHS.replace("1000 00 00 03000000", &std::format!("{length} 00 00 03000000")));
        assert_eq!(read(&broken), Ok(Vec::new()), "{length}");
    }
}

/// clsact on interface 3.
const QDISC: &str = "00000000 03000000 0000ffff f1ffffff 01000000  0b00 0100 636c7361637400 00";

#[test]
fn qdiscs() {
    let kind = |bytes: &[u8], index| answer::qdisc_at_clsact(bytes, IfIndex(index));
    assert_eq!(kind(&hex(QDISC), 3), Ok(Some("clsact".into())));
    assert_eq!(kind(&hex(QDISC), 4), Ok(None));
    assert_eq!(kind(&hex(&QDISC.replace("0000ffff", "00000180")), 3), Ok(None));
    assert_eq!(kind(&hex(QDISC)[..20], 3), Err("qdisc without a kind"));
    assert_eq!(kind(&hex(QDISC)[..19], 3), Err("truncated tc header"));
}

/// Our filter: kind, chain 0, options with name, program id and an attribute of the future.
const FILTER: &str = "00000000 03000000 01000000 f3ffffff 000300c0
    0800 0100 62706600  0800 0b00 00000000
    2000 0200  0900 0700 6563686f00 000000  0800 0b00 34120000  0800 6300 00000000";

#[test]
fn filter_of_ours() {
    assert_eq!(answer::filter(&hex(FILTER)), Ok(Some(ours())));
    assert_eq!(answer::filter(&hex(FILTER)[..20]), Err("filter without a kind"));
    assert_eq!(answer::filter(&hex(FILTER)[..4]), Err("truncated tc header"));
}

/// Whatever is in the options of a classifier that is unknown here, the filter is listed.
#[test]
fn foreign_filters() {
    let bytes = hex("00000000 03000000 01000000 f3ffffff 08000100
        0a00 0100 62617369 6300 0000  0900 0200 ffffffff ff 000000");
    let filter = answer::filter(&bytes).expect("readable").expect("a filter");
    let expected = FilterInfo {
        priority: 1,
        handle: 1,
        protocol: 0x800,
        kind: "basic".into(),
        name: None,
        program_id: None,
        chain: 0,
    };
    assert_eq!(filter, expected);
    // A dump introduces each priority like this.
    let introduction = hex("00000000 03000000 00000000 f3ffffff 08000100  0a00 0100 62617369 6300 0000");
    assert_eq!(answer::filter(&introduction), Ok(None));
    let broken_chain = hex("00000000 03000000 01000000 f3ffffff 08000100  0600 0100 7500 0000  0500 0b00 00");
    assert_eq!(answer::filter(&broken_chain), Err("chain of a wrong size"));
}

/// Any single damaged byte, and any truncation, is survived by every reader.
#[test]
fn damage() {
    let samples = [
        hex(LINK),
        hex(ETHERNET),
        hex(&std::format!("{ETHERNET}{MADE}")),
        hex(ADDRESS),
        hex(ADDRESS6),
        hex(ROUTE),
        hex(PATHS),
        hex(QDISC),
        hex(FILTER),
        error_message(2, Some("TC classifier not found")),
        Request::add_filter(INDEX, Side::Egress, 9, "echo").encode(SEQUENCE),
    ];
    let read = |bytes: &[u8]| {
        let _ = answer::interface(bytes);
        let _ = answer::address(bytes);
        let _ = answer::gateways(bytes);
        let _ = answer::qdisc_at_clsact(bytes, INDEX);
        let _ = answer::filter(bytes);
        let mut rest = bytes;
        while let Ok(Some(message)) = answer::next_message(&mut rest) {
            let _ = answer::ending(&message);
        }
    };
    for sample in &samples {
        for at in 0..sample.len() {
            read(&sample[..at]);
            for value in 0..=u8::MAX {
                let mut bytes = sample.clone();
                bytes[at] = value;
                read(&bytes);
            }
        }
    }
}

#[test]
fn other_messages() {
    let texts =
        [
            NetlinkError::Socket { operation: "binding it", errno: Errno::ENOMEM },
            NetlinkError::Malformed { action: Action::ListInterfaces, reason: "truncated header" },
            NetlinkError::Interrupted { action: Action::ListRoutes },
            NetlinkError::Interrupted { action: Action::ListAddresses },
            NetlinkError::refused_given(Action::SetAllMulticast(INDEX, true), Errno::ENODEV, None, || {
                Evidence { capabilities: None, knows_cap_bpf: true, kernel: None, memlock: None }
            }),
            NetlinkError::Interrupted { action: Action::AttachXdp(INDEX, XdpMode::Native) },
            NetlinkError::Interrupted { action: Action::AttachXdp(INDEX, XdpMode::Generic) },
            NetlinkError::Interrupted { action: Action::DetachXdp(INDEX, XdpMode::Generic) },
            NetlinkError::Interrupted { action: Action::ListFilters(INDEX, Side::Ingress) },
            NetlinkError::refused_given(Action::ReadFilter(INDEX, Side::Egress), Errno::EINVAL, None, || {
                Evidence { capabilities: None, knows_cap_bpf: true, kernel: None, memlock: None }
            }),
        ]
        .map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "netlink socket: binding it: ENOMEM",
            "listing the interfaces: broken answer: truncated header",
            "listing the routes: the list kept changing",
            "listing the addresses: the list kept changing",
            "interface 3: switching all-multicast on: ENODEV",
            "interface 3: attaching a native XDP program: the list kept changing",
            "interface 3: attaching a generic XDP program: the list kept changing",
            "interface 3: detaching the XDP program: the list kept changing",
            "interface 3 ingress: listing the filters: the list kept changing",
            "interface 3 egress: reading a filter: EINVAL",
        ]
    );
}
