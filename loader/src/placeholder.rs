//! A place on tcx that is taken before the program for it is there.

use crate::bpf_link::{BpfLink, Position, tcx_target};
use crate::instruction::Instruction;
use crate::place::{IfIndex, Side};
use crate::program::{Program, ProgramKind, kernel_name};
use crate::sys::{self, Fd, LinkingChild, ProgramImage};

/// `return TCX_NEXT`, which is -1 (linux/bpf.h): the packet goes on as if nothing was there.
const PASS: [Instruction; 2] = [Instruction::new(0xb7, 0, 0, 0, -1), Instruction::new(0x95, 0, 0, 0, 0)];

/// A link to tcx that is being made by a child process, with a program that passes everything on.
///
/// Attaching to tcx sleeps for several milliseconds, until no CPU uses the list of programs that was valid before
/// (synchronize_rcu() in kernel/bpf/tcx.c); replacing an attached program does not. So one can wait while the verifier
/// is at work. It goes away on drop.
#[derive(Debug)]
pub struct Placeholder {
    // Dropped first: as long as it runs, it has the descriptor, too.
    child: LinkingChild,
    /// Of the program, and of the link once the child has made that.
    fd: Fd,
}

impl Placeholder {
    /// Begins to take the first place on one side of an interface (6.6+). `None` if that cannot be had.
    pub fn tcx(interface: IfIndex, side: Side) -> Option<Self> {
        let image = ProgramImage {
            kind: ProgramKind::SchedCls.number(),
            flags: 0,
            instructions: &PASS,
            license: c"",
            name: kernel_name("placeholder"),
            lines: None,
        };
        let fd = sys::load_program(&image, None).ok()?;
        let child = LinkingChild::start(&fd, &tcx_target(interface, side, Position::First)).ok()?;
        Some(Self { child, fd })
    }

    /// Puts `program` in this place. `None` if it was not to be had: [`BpfLink::tcx`] says why.
    pub fn replace(self, program: &Program) -> Option<BpfLink> {
        let Self { child, fd } = self;
        let link = child.wait().then(|| BpfLink::from_fd(fd))?;
        link.update(program).ok().map(|()| link)
    }
}
