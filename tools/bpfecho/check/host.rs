//! What is the same for all interfaces: the kernel, privileges, hooks, ports, firewalls.

use loader::rtnetlink::{Attachment, Interface, tracking_rules};
use loader::{Errno, IfIndex, Side, tcx_programs};

use super::finding::Finding;
use crate::arguments::Request;
use crate::attach::hook::Hook;
use crate::configuration::{Configuration, Place};
use crate::echo::Echo;
use crate::prefix::Prefix;
use crate::privileges::{CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN};
use crate::run::hold_ports;
use crate::self_test;
use crate::sys;

/// The loopback interface of a new network namespace.
const LO: IfIndex = IfIndex(1);

pub(super) fn kernel() -> Finding {
    Finding::ok("kernel", sys::kernel())
}

pub(super) fn capabilities(request: &Request) -> Finding {
    const TOPIC: &str = "capabilities";
    let held = match sys::capabilities() {
        Ok(held) => held,
        Err(errno) => return Finding::fail(TOPIC, format!("reading them: {errno}"), None),
    };
    let all = [(CAP_BPF, "CAP_BPF"), (CAP_NET_ADMIN, "CAP_NET_ADMIN")];
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|(bit, _)| held & bit == 0 && !(*bit == CAP_BPF && held & CAP_SYS_ADMIN != 0))
        .map(|(_, name)| name)
        .collect();
    if !missing.is_empty() {
        let remedy = "be root, or have them given to the program (setcap cap_bpf,cap_net_admin+ep)";
        return Finding::fail(TOPIC, format!("lacks {}", missing.join(" and ")), Some(remedy.into()));
    }
    if request.plan.background && held & CAP_SYS_ADMIN == 0 {
        let text = "--background by tcx or XDP may need CAP_SYS_ADMIN, to mount a bpf filesystem";
        return Finding::warn(TOPIC, text, Some("--hook clsact does without".into()));
    }
    Finding::ok(TOPIC, "CAP_BPF and CAP_NET_ADMIN")
}

/// Loads the programs, and tries them.
pub(super) fn programs(request: &Request, configurations: &[Configuration]) -> Vec<Finding> {
    let with_xdp = request.plan.hook.xdp().is_some();
    let mut findings = Vec::new();
    for configuration in configurations {
        let echo = match Echo::load(configuration, with_xdp, false) {
            Ok(echo) => echo,
            Err(error) => return vec![Finding::fail("programs", error.to_string(), None)],
        };
        if let Err(error) = self_test::run(&echo, configuration) {
            return vec![Finding::fail("programs", error.to_string(), None)];
        }
        if findings.is_empty() {
            findings.push(Finding::ok("programs", "load, and answer a packet right"));
            findings.push(jit(&echo));
        }
    }
    findings
}

fn jit(echo: &Echo) -> Finding {
    match echo.program().info() {
        Ok(info) if info.is_native => Finding::ok("jit", "programs are compiled for this machine"),
        // Who has no CAP_BPF is not told, but cannot load programs either.
        Ok(_) => {
            let remedy = "sysctl net.core.bpf_jit_enable=1, if the kernel has it";
            Finding::warn("jit", "programs are interpreted, which is slow", Some(remedy.into()))
        }
        Err(error) => Finding::warn("jit", error.to_string(), None),
    }
}

/// Which hooks the kernel has, by trying them where nobody is: afterwards this process is in a network of its own.
pub(super) fn hooks(request: &Request, interfaces: &[Interface]) -> Vec<Finding> {
    const TOPIC: &str = "hooks";
    let tcx = interfaces.iter().map(|interface| tcx_programs(interface.index, Side::Ingress).err());
    let tcx = tcx.collect::<Option<Vec<_>>>().and_then(|errors| errors.into_iter().next());
    let has_tcx = tcx.is_none();
    let mut findings = Vec::new();
    findings.push(match (tcx, request.plan.hook) {
        (None, _) => Finding::ok(TOPIC, "tcx"),
        (Some(error), _) if error.errno() != Errno::EINVAL => Finding::warn(TOPIC, error.to_string(), None),
        (_, Hook::Tcx) => {
            Finding::fail(TOPIC, "no tcx, which came with Linux 6.6", Some("choose --hook clsact".into()))
        }
        _ => Finding::ok(TOPIC, "no tcx, which came with Linux 6.6; clsact is taken instead"),
    });
    let needs_clsact = request.plan.hook == Hook::Clsact || !has_tcx;
    findings.extend(match try_hooks() {
        Tried::Not(reason) if needs_clsact => {
            Some(Finding::warn(TOPIC, format!("clsact was not tried: {reason}"), None))
        }
        Tried::Not(_) => None,
        Tried::Clsact(None) => Some(Finding::ok(TOPIC, "clsact")),
        Tried::Clsact(Some(error)) if needs_clsact => Some(Finding::fail(TOPIC, error, None)),
        Tried::Clsact(Some(error)) => {
            Some(Finding::ok(TOPIC, format!("no clsact, and no need of it: {error}")))
        }
    });
    findings
}

/// What came of trying a hook.
enum Tried {
    /// It was not.
    Not(String),
    /// clsact works, or does not for this reason.
    Clsact(Option<String>),
}

/// Attaches a program to clsact in a new network namespace.
fn try_hooks() -> Tried {
    let attempt = || -> Result<Option<String>, String> {
        sys::enter_new_network().map_err(|errno| match errno {
            Errno::EPERM => "a network to try it in needs CAP_SYS_ADMIN".into(),
            errno => format!("a network to try it in: {errno}"),
        })?;
        let configuration = Configuration {
            place: Place::Loopback,
            mtu: 65536,
            protocols: crate::protocols::Protocols::default(),
            ports: 7.into(),
            destinations: vec![(Prefix::LOOPBACK[0], probe::abi::destination::ECHO)],
            sources: Vec::new(),
        };
        let echo = Echo::load(&configuration, false, false).map_err(|error| error.to_string())?;
        let attached = Attachment::new(LO, Side::Egress, echo.program(), false, |_| "bpfecho check".into());
        Ok(attached.and_then(Attachment::detach).err().map(|error| error.to_string()))
    };
    attempt().map_or_else(Tried::Not, Tried::Clsact)
}

pub(super) fn ports(request: &Request, interfaces: &[Interface]) -> Finding {
    const TOPIC: &str = "ports";
    match hold_ports(request, interfaces) {
        Ok(_) => Finding::ok(TOPIC, "nothing serves them"),
        Err(error) if request.force => Finding::warn(TOPIC, error.to_string(), None),
        Err(error) => Finding::fail(TOPIC, error.to_string(), None),
    }
}

/// Whether a firewall may drop what is turned round on loopback.
pub(super) fn tracking(configurations: &[Configuration]) -> Option<Finding> {
    const TOPIC: &str = "firewall";
    let on_loopback = configurations.iter().any(|configuration| configuration.place == Place::Loopback);
    // What comes in from elsewhere is answered before it is tracked.
    if !on_loopback {
        return None;
    }
    Some(match tracking_rules() {
        Ok(rules) if rules.dropping.is_empty() => {
            Finding::ok(TOPIC, "no nftables rule drops invalid connections")
        }
        Ok(rules) => {
            let text =
                format!("connections that look invalid may be dropped by {}", rules.dropping.join(", "));
            let remedy = if rules.has_notrack {
                "see that the notrack rules that there are cover the ports"
            } else {
                "add a notrack rule for the ports on lo, as the README has it"
            };
            Finding::warn(TOPIC, text, Some(remedy.into()))
        }
        Err(error) if error.errno() == Some(Errno::EPERM) => Finding::warn(TOPIC, error.to_string(), None),
        Err(_) => Finding::ok(TOPIC, "the kernel has no nftables"),
    })
}
