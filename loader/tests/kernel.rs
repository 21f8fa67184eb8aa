//! Tests against the running kernel: maps, programs, and what hangs on a clsact qdisc.

mod harness;
mod objects;

use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use harness::{LO, Outcome, definition, ip, load, passing, tc};
use loader::rtnetlink::{
    Action, Attachment, Clsact, Filter, FilterInfo, InterfaceAddress, LinkKind, Netlink, NetlinkError,
    filters, remove, remove_leftover,
};
use loader::{Errno, LoadError, Map, MapDefinition, MapError, Object, Program, ProgramKind, TestInput};
use loader::{IfIndex, Side};

use objects::{Builder, Line, R_BPF_64_64, call, exit, instruction, load_64, mov};

const SIDES: [Side; 2] = [Side::Ingress, Side::Egress];

fn main() {
    harness::run(harness::tests! {
        array_map per_cpu_map hash_map lru_hash_map trie refused_maps linked_map_and_constant subprogram test_run
        live_frames checksum_complete verifier_rejection source_lines interfaces addresses_and_gateways all_multicast
        attach_and_detach_both_sides drop_detaches foreign_filters_survive
        attaching_next_to_priority_one clsact_in_use_stays clsact_of_others_stays
        qdisc_removed_by_others filter_replaced_by_others ingress_qdisc_in_the_way failed_attach_leaves_nothing
        leftovers_are_found_and_removed no_such_interface filter_names no_descriptors_are_left
    })
}

/// Attaches `program` to `lo`, with a name that does not depend on whose the clsact is.
fn attach(side: Side, program: &Program, name: &str) -> Result<Attachment, NetlinkError> {
    Attachment::new(LO, side, program, false, |_| name.into())
}

fn array_map() -> Outcome {
    let map = Map::create(&definition("array", 2, 4, 8))?;
    let key = 3_u32.to_ne_bytes();
    map.update(&key, &[1, 2, 3, 4, 5, 6, 7, 8])?;
    assert_eq!(map.lookup(&key)?, Some(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(map.lookup(&9_u32.to_ne_bytes())?, None);
    assert!(map.id()? > 0);
    let error = map.update(&9_u32.to_ne_bytes(), &[0; 8]).expect_err("out of bounds");
    assert_eq!(error.to_string(), "map \"array\": update: E2BIG");
    let error = map.update(&key, &[0; 7]).expect_err("too short");
    assert_eq!(error.to_string(), "map \"array\": a value of 7 bytes, wanted 8");
    let error = map.lookup(&[0; 5]).expect_err("too long");
    assert_eq!(error.to_string(), "map \"array\": a key of 5 bytes, wanted 4");
    Ok(())
}

fn per_cpu_map() -> Outcome {
    // 5 bytes: the stride is 8.
    let map = Map::create(&definition("counters", 6, 4, 5))?;
    let key = 1_u32.to_ne_bytes();
    let (padded, expected) = harness::values_per_cpu(map.lookup_per_cpu(&key)?.iter().len());
    map.update(&key, &padded)?;
    assert!(map.lookup_per_cpu(&key)?.iter().eq(&expected));
    map.zero(&key)?;
    assert!(map.lookup_per_cpu(&key)?.iter().eq(expected.iter().map(|_| &[0; 5])));
    assert_eq!(map.lookup_per_cpu(&9_u32.to_ne_bytes())?.iter().len(), 0);
    let error = map.lookup(&key).expect_err("several values");
    assert_eq!(error.to_string(), "map \"counters\": has a value per CPU, not one");
    Ok(())
}

fn hash_map() -> Outcome {
    let map = Map::create(&definition("hash", 1, 16, 1))?;
    assert_eq!(map.lookup(&[7; 16])?, None);
    map.update(&[7; 16], &[9])?;
    assert_eq!(map.lookup(&[7; 16])?, Some(vec![9]));
    assert!(map.lookup_per_cpu(&[7; 16])?.iter().eq([[9]]));
    map.zero(&[7; 16])?;
    assert_eq!(map.lookup(&[7; 16])?, Some(vec![0]));
    assert_eq!(map.definition(), &definition("hash", 1, 16, 1));
    Ok(())
}

/// The least recently used entry makes room. The kernel keeps some room per CPU, so more than one goes.
fn lru_hash_map() -> Outcome {
    let map = Map::create(&MapDefinition { max_entries: 64, ..definition("lru", 9, 4, 4) })?;
    for key in 0..1000_u32 {
        map.update(&key.to_ne_bytes(), &key.to_ne_bytes())?;
    }
    assert_eq!(map.lookup(&999_u32.to_ne_bytes())?, Some(999_u32.to_ne_bytes().to_vec()));
    assert_eq!(map.lookup(&0_u32.to_ne_bytes())?, None);
    Ok(())
}

/// The longest prefix decides.
fn trie() -> Outcome {
    const NO_PREALLOC: u32 = 1;
    let shape = MapDefinition { flags: NO_PREALLOC, max_entries: 2, ..definition("trie", 11, 8, 4) };
    let map = Map::create(&shape)?;
    let key = |length: u32, address: [u8; 4]| [length.to_ne_bytes(), address].concat();
    map.update(&key(8, [10, 0, 0, 0]), &[1, 0, 0, 0])?;
    map.update(&key(32, [10, 0, 0, 5]), &[2, 0, 0, 0])?;
    for (address, value) in [([10, 0, 0, 5], Some(2)), ([10, 0, 0, 6], Some(1)), ([11, 0, 0, 5], None)] {
        let found = map.lookup(&key(32, address))?;
        assert_eq!(found, value.map(|value: u8| vec![value, 0, 0, 0]), "{address:?}");
    }
    let error = map.update(&key(16, [10, 0, 0, 0]), &[3, 0, 0, 0]).expect_err("a third entry");
    assert_eq!(error.to_string(), "map \"trie\": update: ENOSPC");
    let error = Map::create(&MapDefinition { flags: 0, ..shape }).expect_err("without BPF_F_NO_PREALLOC");
    assert!(matches!(error, MapError::Create { errno: Errno::EINVAL, .. }), "{error}");
    Ok(())
}

fn refused_maps() -> Outcome {
    let empty = MapDefinition { max_entries: 0, ..definition("empty", 2, 4, 8) };
    let error = Map::create(&empty).expect_err("no entries");
    assert!(matches!(error, MapError::Create { errno: Errno::EINVAL, .. }));
    assert_eq!(
        error.to_string(),
        "map \"empty\": creating it (type 2, key 4 bytes, value 8 bytes, 0 entries, flags 0x0): EINVAL: \
         max_entries is 0"
    );
    for kind in [0, 34, u32::MAX] {
        let error = Map::create(&definition("future", kind, 4, 4)).expect_err("unknown type");
        assert_eq!(error.to_string(), format!("map \"future\": map type {kind} is unknown here"));
    }
    Ok(())
}

/// Counts in a map up to a constant: `if (value < limit) value += 1`, returns the value.
fn linked_map_and_constant() -> Outcome {
    let mut builder = Builder::new();
    let [first, second] = load_64();
    let code = [
        instruction(0x62, 10, 0, -4, 0), // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 2, 10, 0, 0),  // r2 = r10
        instruction(0x07, 2, 0, 0, -4),  // r2 += -4
        first,                           // r1 = counter ll
        second,
        instruction(0x85, 0, 0, 0, 1), // call bpf_map_lookup_elem
        instruction(0x55, 0, 0, 1, 0), // if r0 != 0 goto +1
        exit(),
        instruction(0xbf, 6, 0, 0, 0), // r6 = r0
        instruction(0x79, 0, 6, 0, 0), // r0 = *(u64 *)(r6 + 0)
        first,                         // r1 = limit ll
        second,
        instruction(0x3d, 0, 1, 2, 0), // if r0 >= r1 goto +2
        instruction(0x07, 0, 0, 0, 1), // r0 += 1
        instruction(0x7b, 6, 0, 0, 0), // *(u64 *)(r6 + 0) = r0
        exit(),
    ];
    let section = builder.program("tc", "count", &code);
    let map = builder.maps(&[("counter", &[2, 4, 8, 1, 0])])[0];
    let limit = builder.undefined("limit");
    builder.relocate(section, 3 * 8, map, R_BPF_64_64);
    builder.relocate(section, 10 * 8, limit, R_BPF_64_64);
    let bytes = builder.bytes();
    let object = Object::parse(&bytes)?;
    let map = Map::create(&object.maps()[0])?;
    let program =
        object.link("count", &[("counter", &map)], &[("limit", 3)])?.load(ProgramKind::SchedCls, false)?;
    for expected in [1, 2, 3, 3] {
        assert_eq!(program.test_run(&[0; 64])?.verdict, expected);
    }
    assert_eq!(map.lookup(&[0; 4])?, Some(3_u64.to_ne_bytes().to_vec()));
    Ok(())
}

fn subprogram() -> Outcome {
    let mut builder = Builder::new();
    let section = builder.code("xdp", &[call(1), exit(), mov(2), exit()]);
    builder.function("main", section, 0, 2, true);
    builder.function("two", section, 2, 2, false);
    let bytes = builder.bytes();
    let program = Object::parse(&bytes)?.link("main", &[], &[])?.load(ProgramKind::Xdp, false)?;
    assert_eq!(program.test_run(&[0; 64])?.verdict, 2);
    Ok(())
}

fn test_run() -> Outcome {
    let program = passing()?;
    let packet: Vec<u8> = (0..100).collect();
    let run = program.test_run(&packet)?;
    assert_eq!((run.verdict, run.packet), (-1, packet.clone()));
    assert_eq!(program.test_run(TestInput { repeat: 1000, ..TestInput::from(&packet) })?.verdict, -1);
    assert!(program.id()? > 0);
    assert_eq!(program.name(), "test_program");
    let error = program.test_run(&[0; 13]).expect_err("no room for an Ethernet header");
    assert_eq!(error.to_string(), "program \"test_program\": test run: EINVAL");

    // r0 = skb->mark, the third word of `struct __sk_buff`.
    let program = load(&[instruction(0x61, 0, 1, 8, 0), exit()])?;
    let mut context = vec![0; 192];
    context[8..12].copy_from_slice(&77_u32.to_ne_bytes());
    assert_eq!(program.test_run(TestInput { context: &context, ..TestInput::from(&packet) })?.verdict, 77);
    Ok(())
}

/// Each frame runs through the program once, and its verdict, to drop it, is carried out.
fn live_frames() -> Outcome {
    let mut builder = Builder::new();
    let [low, high] = load_64();
    let code = [
        instruction(0x62, 10, 0, -4, 0), // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 2, 10, 0, 0),  // r2 = r10
        instruction(0x07, 2, 0, 0, -4),  // r2 += -4
        low,                             // r1 = counter ll
        high,
        instruction(0x85, 0, 0, 0, 1), // call bpf_map_lookup_elem
        instruction(0x15, 0, 0, 2, 0), // if r0 == 0 goto +2
        instruction(0xb7, 1, 0, 0, 1), // r1 = 1
        instruction(0xdb, 0, 1, 0, 0), // lock *(u64 *)(r0 + 0) += r1
        mov(1),                        // XDP_DROP
        exit(),
    ];
    let section = builder.program("xdp", "live", &code);
    let symbol = builder.maps(&[("counter", &[2, 4, 8, 1, 0])])[0];
    builder.relocate(section, 3 * 8, symbol, R_BPF_64_64);
    let bytes = builder.bytes();
    let object = Object::parse(&bytes)?;
    let counter = Map::create(&object.maps()[0])?;
    let program = object.link("live", &[("counter", &counter)], &[])?.load(ProgramKind::Xdp, false)?;
    match program.run_live(&[0; 64], 100, 16) {
        // Before 5.18.
        Err(error) if error.errno() == Errno::EINVAL => return Ok(()),
        result => assert!(result? > 0),
    }
    assert_eq!(counter.lookup(&[0; 4])?, Some(100_u64.to_ne_bytes().to_vec()));
    let error = program.run_live(&[0; 64], 1, 257).expect_err("too many at a time");
    assert_eq!(error.to_string(), "program \"live\": run on live frames: E2BIG");
    assert_eq!(passing()?.run_live(&[0; 64], 1, 1).expect_err("not XDP").errno(), Errno::EINVAL);
    Ok(())
}

/// The kernel compares its checksum of the packet with what the program has made of it.
fn checksum_complete() -> Outcome {
    // r2 = skb->data; r3 = skb->data_end; if r2 + 60 <= r3 { *(u8 *)(r2 + 50) = 7 }
    let write = [
        instruction(0x61, 2, 1, 76, 0),
        instruction(0x61, 3, 1, 80, 0),
        instruction(0xbf, 4, 2, 0, 0),
        instruction(0x07, 4, 0, 0, 60),
        instruction(0x2d, 4, 3, 1, 0),
        instruction(0x72, 2, 0, 50, 7),
        mov(0),
        exit(),
    ];
    let packet = [0; 64];
    let input = TestInput { checksum_complete: true, ..TestInput::from(&packet) };
    match passing()?.test_run(input) {
        // Before 6.16.
        Err(error) if error.errno() == Errno::EINVAL => return Ok(()),
        run => assert_eq!(run?.verdict, -1),
    }
    let program = load(&write)?;
    assert_eq!(program.test_run(&packet)?.packet[50], 7);
    let error = program.test_run(input).expect_err("the checksum is not that of the packet any more");
    assert_eq!(error.to_string(), "program \"test_program\": test run: EBADMSG");
    Ok(())
}

fn verifier_rejection() -> Outcome {
    let mut builder = Builder::new();
    builder.program("tc", "echo", &[exit()]);
    let bytes = builder.bytes();
    let linked = Object::parse(&bytes)?.link("echo", &[], &[])?;
    let error = linked.load(ProgramKind::SchedCls, false).expect_err("r0 is not set");
    assert_eq!(error.errno(), Errno::EACCES);
    assert_eq!(error.to_string(), "program \"echo\": loading it: EACCES: R0 !read_ok");
    assert!(error.log().contains("processed 1 insns"), "{}", error.log());
    let verbose = linked.load(ProgramKind::SchedCls, true).expect_err("r0 is not set");
    assert!(verbose.log().len() >= error.log().len());
    Ok(())
}

/// In the log of a rejection, unless the kernel refuses the lines.
fn source_lines() -> Outcome {
    // r0 = r2, which is not set.
    let code = [mov(0), call(2), mov(1), exit(), mov(2), instruction(0xbf, 0, 2, 0, 0), exit()];
    let own = [(0, "echo.rs", "let echo = called();", 7), (4, "echo.rs", "fn called() {", 20)];
    let inner = (5, "called.rs", "answer = question;", 21);
    let rejection = |lines: Option<&[Line]>| -> Result<LoadError, Box<dyn Error>> {
        let mut builder = Builder::new();
        let section = builder.code("tc", &code);
        builder.function("echo", section, 0, 4, true);
        builder.function("called", section, 4, 3, false);
        if let Some(lines) = lines {
            builder.lines(&[("tc", lines)], 16);
        }
        let bytes = builder.bytes();
        let linked = Object::parse(&bytes)?.link("echo", &[], &[])?;
        Ok(linked.load(ProgramKind::SchedCls, false).expect_err("r2 is not set"))
    };
    let without = rejection(None)?;
    assert_eq!(without.to_string(), "program \"echo\": loading it: EACCES: R2 !read_ok");

    let with = rejection(Some(&[own[0], own[1], inner]))?;
    let log = with.log();
    assert!(log.contains("\n; answer = question;"), "{log}");
    let place = if log.contains(" @ ") { " @ called.rs:21" } else { "" };
    assert_eq!(with.to_string(), format!("{without} (answer = question;{place})"));

    // The first instruction of the function that is called has none.
    let refused = rejection(Some(&[own[0], inner]))?;
    assert_eq!(refused, without);
    Ok(())
}

fn interfaces() -> Outcome {
    let interfaces = Netlink::open()?.interfaces()?;
    let lo = interfaces.iter().find(|interface| interface.name == "lo").ok_or("no lo")?;
    assert_eq!((lo.index, lo.mtu, lo.link, lo.up), (LO, 65536, LinkKind::Loopback, false));
    assert!(!lo.all_multicast);
    ip("link add eth7 address 02:00:00:00:00:07 type veth peer name eth8")?;
    ip("tuntap add tun7 mode tun")?;
    let interfaces = Netlink::open()?.interfaces()?;
    let find = |name: &str| interfaces.iter().find(|interface| interface.name == name).ok_or("not there");
    assert_eq!((find("eth7")?.link, find("eth7")?.mac), (LinkKind::Ethernet, Some([2, 0, 0, 0, 0, 7])));
    assert_eq!((find("tun7")?.link, find("tun7")?.mac), (LinkKind::None, None));
    Ok(())
}

fn addresses_and_gateways() -> Outcome {
    let mut netlink = Netlink::open()?;
    assert_eq!(netlink.addresses()?, []);
    assert_eq!(netlink.gateways()?, <[IpAddr; 0]>::default());
    ip("link add eth7 type veth peer name eth8")?;
    ip("address add 10.7.0.5/24 broadcast 10.7.0.255 dev eth7")?;
    ip("address add 10.8.0.5 peer 10.8.0.6/32 dev eth7")?;
    ip("address add fd00:7::5/64 dev eth7 nodad")?;
    ip("link set eth7 up")?;
    ip("link set eth8 up")?;
    let addresses = netlink.addresses()?;
    let index = addresses.first().ok_or("no address")?.interface;
    let listed = |address: &str, prefix_length, broadcast| {
        let address = address.parse().expect("an address");
        addresses.contains(&InterfaceAddress { interface: index, address, prefix_length, broadcast })
    };
    assert!(listed("10.7.0.5", 24, Some(Ipv4Addr::new(10, 7, 0, 255))), "{addresses:?}");
    assert!(listed("10.8.0.5", 32, None), "{addresses:?}");
    assert!(listed("fd00:7::5", 64, None), "{addresses:?}");
    ip("route add default via 10.7.0.1")?;
    ip("route add 10.80.0.0/16 via 10.7.0.1 table 80")?;
    ip("route add 10.81.0.0/16 nexthop via 10.7.0.2 nexthop via 10.7.0.3")?;
    ip("route add 10.82.0.0/16 via inet6 fd00:7::9 dev eth7")?;
    ip("route add fd00:80::/64 via fd00:7::1")?;
    let gateways: Vec<String> = netlink.gateways()?.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["10.7.0.1", "10.7.0.2", "10.7.0.3", "fd00:7::1", "fd00:7::9"]);
    Ok(())
}

fn all_multicast() -> Outcome {
    let mut netlink = Netlink::open()?;
    for on in [true, true, false] {
        netlink.set_all_multicast(LO, on)?;
        let interfaces = netlink.interfaces()?;
        let lo = interfaces.first().ok_or("no lo")?;
        assert_eq!((lo.all_multicast, lo.up), (on, false));
    }
    let error = netlink.set_all_multicast(IfIndex(4711), true).expect_err("no interface");
    assert!(error.to_string().starts_with("interface 4711: switching all-multicast on: ENODEV"), "{error}");
    Ok(())
}

fn qdisc_is_absent(netlink: &mut Netlink) -> Outcome {
    // Adding one succeeds only where there is none.
    let clsact = Clsact::ensure(netlink, LO)?;
    let absent = clsact.made_by_us();
    clsact.remove(netlink)?;
    if absent { Ok(()) } else { Err("a qdisc is left".into()) }
}

fn attach_and_detach_both_sides() -> Outcome {
    let program = passing()?;
    let mut netlink = Netlink::open()?;
    for side in SIDES {
        let attachment = attach(side, &program, "bpfecho_test")?;
        let listed = filters(&mut netlink, LO, side)?;
        assert_eq!(listed.iter().collect::<Vec<_>>(), [attachment.filter().ok_or("attached")?]);
        let [filter] = listed.as_slice() else {
            return Err("one filter".into());
        };
        assert_eq!(filter.name.as_deref(), Some("bpfecho_test"));
        assert_eq!(filter.program_id, Some(program.id()?));
        assert_eq!((filter.kind.as_str(), filter.protocol, filter.chain), ("bpf", 3, 0));
        assert_eq!((filter.priority, filter.handle), (0xc000, 1));
        let other = if side == Side::Ingress { Side::Egress } else { Side::Ingress };
        assert!(filters(&mut netlink, LO, other)?.is_empty());
        attachment.detach()?;
        assert!(filters(&mut netlink, LO, side)?.is_empty());
        qdisc_is_absent(&mut netlink)?;
    }
    Ok(())
}

fn drop_detaches() -> Outcome {
    let program = passing()?;
    drop(attach(Side::Egress, &program, "dropped")?);
    qdisc_is_absent(&mut Netlink::open()?)
}

fn foreign_filters_survive() -> Outcome {
    let (ours, theirs) = (passing()?, passing()?);
    let mut netlink = Netlink::open()?;
    let clsact = Clsact::ensure(&mut netlink, LO)?;
    let foreign = Filter::attach(&mut netlink, LO, Side::Egress, &theirs, "foreign")?;
    let attachment = attach(Side::Egress, &ours, "ours")?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?.len(), 2);
    attachment.detach()?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, [foreign.info().clone()]);
    foreign.detach(&mut netlink)?;
    clsact.remove(&mut netlink)?;
    qdisc_is_absent(&mut netlink)
}

/// Somebody else holds the first of all priorities, with a classifier whose options are foreign here.
fn attaching_next_to_priority_one() -> Outcome {
    let program = passing()?;
    let mut netlink = Netlink::open()?;
    let clsact = Clsact::ensure(&mut netlink, LO)?;
    let place = ["filter", "add", "dev", "lo", "egress", "prio", "1", "protocol", "ip"];
    tc(&[&place[..], &["u32", "match", "u32", "0", "0", "classid", "1:1"]].concat())?;
    let before = filters(&mut netlink, LO, Side::Egress)?;
    let attachment = attach(Side::Egress, &program, "ours")?;
    assert_eq!(attachment.filter().map(|filter| filter.priority), Some(0xc000));
    attachment.detach()?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, before);
    let theirs =
        |filter: &FilterInfo| (filter.kind.as_str(), filter.priority, filter.protocol) == ("u32", 1, 0x800);
    assert!(!before.is_empty() && before.iter().all(theirs), "{before:?}");
    // Not empty: stays.
    clsact.remove(&mut netlink)?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, before);
    Ok(())
}

fn clsact_in_use_stays() -> Outcome {
    let (ours, theirs) = (passing()?, passing()?);
    let mut netlink = Netlink::open()?;
    let attachment = attach(Side::Egress, &ours, "ours")?;
    // On the other side of the qdisc that we made.
    let foreign = Filter::attach(&mut netlink, LO, Side::Ingress, &theirs, "foreign")?;
    attachment.detach()?;
    assert_eq!(filters(&mut netlink, LO, Side::Ingress)?, [foreign.info().clone()]);
    assert!(filters(&mut netlink, LO, Side::Egress)?.is_empty());
    Ok(())
}

fn clsact_of_others_stays() -> Outcome {
    let program = passing()?;
    let mut netlink = Netlink::open()?;
    let theirs = Clsact::ensure(&mut netlink, LO)?;
    assert!(theirs.made_by_us());
    attach(Side::Egress, &program, "ours")?.detach()?;
    let found = Clsact::ensure(&mut netlink, LO)?;
    assert!(!found.made_by_us());
    theirs.remove(&mut netlink)?;
    qdisc_is_absent(&mut netlink)
}

fn qdisc_removed_by_others() -> Outcome {
    let program = passing()?;
    let attachment = attach(Side::Egress, &program, "ours")?;
    tc(&["qdisc", "del", "dev", "lo", "clsact"])?;
    attachment.detach()?;
    // Removed and made anew: not ours any more, and in use.
    let attachment = attach(Side::Egress, &program, "ours")?;
    tc(&["qdisc", "del", "dev", "lo", "clsact"])?;
    let mut netlink = Netlink::open()?;
    let _theirs = Clsact::ensure(&mut netlink, LO)?;
    let foreign = Filter::attach(&mut netlink, LO, Side::Ingress, &program, "foreign")?;
    attachment.detach()?;
    assert_eq!(filters(&mut netlink, LO, Side::Ingress)?, [foreign.info().clone()]);
    Ok(())
}

/// Another program at exactly the place where ours was.
fn filter_replaced_by_others() -> Outcome {
    let (ours, theirs) = (passing()?, passing()?);
    let mut netlink = Netlink::open()?;
    let attachment = attach(Side::Egress, &ours, "ours")?;
    let info = attachment.filter().cloned().ok_or("attached")?;
    remove(&mut netlink, LO, Side::Egress, &info)?;
    let foreign = Filter::attach(&mut netlink, LO, Side::Egress, &theirs, "ours")?;
    assert_eq!((foreign.info().priority, foreign.info().handle), (info.priority, info.handle));
    attachment.detach()?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, [foreign.info().clone()]);
    Ok(())
}

fn ingress_qdisc_in_the_way() -> Outcome {
    let program = passing()?;
    tc(&["qdisc", "add", "dev", "lo", "ingress"])?;
    let error = attach(Side::Egress, &program, "ours").expect_err("no place");
    assert!(matches!(&error, NetlinkError::OtherQdisc { kind, .. } if kind == "ingress"), "{error:?}");
    assert_eq!(
        error.to_string(),
        "interface 1: adding a clsact qdisc: a qdisc of kind \"ingress\" is in its place"
    );
    // Ours was replaced by theirs.
    tc(&["qdisc", "del", "dev", "lo", "ingress"])?;
    let attachment = attach(Side::Egress, &program, "ours")?;
    tc(&["qdisc", "del", "dev", "lo", "clsact"])?;
    tc(&["qdisc", "add", "dev", "lo", "ingress"])?;
    attachment.detach()?;
    tc(&["qdisc", "del", "dev", "lo", "ingress"])
}

fn failed_attach_leaves_nothing() -> Outcome {
    let mut builder = Builder::new();
    builder.program("xdp", "drop", &[mov(1), exit()]);
    let bytes = builder.bytes();
    let program = Object::parse(&bytes)?.link("drop", &[], &[])?.load(ProgramKind::Xdp, false)?;
    let error = attach(Side::Egress, &program, "ours").expect_err("an XDP program");
    assert_eq!(error.to_string(), "interface 1 egress: attaching a BPF filter: EINVAL");
    qdisc_is_absent(&mut Netlink::open()?)
}

fn leftovers_are_found_and_removed() -> Outcome {
    let program = passing()?;
    let mut netlink = Netlink::open()?;
    Clsact::ensure(&mut netlink, LO)?;
    // As if killed: nobody detaches these.
    for side in SIDES {
        let _ = Filter::attach(&mut netlink, LO, side, &program, "bpfecho_old")?;
    }
    let stranger = Filter::attach(&mut netlink, LO, Side::Egress, &program, "bpfecho_other")?;
    for side in SIDES {
        for leftover in filters(&mut netlink, LO, side)? {
            if leftover.name.as_deref() == Some("bpfecho_old") {
                remove(&mut netlink, LO, side, &leftover)?;
                // Gone already.
                remove(&mut netlink, LO, side, &leftover)?;
            }
        }
    }
    assert!(filters(&mut netlink, LO, Side::Ingress)?.is_empty());
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, [stranger.info().clone()]);
    // The qdisc stays as long as anything hangs on it, and if it is not said to be a leftover, too.
    let other = Filter::attach(&mut netlink, LO, Side::Ingress, &program, "other")?;
    remove_leftover(&mut netlink, LO, Side::Ingress, other.info(), true)?;
    assert_eq!(filters(&mut netlink, LO, Side::Egress)?, [stranger.info().clone()]);
    remove_leftover(&mut netlink, LO, Side::Egress, stranger.info(), false)?;
    assert!(!Clsact::ensure(&mut netlink, LO)?.made_by_us());
    remove_leftover(&mut netlink, LO, Side::Egress, stranger.info(), true)?;
    qdisc_is_absent(&mut netlink)
}

fn no_such_interface() -> Outcome {
    let program = passing()?;
    let nowhere = IfIndex(4711);
    let error = Attachment::new(nowhere, Side::Egress, &program, false, |_| "ours".into());
    let error = error.expect_err("no interface");
    let NetlinkError::Refused { action, errno, .. } = &error else {
        return Err(error.into());
    };
    assert_eq!((*action, *errno), (Action::AddClsact(IfIndex(4711)), Errno::ENODEV));
    let text = error.to_string();
    assert!(text.starts_with("interface 4711: adding a clsact qdisc: ENODEV"), "{text}");
    Ok(())
}

fn filter_names() -> Outcome {
    let program = passing()?;
    for name in ["a\0b", &"x".repeat(256)] {
        let error = attach(Side::Egress, &program, name).expect_err("a bad name");
        assert_eq!(error.to_string(), format!("filter {name:?}: a name has at most 255 bytes and no NUL"));
    }
    attach(Side::Egress, &program, &"x".repeat(255))?.detach()?;
    qdisc_is_absent(&mut Netlink::open()?)
}

/// Descriptors are the process's and other tests run at the same time, so this looks only at the kinds it
/// makes, by their kernel ids.
fn no_descriptors_are_left() -> Outcome {
    let (map_id, program_id) = {
        let map = Map::create(&definition("gone", 2, 4, 4))?;
        let program = passing()?;
        attach(Side::Egress, &program, "ours")?.detach()?;
        (map.id()?, program.id()?)
    };
    let marks = [format!("map_id:\t{map_id}\n"), format!("prog_id:\t{program_id}\n")];
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        assert!(!marks.iter().any(|mark| text.contains(mark)), "{text}");
    }
    Ok(())
}
