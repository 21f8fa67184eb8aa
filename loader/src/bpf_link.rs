//! Programs attached by a bpf_link: the kernel takes them away when the last descriptor of the link is closed,
//! whatever ends its owner, unless the link is pinned.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;

use crate::hint::{self, Failure};
use crate::map::write_hint;
use crate::place::{IfIndex, Side, XdpMode};
use crate::program::Program;
use crate::sys::{self, Errno, Fd, LinkInfo, LinkTarget};

/// `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// `enum bpf_link_type`.
const BPF_LINK_TYPE_XDP: u32 = 6;
const BPF_LINK_TYPE_TCX: u32 = 11;

/// For attaching to tcx (linux/bpf.h).
const BPF_F_BEFORE: u32 = 1 << 3;
const BPF_F_AFTER: u32 = 1 << 4;
const BPF_F_ID: u32 = 1 << 5;

/// More programs than there are on one side of an interface (BPF_MPROG_MAX in linux/bpf_mprog.h).
const TCX_PROGRAMS: usize = 64;

/// Where among other programs on tcx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before all that are there.
    First,
    /// Behind all that are there.
    Last,
    /// Before the program with this id.
    Before(u32),
    /// Behind the program with this id.
    After(u32),
}

impl Position {
    fn flags(self) -> (u32, u32) {
        match self {
            Self::First => (BPF_F_BEFORE, 0),
            Self::Last => (BPF_F_AFTER, 0),
            Self::Before(id) => (BPF_F_BEFORE | BPF_F_ID, id),
            Self::After(id) => (BPF_F_AFTER | BPF_F_ID, id),
        }
    }
}

/// What a link attaches a program to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHook {
    /// One side of an interface (6.6+).
    Tcx(Side),
    /// XDP (5.9+); the kernel does not say in which mode.
    Xdp,
}

/// What the kernel knows of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfLinkInfo {
    /// The link's id.
    pub id: u32,
    /// The id of the program.
    pub program_id: u32,
    /// The interface, 0 if it is gone or in another network namespace than it was, and the hook; `None` for a link to
    /// something else than an interface.
    pub place: Option<(IfIndex, LinkHook)>,
}

/// A program on one side of an interface, as tcx lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcxProgram {
    /// The program's id.
    pub program_id: u32,
    /// The id of the link that attaches it, if one does.
    pub link_id: Option<u32>,
}

/// A link in the kernel. Its program is detached with the last `BpfLink` and the last pin that hold it.
#[derive(Debug)]
pub struct BpfLink {
    fd: Fd,
}

impl BpfLink {
    /// Attaches `program` to one side of an interface (6.6+).
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]: EINVAL from a kernel without tcx, ENOENT when the program of a [`Position`] is not there,
    /// ERANGE when 63 programs are there already.
    pub fn tcx(
        program: &Program,
        interface: IfIndex,
        side: Side,
        position: Position,
    ) -> Result<Self, BpfLinkError> {
        Self::create(program, &tcx_target(interface, side, position)).map_err(|errno| {
            let hint = match (errno, position) {
                (Errno::EINVAL, _) if tcx_programs(interface, side).is_err() => {
                    Some("this kernel has no tcx, which came with Linux 6.6".into())
                }
                (Errno::ENOENT, Position::Before(id) | Position::After(id)) => {
                    Some(format!("program {id} is not there").into())
                }
                _ => hint::explain(Failure::AttachLink, errno),
            };
            BpfLinkError {
                subject: format!("interface {} {side}", interface.0),
                action: "attaching by tcx",
                errno,
                hint,
            }
        })
    }

    /// Attaches `program` to the XDP hook of an interface (5.9+).
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]: EBUSY when another program is there, EINVAL from a kernel without such links, whatever
    /// the driver has against the program.
    pub fn xdp(program: &Program, interface: IfIndex, mode: XdpMode) -> Result<Self, BpfLinkError> {
        let target =
            LinkTarget { interface: interface.0, attach_type: BPF_XDP, flags: mode.flag(), relative_id: 0 };
        Self::create(program, &target).map_err(|errno| BpfLinkError {
            subject: format!("interface {}", interface.0),
            action: "attaching by an XDP link",
            errno,
            hint: hint::explain(Failure::AttachLink, errno),
        })
    }

    /// The link that `fd` is a descriptor of.
    pub(crate) fn from_fd(fd: Fd) -> Self {
        Self { fd }
    }

    fn create(program: &Program, target: &LinkTarget) -> Result<Self, Errno> {
        sys::create_link(program.fd(), target).map(|fd| Self { fd })
    }

    /// The link with the kernel's id `id`; it need not have been made here. Needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]: ENOENT when there is none.
    pub fn open(id: u32) -> Result<Self, BpfLinkError> {
        let fd = sys::link_by_id(id).map_err(|errno| BpfLinkError {
            subject: format!("link {id}"),
            action: "opening it",
            errno,
            hint: hint::explain(Failure::OpenById, errno),
        })?;
        Ok(Self { fd })
    }

    /// The link that is pinned at `path`.
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]; what is there has to be a link, which is not checked before [`info`](Self::info).
    pub fn open_pinned(path: &CStr) -> Result<Self, BpfLinkError> {
        let fd = sys::open_pinned(path).map_err(|errno| at_path(path, "opening a pinned link", errno))?;
        Ok(Self { fd })
    }

    /// Pins the link at `path`, where nothing is yet, in a bpf filesystem: it lives as long as that file.
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]: EPERM where `path` is in another filesystem.
    pub fn pin(&self, path: &CStr) -> Result<(), BpfLinkError> {
        sys::pin(&self.fd, path).map_err(|errno| at_path(path, "pinning a link", errno))
    }

    /// Puts `program` in the place of the one that is attached, without a moment in which there is neither.
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]: ENOLINK when the interface is gone.
    pub fn update(&self, program: &Program) -> Result<(), BpfLinkError> {
        sys::update_link(&self.fd, program.fd()).map_err(|errno| self.error("replacing its program", errno))
    }

    /// Detaches the program, whoever else holds the link (5.9+).
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`]; that it is detached already is none.
    pub fn detach(&self) -> Result<(), BpfLinkError> {
        match sys::detach_link(&self.fd) {
            Ok(()) | Err(Errno::ENOLINK) => Ok(()),
            Err(errno) => Err(self.error("detaching it", errno)),
        }
    }

    /// What the kernel knows of the link.
    ///
    /// # Errors
    ///
    /// [`BpfLinkError`].
    pub fn info(&self) -> Result<BpfLinkInfo, BpfLinkError> {
        let LinkInfo { kind, id, prog_id, ifindex, attach_type, .. } =
            sys::link_info(&self.fd).map_err(|errno| self.error("reading what is known of it", errno))?;
        let hook = match (kind, attach_type) {
            (BPF_LINK_TYPE_XDP, _) => Some(LinkHook::Xdp),
            (BPF_LINK_TYPE_TCX, BPF_TCX_INGRESS) => Some(LinkHook::Tcx(Side::Ingress)),
            (BPF_LINK_TYPE_TCX, BPF_TCX_EGRESS) => Some(LinkHook::Tcx(Side::Egress)),
            _ => None,
        };
        Ok(BpfLinkInfo { id, program_id: prog_id, place: hook.map(|hook| (IfIndex(ifindex), hook)) })
    }

    fn error(&self, action: &'static str, errno: Errno) -> BpfLinkError {
        let subject = match sys::link_info(&self.fd) {
            Ok(info) => format!("link {}", info.id),
            Err(_) => "a link".into(),
        };
        BpfLinkError { subject, action, errno, hint: hint::explain(Failure::Bpf, errno) }
    }
}

/// The programs on one side of an interface, in their order (6.6+).
///
/// # Errors
///
/// [`BpfLinkError`]: EINVAL from a kernel without tcx.
pub fn tcx_programs(interface: IfIndex, side: Side) -> Result<Vec<TcxProgram>, BpfLinkError> {
    match sys::query_programs(interface.0, attach_type(side), TCX_PROGRAMS) {
        Ok(found) => {
            let program =
                |(program_id, link)| TcxProgram { program_id, link_id: (link != 0).then_some(link) };
            Ok(found.into_iter().map(program).collect())
        }
        // The kernel's word for an interface on which there never was one.
        Err(Errno::ENOENT) => Ok(Vec::new()),
        Err(errno) => Err(BpfLinkError {
            subject: format!("interface {} {side}", interface.0),
            action: "listing the programs on tcx",
            errno,
            hint: hint::explain(Failure::AttachLink, errno),
        }),
    }
}

/// The ids of all links, also of those in other network namespaces. Needs CAP_SYS_ADMIN.
///
/// # Errors
///
/// [`BpfLinkError`].
pub fn links() -> Result<Vec<u32>, BpfLinkError> {
    let mut ids = Vec::new();
    loop {
        match sys::next_link(ids.last().copied().unwrap_or(0)) {
            Ok(id) => ids.push(id),
            Err(Errno::ENOENT) => return Ok(ids),
            Err(errno) => {
                let hint = hint::explain(Failure::OpenById, errno);
                return Err(BpfLinkError { subject: "links".into(), action: "listing them", errno, hint });
            }
        }
    }
}

/// Where [`BpfLink::tcx`] attaches a program.
pub(crate) fn tcx_target(interface: IfIndex, side: Side, position: Position) -> LinkTarget {
    let (flags, relative_id) = position.flags();
    LinkTarget { interface: interface.0, attach_type: attach_type(side), flags, relative_id }
}

fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => BPF_TCX_INGRESS,
        Side::Egress => BPF_TCX_EGRESS,
    }
}

fn at_path(path: &CStr, action: &'static str, errno: Errno) -> BpfLinkError {
    let subject = String::from_utf8_lossy(path.to_bytes()).into_owned();
    BpfLinkError { subject, action, errno, hint: hint::explain(Failure::Bpf, errno) }
}

/// Why an operation on a link failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfLinkError {
    subject: String,
    action: &'static str,
    errno: Errno,
    hint: Option<Cow<'static, str>>,
}

impl BpfLinkError {
    /// The error number of bpf(2).
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for BpfLinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.subject, self.action, self.errno)?;
        write_hint(formatter, self.hint.as_deref())
    }
}

impl core::error::Error for BpfLinkError {}
