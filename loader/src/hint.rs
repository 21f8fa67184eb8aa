//! Every hint this crate gives, each from evidence: a remedy that was not checked is worse than none.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bitflags::bitflags;

use crate::sys::{Errno, Evidence};

/// What failed, as far as a hint can depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure<'a> {
    /// BPF_MAP_CREATE.
    MapCreate { max_entries: u32 },
    /// BPF_PROG_LOAD.
    ProgramLoad { license: &'a [u8], log: &'a str },
    /// Another command of bpf(2).
    Bpf,
    /// BPF_LINK_CREATE for an interface.
    AttachLink,
    /// BPF_PROG_GET_FD_BY_ID and its kin, which want CAP_SYS_ADMIN in any case (kernel/bpf/syscall.c).
    OpenById,
    /// RTM_NEWQDISC for clsact; `text` is the kernel's extended acknowledgement.
    #[cfg(feature = "std")]
    NewClsact { text: Option<&'a str> },
    /// RTM_NEWTFILTER for a BPF classifier.
    #[cfg(feature = "std")]
    NewBpfFilter { text: Option<&'a str> },
    /// Any other rtnetlink request.
    #[cfg(feature = "std")]
    Netlink,
}

bitflags! {
    /// The capabilities that matter here, as capget(2) has them.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Capabilities: u64 {
        const CAP_NET_ADMIN = 1 << 12;
        const CAP_SYS_ADMIN = 1 << 21;
        const CAP_PERFMON = 1 << 38;
        const CAP_BPF = 1 << 39;
    }
}

/// What loading a networking program needs: kernel commit 2c78ee898d8f.
const NETWORKING: Capabilities = Capabilities::CAP_BPF.union(Capabilities::CAP_NET_ADMIN);

/// What the verifier says of what it takes from nobody without CAP_PERFMON (kernel commit 2c78ee898d8f): arithmetic
/// between pointers and variables, among others; on older kernels also comparing with the end of a packet (seen on 5.10)
/// and writing a part of where a variable was kept (seen on 6.1).
const NEEDS_PERFMON: [&str; 3] =
    ["prohibited for !root", "pointer comparison prohibited", "attempt to corrupt spilled pointer"];

/// The hint for `failure` with `errno`, if there is one.
pub(crate) fn explain(failure: Failure<'_>, errno: Errno) -> Option<Cow<'static, str>> {
    explain_from(failure, errno, Evidence::gather)
}

/// [`explain`] with the evidence given.
pub(crate) fn explain_from(
    failure: Failure<'_>,
    errno: Errno,
    evidence: impl FnOnce() -> Evidence,
) -> Option<Cow<'static, str>> {
    match (failure, errno) {
        (Failure::MapCreate { max_entries: 0 }, Errno::EINVAL) => Some("max_entries is 0".into()),
        // check_helper_call() in kernel/bpf/verifier.c.
        (Failure::ProgramLoad { license: b"", log }, Errno::EINVAL)
            if log.contains("cannot call GPL-restricted function") =>
        {
            Some("the object has no license section".into())
        }
        #[cfg(feature = "std")]
        (Failure::NewClsact { text }, Errno::ENOENT)
            if text.is_none_or(|text| text.contains("qdisc kind is unknown")) =>
        {
            Some("this kernel has no clsact qdisc: CONFIG_NET_SCH_INGRESS (module sch_ingress)".into())
        }
        // Kernels before 4.17 give no text. No other ENOENT is possible when creating a filter with a
        // priority of the kernel's choice.
        #[cfg(feature = "std")]
        (Failure::NewBpfFilter { text }, Errno::ENOENT)
            if text.is_none_or(|text| text.contains("classifier not found")) =>
        {
            Some("this kernel has no BPF classifier: CONFIG_NET_CLS_BPF (module cls_bpf)".into())
        }
        (Failure::ProgramLoad { log, .. }, Errno::EACCES)
            if NEEDS_PERFMON.iter().any(|text| log.contains(text)) =>
        {
            let held = Capabilities::from_bits_retain(evidence().capabilities?);
            missing(Capabilities::CAP_PERFMON, NETWORKING | Capabilities::CAP_PERFMON, held).map(Cow::from)
        }
        (_, Errno::ENOSYS) if is_bpf(failure) => Some("this kernel has no bpf(2): CONFIG_BPF_SYSCALL".into()),
        (_, Errno::EPERM) => permission(failure, &evidence()),
        _ => None,
    }
}

/// Whether it is bpf(2) that failed.
fn is_bpf(failure: Failure<'_>) -> bool {
    match failure {
        Failure::MapCreate { .. }
        | Failure::ProgramLoad { .. }
        | Failure::Bpf
        | Failure::AttachLink
        | Failure::OpenById => true,
        #[cfg(feature = "std")]
        Failure::NewClsact { .. } | Failure::NewBpfFilter { .. } | Failure::Netlink => false,
    }
}

fn permission(failure: Failure<'_>, evidence: &Evidence) -> Option<Cow<'static, str>> {
    let is_bpf = is_bpf(failure);
    missing_capabilities(failure, is_bpf, evidence).map(Cow::from).or_else(|| {
        let limit = evidence.memlock.filter(|_| is_bpf && charges_memlock(evidence.kernel))?;
        let (major, minor) = evidence.kernel?;
        let text = format!(
            "kernel {major}.{minor} counts BPF memory as locked memory, and the limit is {limit} bytes \
             (ulimit -l)"
        );
        Some(text.into())
    })
}

/// Before 5.11 the kernel charges BPF memory to RLIMIT_MEMLOCK (kernel commit 3ac1f01b43b6).
pub(crate) fn charges_memlock(kernel: Option<(u32, u32)>) -> bool {
    kernel.is_some_and(|version| version < (5, 11))
}

fn missing_capabilities(failure: Failure<'_>, is_bpf: bool, evidence: &Evidence) -> Option<String> {
    let held = Capabilities::from_bits_retain(evidence.capabilities?);
    // CAP_SYS_ADMIN stands for everything that bpf(2) asks for; before 5.8 it is what bpf(2) asks for.
    if is_bpf && held.contains(Capabilities::CAP_SYS_ADMIN) {
        return None;
    }
    let (bpf, program) = if evidence.knows_cap_bpf {
        (Capabilities::CAP_BPF, NETWORKING)
    } else {
        (Capabilities::CAP_SYS_ADMIN, Capabilities::CAP_SYS_ADMIN)
    };
    // What was refused here, and what all that this crate does will need.
    let (refused, needed) = match failure {
        Failure::ProgramLoad { .. } | Failure::AttachLink => (program, program),
        Failure::MapCreate { .. } | Failure::Bpf => (bpf, program),
        Failure::OpenById => (Capabilities::CAP_SYS_ADMIN, Capabilities::CAP_SYS_ADMIN),
        #[cfg(feature = "std")]
        Failure::NewClsact { .. } | Failure::NewBpfFilter { .. } | Failure::Netlink => {
            (Capabilities::CAP_NET_ADMIN, Capabilities::CAP_NET_ADMIN)
        }
    };
    missing(refused, needed, held)
}

/// What to say to a process that holds `held` and was refused for lack of `refused`, of which it may have
/// all, where `needed` is what it will need in the end.
fn missing(refused: Capabilities, needed: Capabilities, held: Capabilities) -> Option<String> {
    (!held.contains(refused))
        .then(|| format!("needs {}, this process lacks {}", list(needed), list(needed - held)))
}

/// The names of capabilities: `a`, `a and b`, `a, b and c`.
fn list(capabilities: Capabilities) -> String {
    // By bit CAP_BPF comes last, but it is what people look for first.
    let mut names: Vec<&str> = capabilities.iter_names().map(|(name, _)| name).collect();
    names.sort_unstable();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Failure<'static> = Failure::ProgramLoad { license: b"GPL", log: "" };

    const NONE: Capabilities = Capabilities::empty();
    const BPF: Capabilities = Capabilities::CAP_BPF;
    const NET_ADMIN: Capabilities = Capabilities::CAP_NET_ADMIN;
    const SYS_ADMIN: Capabilities = Capabilities::CAP_SYS_ADMIN;

    fn evidence(held: Capabilities) -> Evidence {
        Evidence {
            capabilities: Some(held.bits()),
            knows_cap_bpf: true,
            kernel: Some((6, 1)),
            memlock: Some(65536),
        }
    }

    fn eperm(failure: Failure<'_>, evidence: Evidence) -> Option<String> {
        explain_from(failure, Errno::EPERM, || evidence).map(Cow::into_owned)
    }

    #[test]
    fn missing_capabilities_are_named() {
        let text = |failure, held: Capabilities| eperm(failure, evidence(held)).unwrap_or_default();
        assert_eq!(
            text(LOAD, NONE),
            "needs CAP_BPF and CAP_NET_ADMIN, this process lacks CAP_BPF and CAP_NET_ADMIN"
        );
        assert_eq!(text(LOAD, NET_ADMIN), "needs CAP_BPF and CAP_NET_ADMIN, this process lacks CAP_BPF");
        let map = Failure::MapCreate { max_entries: 1 };
        assert_eq!(
            text(map, NONE),
            "needs CAP_BPF and CAP_NET_ADMIN, this process lacks CAP_BPF and CAP_NET_ADMIN"
        );
        assert_eq!(
            text(Failure::AttachLink, BPF),
            "needs CAP_BPF and CAP_NET_ADMIN, this process lacks CAP_NET_ADMIN"
        );
        assert_eq!(
            text(Failure::OpenById, BPF | NET_ADMIN),
            "needs CAP_SYS_ADMIN, this process lacks CAP_SYS_ADMIN"
        );
        assert_eq!(text(Failure::OpenById, SYS_ADMIN), "");
        // A map does not need CAP_NET_ADMIN, so without it something else was the reason.
        assert_eq!(text(map, BPF), "");
        assert_eq!(text(LOAD, BPF | NET_ADMIN), "");
        assert_eq!(text(LOAD, SYS_ADMIN), "");
        let unknown = Evidence { capabilities: None, ..evidence(NONE) };
        assert_eq!(eperm(LOAD, unknown), None);
    }

    #[test]
    fn what_the_verifier_wants_cap_perfmon_for_is_named() {
        for log in [
            "R5 has pointer with unsupported alu operation, pointer arithmetic with it prohibited for !root",
            "R8 pointer comparison prohibited",
            "attempt to corrupt spilled pointer on stack",
        ] {
            let failure = Failure::ProgramLoad { license: b"MIT", log };
            let text = |held| explain_from(failure, Errno::EACCES, || evidence(held)).map(Cow::into_owned);
            assert_eq!(
                text(BPF | NET_ADMIN).as_deref(),
                Some("needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, this process lacks CAP_PERFMON")
            );
            assert_eq!(text(BPF | NET_ADMIN | Capabilities::CAP_PERFMON), None);
        }
    }

    #[test]
    fn before_cap_bpf_it_is_cap_sys_admin() {
        let old = Evidence { knows_cap_bpf: false, kernel: Some((5, 4)), ..evidence(NET_ADMIN) };
        let text = "needs CAP_SYS_ADMIN, this process lacks CAP_SYS_ADMIN";
        assert_eq!(eperm(LOAD, old).as_deref(), Some(text));
    }

    #[test]
    fn locked_memory_matters_only_before_5_11() {
        let with = |kernel| Evidence { kernel, ..evidence(SYS_ADMIN) };
        assert_eq!(
            eperm(LOAD, with(Some((5, 10)))).as_deref(),
            Some("kernel 5.10 counts BPF memory as locked memory, and the limit is 65536 bytes (ulimit -l)")
        );
        assert_eq!(eperm(LOAD, with(Some((5, 11)))), None);
        assert_eq!(eperm(LOAD, with(None)), None);
        let unlimited = Evidence { memlock: None, ..with(Some((5, 10))) };
        assert_eq!(eperm(LOAD, unlimited), None);
    }

    #[test]
    fn hints_that_need_no_evidence() {
        let hint = |failure, errno| explain_from(failure, errno, || evidence(NONE)).map(Cow::into_owned);
        let map = Failure::MapCreate { max_entries: 0 };
        assert_eq!(hint(map, Errno::EINVAL).as_deref(), Some("max_entries is 0"));
        let log = "cannot call GPL-restricted function from non-GPL compatible program";
        assert_eq!(
            hint(Failure::ProgramLoad { license: b"", log }, Errno::EINVAL).as_deref(),
            Some("the object has no license section")
        );
        assert_eq!(hint(Failure::ProgramLoad { license: b"MIT", log }, Errno::EINVAL), None);
        assert_eq!(hint(Failure::Bpf, Errno::ENOENT), None);
        assert_eq!(
            hint(map, Errno::ENOSYS).as_deref(),
            Some("this kernel has no bpf(2): CONFIG_BPF_SYSCALL")
        );
    }
}
