//! Tests against the running kernel: programs that links attach, XDP, objects that are opened by their ids.

mod harness;
mod objects;

use std::error::Error;
use std::ffi::CString;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use harness::{
    LO, Outcome, await_that, definition, ip, is_readable, load, load_as, passing, run_tool, unshare,
};
use loader::rtnetlink::{Interface, Monitor, Netlink, XdpAttachment, detach_xdp};
use loader::{
    BpfLink, BpfLinkInfo, Errno, IfIndex, LinkHook, Map, Placeholder, Position, Program, ProgramKind, Side,
    XdpMode, links, tcx_programs,
};
use objects::{exit, mov};

const SIDES: [Side; 2] = [Side::Ingress, Side::Egress];
const MODES: [XdpMode; 2] = [XdpMode::Native, XdpMode::Generic];

fn main() {
    harness::run(harness::tests! {
        tcx_attaches_and_detaches tcx_replaces_in_place tcx_places_are_reserved reserved_places_let_packets_pass tcx_order tcx_has_its_limits
        pins_outlive_their_maker links_are_found_by_id links_outlive_their_interface
        xdp_by_link xdp_over_netlink xdp_of_others_stays kinds_of_interfaces interfaces_come_and_go
        programs_are_found_by_id maps_are_found_by_id
    })
}

/// The programs on the egress side of `lo`, by their ids.
fn order() -> Result<Vec<u32>, Box<dyn Error>> {
    Ok(tcx_programs(LO, Side::Egress)?.iter().map(|program| program.program_id).collect())
}

fn tcx_attaches_and_detaches() -> Outcome {
    let program = passing()?;
    for side in SIDES {
        assert_eq!(tcx_programs(LO, side)?, []);
        let link = BpfLink::tcx(&program, LO, side, Position::First)?;
        let info = link.info()?;
        let hook = LinkHook::Tcx(side);
        assert_eq!((info.program_id, info.place), (program.id()?, Some((LO, hook))));
        let [found] = tcx_programs(LO, side)?.try_into().map_err(|_| "not one program")?;
        assert_eq!((found.program_id, found.link_id), (program.id()?, Some(info.id)));
        let other = if side == Side::Ingress { Side::Egress } else { Side::Ingress };
        assert_eq!(tcx_programs(LO, other)?, []);
        link.detach()?;
        assert_eq!(tcx_programs(LO, side)?, []);
        // It is gone, which is what was wanted.
        link.detach()?;
        let link = BpfLink::tcx(&program, LO, side, Position::First)?;
        assert_eq!(tcx_programs(LO, side)?.len(), 1);
        drop(link);
        assert_eq!(tcx_programs(LO, side)?, []);
    }
    Ok(())
}

fn tcx_replaces_in_place() -> Outcome {
    let (first, ours, new, last) = (passing()?, passing()?, passing()?, passing()?);
    let tcx = |program: &Program| BpfLink::tcx(program, LO, Side::Egress, Position::Last);
    let (_first, link, _last) = (tcx(&first)?, tcx(&ours)?, tcx(&last)?);
    let before = link.info()?;
    link.update(&new)?;
    assert_eq!(link.info()?, BpfLinkInfo { program_id: new.id()?, ..before });
    assert_eq!(order()?, [first.id()?, new.id()?, last.id()?]);
    let xdp = load_as(ProgramKind::Xdp, &[mov(2), exit()])?;
    let error = link.update(&xdp).expect_err("an XDP program");
    assert_eq!(error.errno(), Errno::EINVAL);
    assert!(
        error.to_string().starts_with(&format!("link {}: replacing its program: EINVAL", link.info()?.id))
    );
    Ok(())
}

fn tcx_places_are_reserved() -> Outcome {
    let program = passing()?;
    for side in SIDES {
        let place = Placeholder::tcx(LO, side).ok_or("no place")?;
        let link = place.replace(&program).ok_or("no link")?;
        let info = link.info()?;
        assert_eq!((info.program_id, info.place), (program.id()?, Some((LO, LinkHook::Tcx(side)))));
        let ids: Vec<_> =
            tcx_programs(LO, side)?.iter().map(|found| (found.program_id, found.link_id)).collect();
        assert_eq!(ids, [(program.id()?, Some(info.id))]);
        // A place in front of it, which nobody takes.
        drop(Placeholder::tcx(LO, side).ok_or("no place")?);
        assert_eq!(tcx_programs(LO, side)?.len(), 1);
        drop(link);
        assert_eq!(tcx_programs(LO, side)?, []);
    }
    let (first, last) = (passing()?, passing()?);
    let _last = BpfLink::tcx(&last, LO, Side::Egress, Position::First)?;
    let place = Placeholder::tcx(LO, Side::Egress).ok_or("no place")?;
    let _first = place.replace(&first).ok_or("no link")?;
    assert_eq!(order()?, [first.id()?, last.id()?]);
    // What cannot be there.
    let xdp = load_as(ProgramKind::Xdp, &[mov(2), exit()])?;
    assert!(Placeholder::tcx(LO, Side::Ingress).ok_or("no place")?.replace(&xdp).is_none());
    assert_eq!(tcx_programs(LO, Side::Ingress)?, []);
    assert!(Placeholder::tcx(IfIndex(4711), Side::Egress).ok_or("no place")?.replace(&program).is_none());
    Ok(())
}

fn reserved_places_let_packets_pass() -> Outcome {
    ip("link set lo up")?;
    let places = SIDES.map(|side| Placeholder::tcx(LO, side));
    let is_there = |side| Ok::<_, Box<dyn Error>>(tcx_programs(LO, side)?.len() == 1);
    await_that("both are attached", || Ok(is_there(Side::Ingress)? && is_there(Side::Egress)?))?;
    let (client, server) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    server.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.send_to(b"passes", server.local_addr()?)?;
    let mut buffer = [0; 16];
    assert_eq!(server.recv(&mut buffer)?, 6);
    drop(places);
    assert!(!is_there(Side::Ingress)? && !is_there(Side::Egress)?);
    Ok(())
}

fn tcx_order() -> Outcome {
    let programs = [passing()?, passing()?, passing()?, passing()?, passing()?];
    let [a, b, c, d, e] = &programs;
    let tcx = |program: &Program, position| BpfLink::tcx(program, LO, Side::Egress, position);
    let _foreign = tcx(a, Position::Last)?;
    let _last = tcx(b, Position::Last)?;
    let _first = tcx(c, Position::First)?;
    let _before = tcx(d, Position::Before(a.id()?))?;
    let _after = tcx(e, Position::After(a.id()?))?;
    let expected = [c, d, a, e, b].map(Program::id).into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(order()?, expected);
    let absent = passing()?;
    let id = absent.id()?;
    for position in [Position::Before(id), Position::After(id)] {
        let error = tcx(&absent, position).expect_err("relative to what is not there");
        assert_eq!(
            error.to_string(),
            format!("interface 1 egress: attaching by tcx: ENOENT: program {id} is not there")
        );
    }
    assert_eq!(order()?, expected);
    Ok(())
}

fn tcx_has_its_limits() -> Outcome {
    let programs = (0..64).map(|_| passing()).collect::<Result<Vec<_>, _>>()?;
    let mut links = Vec::new();
    for program in &programs[..63] {
        links.push(BpfLink::tcx(program, LO, Side::Egress, Position::Last)?);
    }
    assert_eq!(order()?.len(), 63);
    let error = BpfLink::tcx(&programs[63], LO, Side::Egress, Position::First).expect_err("no room");
    assert_eq!(error.to_string(), "interface 1 egress: attaching by tcx: ERANGE");
    let error = BpfLink::tcx(&programs[63], IfIndex(4711), Side::Egress, Position::First);
    assert_eq!(error.expect_err("no interface").errno(), Errno::ENODEV);
    Ok(())
}

/// A bpf filesystem that only this thread sees; the folder is removed with the value.
struct Bpffs(PathBuf);

impl Bpffs {
    fn mount() -> Result<Self, Box<dyn Error>> {
        unshare(libc::CLONE_NEWNS)?;
        run_tool("mount", &["--make-rprivate", "/"])?;
        let folder = Self(std::env::temp_dir().join(format!("loader-bpffs-{}", std::process::id())));
        fs::create_dir(&folder.0)?;
        let path = folder.0.to_str().ok_or("a strange path")?;
        run_tool("mount", &["-t", "bpf", "bpf", path])?;
        Ok(folder)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = run_tool("umount", &[self.0.to_str().unwrap_or_default()]);
        let _ = fs::remove_dir(&self.0);
    }
}

fn pins_outlive_their_maker() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let file = bpffs.0.join("link");
    let path = CString::new(file.to_str().ok_or("a strange path")?)?;
    let program = passing()?;
    let error = BpfLink::open_pinned(&path).expect_err("nothing is there");
    assert_eq!(error.to_string(), format!("{}: opening a pinned link: ENOENT", file.display()));
    let link = BpfLink::tcx(&program, LO, Side::Egress, Position::First)?;
    link.pin(&path)?;
    assert_eq!(link.pin(&path).expect_err("a second time").errno(), Errno::EEXIST);
    let info = link.info()?;
    drop(link);
    assert_eq!(order()?, [program.id()?]);
    let link = BpfLink::open_pinned(&path)?;
    assert_eq!(link.info()?, info);
    drop(link);
    assert_eq!(order()?, [program.id()?]);
    fs::remove_file(&file)?;
    // Behind the back of whoever has removed it.
    await_that("nothing is attached", || Ok(order()?.is_empty()))
}

fn links_are_found_by_id() -> Outcome {
    let program = passing()?;
    let link = BpfLink::tcx(&program, LO, Side::Egress, Position::First)?;
    let info = link.info()?;
    assert!(links()?.contains(&info.id));
    let other = BpfLink::open(info.id)?;
    assert_eq!(other.info()?, info);
    // Either holds it.
    drop(link);
    assert_eq!(order()?, [program.id()?]);
    other.detach()?;
    assert_eq!(order()?, [0; 0]);
    drop(other);
    assert!(!links()?.contains(&info.id));
    let error = BpfLink::open(info.id).expect_err("gone");
    assert_eq!(error.to_string(), format!("link {}: opening it: ENOENT", info.id));
    Ok(())
}

fn links_outlive_their_interface() -> Outcome {
    ip("link add v0 type veth peer name v1")?;
    let program = passing()?;
    let link = BpfLink::tcx(&program, find("v0")?.index, Side::Ingress, Position::First)?;
    ip("link del v0")?;
    assert_eq!(link.info()?.place, Some((IfIndex(0), LinkHook::Tcx(Side::Ingress))));
    assert_eq!(link.update(&program).expect_err("nowhere").errno(), Errno::ENOLINK);
    link.detach()?;
    Ok(())
}

/// An interface by its name.
fn find(name: &str) -> Result<Interface, Box<dyn Error>> {
    let all = Netlink::open()?.interfaces()?;
    Ok(all.into_iter().find(|interface| interface.name == name).ok_or("no such interface")?)
}

/// A program that passes every packet on.
fn xdp() -> Result<Program, Box<dyn Error>> {
    load_as(ProgramKind::Xdp, &[mov(2), exit()])
}

fn xdp_by_link() -> Outcome {
    ip("link add v0 type veth peer name v1")?;
    let index = find("v0")?.index;
    let (program, other) = (xdp()?, xdp()?);
    for mode in MODES {
        assert_eq!(find("v0")?.xdp, []);
        let link = BpfLink::xdp(&program, index, mode)?;
        assert_eq!(find("v0")?.xdp, [(mode, program.id()?)]);
        let info = link.info()?;
        assert_eq!((info.program_id, info.place), (program.id()?, Some((index, LinkHook::Xdp))));
        let error = BpfLink::xdp(&other, index, mode).expect_err("a second one");
        let text = format!("interface {}: attaching by an XDP link: EBUSY", index.0);
        assert_eq!((error.errno(), error.to_string()), (Errno::EBUSY, text));
        link.update(&other)?;
        assert_eq!(find("v0")?.xdp, [(mode, other.id()?)]);
        link.detach()?;
        assert_eq!(find("v0")?.xdp, []);
        drop(BpfLink::xdp(&program, index, mode)?);
        assert_eq!(find("v0")?.xdp, []);
    }
    Ok(())
}

fn xdp_over_netlink() -> Outcome {
    ip("link add v0 type veth peer name v1")?;
    let index = find("v0")?.index;
    let (program, other) = (xdp()?, xdp()?);
    let mut netlink = Netlink::open()?;
    for mode in MODES {
        let attachment = XdpAttachment::new(index, mode, &program)?;
        assert_eq!(find("v0")?.xdp, [(mode, program.id()?)]);
        let error = XdpAttachment::new(index, mode, &other).expect_err("a second one");
        assert_eq!(error.errno(), Some(Errno::EBUSY), "{error}");
        let what = format!("interface {}: attaching a {mode} XDP program: EBUSY", index.0);
        assert!(error.to_string().starts_with(&what), "{error}");
        attachment.detach()?;
        assert_eq!(find("v0")?.xdp, []);
        drop(XdpAttachment::new(index, mode, &program)?);
        assert_eq!(find("v0")?.xdp, []);
        XdpAttachment::new(index, mode, &program)?.leave();
        assert_eq!(find("v0")?.xdp, [(mode, program.id()?)]);
        // Of the other mode, or another program, there is nothing to take away.
        let wrong = if mode == XdpMode::Native { XdpMode::Generic } else { XdpMode::Native };
        detach_xdp(&mut netlink, index, wrong, &program)?;
        detach_xdp(&mut netlink, index, mode, &other)?;
        assert_eq!(find("v0")?.xdp, [(mode, program.id()?)]);
        detach_xdp(&mut netlink, index, mode, &program)?;
        detach_xdp(&mut netlink, index, mode, &program)?;
        assert_eq!(find("v0")?.xdp, []);
    }
    let attachment = XdpAttachment::new(index, XdpMode::Native, &program)?;
    ip("link del v0")?;
    attachment.detach()?;
    Ok(())
}

/// Another program in the place of ours.
fn xdp_of_others_stays() -> Outcome {
    ip("link add v0 type veth peer name v1")?;
    let index = find("v0")?.index;
    let (ours, theirs) = (xdp()?, xdp()?);
    for mode in MODES {
        let attachment = XdpAttachment::new(index, mode, &ours)?;
        ip(&format!("link set v0 {} off", if mode == XdpMode::Native { "xdp" } else { "xdpgeneric" }))?;
        let foreign = XdpAttachment::new(index, mode, &theirs)?;
        attachment.detach()?;
        assert_eq!(find("v0")?.xdp, [(mode, theirs.id()?)]);
        foreign.detach()?;
    }
    Ok(())
}

fn kinds_of_interfaces() -> Outcome {
    ip("link add v0 type veth peer name v1")?;
    ip("link add br0 type bridge")?;
    assert_eq!(find("v0")?.kind.as_deref(), Some("veth"));
    assert_eq!(find("v1")?.kind.as_deref(), Some("veth"));
    assert_eq!(find("br0")?.kind.as_deref(), Some("bridge"));
    assert_eq!(find("lo")?.kind, None);
    Ok(())
}

fn interfaces_come_and_go() -> Outcome {
    let mut monitor = Monitor::open()?;
    assert!(!is_readable(&monitor));
    for change in ["link add v0 type veth peer name v1", "link set v0 up", "link del v0"] {
        ip(change)?;
        assert!(is_readable(&monitor), "{change}");
        monitor.clear()?;
        assert!(!is_readable(&monitor), "{change}");
    }
    // More than there is room for.
    let changes = "for i in $(seq 300); do echo link set lo up; echo link set lo down; done | ip -batch -";
    run_tool("sh", &["-c", changes])?;
    assert!(is_readable(&monitor));
    monitor.clear()?;
    assert!(!is_readable(&monitor));
    // Elsewhere it is not heard.
    unshare(libc::CLONE_NEWNET)?;
    ip("link set lo up")?;
    assert!(!is_readable(&monitor));
    Ok(())
}

fn programs_are_found_by_id() -> Outcome {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let seconds: f64 = uptime.split(' ').next().ok_or("no uptime")?.parse()?;
    let program = load(&[mov(7), exit()])?;
    let map = Map::create(&definition("bound", 2, 4, 4))?;
    assert_eq!(program.info()?.maps, [0; 0]);
    program.bind(&map)?;
    let found = Program::open(program.id()?)?;
    assert_eq!(found.name(), "test_program");
    assert_eq!(found.info()?, program.info()?);
    let info = found.info()?;
    assert_eq!((info.id, info.maps), (program.id()?, vec![map.id()?]));
    // /proc/uptime is cut off to hundredths.
    let loaded = info.loaded_ns as f64 / 1e9;
    assert!(loaded >= seconds && loaded < seconds + 60.0, "{loaded} after {seconds}");
    assert_eq!(found.test_run(&[0; 64])?.verdict, 7);
    // Bound to the program, the map lives on.
    let id = map.id()?;
    drop(map);
    Map::open(id)?;
    drop(program);
    Map::open(id)?;
    let program_id = found.id()?;
    drop(found);
    let error = Program::open(program_id).expect_err("gone");
    assert_eq!(error.to_string(), format!("program \"{program_id}\": opening it: ENOENT"));
    Ok(())
}

fn maps_are_found_by_id() -> Outcome {
    let map = Map::create(&definition("array", 2, 4, 8))?;
    map.update(&3_u32.to_ne_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8])?;
    let found = Map::open(map.id()?)?;
    assert_eq!(found.definition(), map.definition());
    assert_eq!(found.id()?, map.id()?);
    assert_eq!(found.lookup(&3_u32.to_ne_bytes())?, Some(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    found.update(&1_u32.to_ne_bytes(), &[9; 8])?;
    assert_eq!(map.lookup(&1_u32.to_ne_bytes())?, Some(vec![9; 8]));

    // 5 bytes: the stride is 8.
    let map = Map::create(&definition("counters", 6, 4, 5))?;
    let key = 1_u32.to_ne_bytes();
    let (padded, expected) = harness::values_per_cpu(map.lookup_per_cpu(&key)?.iter().len());
    map.update(&key, &padded)?;
    let found = Map::open(map.id()?)?;
    assert!(found.lookup_per_cpu(&key)?.iter().eq(&expected));
    let id = map.id()?;
    drop((map, found));
    let error = Map::open(id).expect_err("gone");
    assert_eq!(error.to_string(), format!("map {id}: opening it: ENOENT"));
    Ok(())
}
