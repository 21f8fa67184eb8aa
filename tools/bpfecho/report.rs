//! What is said of a run: the ready line and the summary.

use loader::rtnetlink::Interface;
use probe::abi::{Counter, Counters};

use crate::arguments::Request;
use crate::configuration::served;
use crate::text::{counted, list};

/// The line that says what is echoed, where, and by which hooks: each with the name of its interface.
pub fn ready_line(request: &Request, interfaces: &[Interface], hooks: &[(String, String)]) -> String {
    let mut targets: Vec<String> = served(request, interfaces).map(|prefix| prefix.to_string()).collect();
    match request.virtual_hosts.as_slice() {
        [] => {}
        [only] if only.is_single() => targets.push(format!("virtual host {only}")),
        hosts => targets.push(format!("virtual hosts {}", list(hosts))),
    }
    let ports = match &request.ports {
        _ if !request.protocols.has_ports() => String::new(),
        ports if ports.first() == ports.last() => format!(" port {ports}"),
        ports => format!(" ports {ports}"),
    };
    let hooks: Vec<String> = hooks.iter().map(|(name, hook)| format!("{name}, {hook}")).collect();
    format!("echoing {} on {}{ports} ({})", request.protocols, list(targets), hooks.join("; "))
}

/// The counters of packets that came back, each with what they were and the counter of their bytes.
pub const TRAFFIC: [(&str, Counter, Counter); 6] = [
    ("TCP/IPv4", Counter::Tcp4Packets, Counter::Tcp4Bytes),
    ("TCP/IPv6", Counter::Tcp6Packets, Counter::Tcp6Bytes),
    ("UDP/IPv4", Counter::Udp4Packets, Counter::Udp4Bytes),
    ("UDP/IPv6", Counter::Udp6Packets, Counter::Udp6Bytes),
    ("ICMP/IPv4", Counter::Icmp4Packets, Counter::Icmp4Bytes),
    ("ICMP/IPv6", Counter::Icmp6Packets, Counter::Icmp6Bytes),
];

/// What was counted, in one line: what came back, and all else that happened.
pub fn summary(counters: &Counters) -> String {
    let count = |counter: Counter| counters[counter as usize];
    let mut parts: Vec<String> = TRAFFIC
        .into_iter()
        .filter(|(_, packets, _)| count(*packets) != 0)
        .map(|(name, packets, bytes)| {
            format!("{name} {}, {}", counted(count(packets), "packet"), counted(count(bytes), "byte"))
        })
        .collect();
    if parts.is_empty() {
        parts.push("nothing".into());
    }
    let events = [
        ("handshake", Counter::Handshakes),
        ("close", Counter::Closes),
        ("reset", Counter::Resets),
        ("nudge", Counter::Nudges),
        ("neighbour request", Counter::Neighbours),
    ];
    for (what, counter) in events {
        if count(counter) != 0 {
            parts.push(counted(count(counter), what));
        }
    }
    parts.extend(exceptions(counters));
    format!("echoed {}", parts.join("; "))
}

/// What did not come back: how many packets, and why.
pub fn exceptions(counters: &Counters) -> Vec<String> {
    let exceptions = [
        ("dropped for their TCP flags", Counter::DroppedFlags),
        ("dropped for much data in a SYN", Counter::DroppedData),
        ("dropped as segments of unknown connections", Counter::DroppedStray),
        ("dropped for their source", Counter::DroppedSource),
        ("dropped as sent by ports that answer everything", Counter::DroppedLoop),
        ("dropped at the end of their time to live", Counter::DroppedTtl),
        ("dropped for want of memory", Counter::DroppedMemory),
        ("passed as fragments", Counter::PassedFragment),
        ("passed for their extension headers", Counter::PassedExtension),
        ("passed as sent by the echoed port itself", Counter::PassedOwnSource),
        ("passed as malformed", Counter::PassedMalformed),
        ("passed on by XDP with checksums that are left to the device", Counter::PassedPartial),
        ("passed as frames for others", Counter::PassedFrame),
    ];
    let counted = exceptions.into_iter().map(|(what, counter)| (counters[counter as usize], what));
    counted.filter(|(count, _)| *count != 0).map(|(count, what)| format!("{count} {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Command, parse};
    use loader::IfIndex;
    use loader::rtnetlink::LinkKind;

    fn line(arguments: &str, names: &[&str]) -> String {
        let request = match parse(arguments.split_whitespace().map(Into::into)) {
            Ok(Command::Echo(request)) => request,
            other => panic!("{arguments}: {other:?}"),
        };
        let interface = |name: &&str| Interface {
            index: IfIndex(1),
            name: (*name).into(),
            mtu: 1500,
            link: if *name == "lo" { LinkKind::Loopback } else { LinkKind::Ethernet },
            mac: None,
            up: true,
            all_multicast: false,
            kind: None,
            xdp: Vec::new(),
        };
        let hooks = names.iter().map(|name| {
            let hook = if *name == "lo" { "clsact egress" } else { "xdp native and tcx ingress" };
            (name.to_string(), hook.into())
        });
        let interfaces: Vec<_> = names.iter().map(interface).collect();
        ready_line(&request, &interfaces, &hooks.collect::<Vec<_>>())
    }

    #[test]
    fn the_ready_line_lists_everything() {
        for (arguments, names, said) in [
            ("1122", &["lo"][..], "TCP and UDP on 127.0.0.1 port 1122 (lo, clsact egress)"),
            (
                "127.0.0.1 ::1 7,9,1122",
                &["lo"],
                "TCP and UDP on 127.0.0.1 and ::1 ports 7, 9 and 1122 (lo, clsact egress)",
            ),
            (
                "10.0.0.5 7,2000-2999 --virtual-hosts 10.9.0.0/16 --protocol tcp,udp,icmp",
                &["lo", "eth0"],
                "TCP, UDP and ICMP on 10.0.0.5 and virtual hosts 10.9.0.0/16 ports 7 and 2000-2999 \
                 (lo, clsact egress; eth0, xdp native and tcx ingress)",
            ),
            (
                "7 --virtual-hosts 10.9.0.0/16,fd00:9::/64",
                &["eth0"],
                "TCP and UDP on virtual hosts 10.9.0.0/16 and fd00:9::/64 port 7 (eth0, xdp native and tcx ingress)",
            ),
            (
                "2000-2999 --virtual-hosts 10.9.0.1 --protocol tcp",
                &["eth0"],
                "TCP on virtual host 10.9.0.1 ports 2000-2999 (eth0, xdp native and tcx ingress)",
            ),
            // On the wire loopback addresses are not served, and ping has no ports.
            (
                "--ipv6 fd00::5 --protocol icmp",
                &["eth0"],
                "ICMP on fd00::5 (eth0, xdp native and tcx ingress)",
            ),
        ] {
            assert_eq!(line(arguments, names), format!("echoing {said}"));
        }
    }

    #[test]
    fn the_summary_names_what_happened_and_nothing_else() {
        let mut counters = [0; probe::abi::COUNTERS];
        assert_eq!(summary(&counters), "echoed nothing");
        counters[Counter::Tcp4Packets as usize] = 7;
        counters[Counter::Tcp4Bytes as usize] = 12;
        counters[Counter::Udp6Packets as usize] = 1;
        counters[Counter::Handshakes as usize] = 2;
        counters[Counter::PassedMalformed as usize] = 3;
        assert_eq!(
            summary(&counters),
            "echoed TCP/IPv4 7 packets, 12 bytes; UDP/IPv6 1 packet, 0 bytes; 2 handshakes; 3 passed as malformed"
        );
    }

    /// Each counter is said, bytes with their packets.
    #[test]
    fn the_summary_leaves_nothing_out() {
        assert_eq!(
            summary(&[1; probe::abi::COUNTERS]),
            "echoed TCP/IPv4 1 packet, 1 byte; TCP/IPv6 1 packet, 1 byte; UDP/IPv4 1 packet, 1 byte; \
             UDP/IPv6 1 packet, 1 byte; ICMP/IPv4 1 packet, 1 byte; ICMP/IPv6 1 packet, 1 byte; 1 handshake; \
             1 close; 1 reset; 1 nudge; 1 neighbour request; 1 dropped for their TCP flags; \
             1 dropped for much data in a SYN; 1 dropped as segments of unknown connections; 1 dropped for their source; \
             1 dropped as sent by ports that answer everything; 1 dropped at the end of their time to live; \
             1 dropped for want of memory; 1 passed as fragments; 1 passed for their extension headers; \
             1 passed as sent by the echoed port itself; 1 passed as malformed; \
             1 passed on by XDP with checksums that are left to the device; 1 passed as frames for others"
        );
    }
}
