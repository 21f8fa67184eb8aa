//! Programs of somebody else on tcx.

use loader::{BpfLink, IfIndex, Map, Object, Position, Program, ProgramKind, Side, tcx_programs};

use objects::{Builder, R_BPF_64_64, exit, instruction, load_64, mov};

#[path = "../../loader/tests/objects/mod.rs"]
mod objects;

/// What the next program sees, too, and what is at its end (linux/bpf.h).
pub(crate) const NEXT: i32 = -1;
/// See [`NEXT`].
pub(crate) const PASS: i32 = 0;

/// A program that counts the packets that it sees. Detached with the value.
pub(crate) struct Foreign {
    interface: IfIndex,
    side: Side,
    link: BpfLink,
    program: Program,
    counter: Map,
}

impl Foreign {
    /// Attaches one that has this verdict on every packet.
    pub(crate) fn attach(interface: IfIndex, side: Side, position: Position, verdict: i32) -> Self {
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
            mov(verdict),
            exit(),
        ];
        let section = builder.program("tc", "foreign", &code);
        let symbol = builder.maps(&[("counter", &[2, 4, 8, 1, 0])])[0];
        builder.relocate(section, 3 * 8, symbol, R_BPF_64_64);
        let bytes = builder.bytes();
        let object = Object::parse(&bytes).unwrap();
        let counter = Map::create(&object.maps()[0]).unwrap();
        let linked = object.link("foreign", &[("counter", &counter)], &[]).unwrap();
        let program = linked.load(ProgramKind::SchedCls, false).unwrap();
        let link = BpfLink::tcx(&program, interface, side, position).unwrap();
        Self { interface, side, link, program, counter }
    }

    /// The id of the program.
    pub(crate) fn id(&self) -> u32 {
        self.program.id().unwrap()
    }

    /// How many packets it has seen.
    pub(crate) fn seen(&self) -> u64 {
        let value = self.counter.lookup(&[0; 4]).unwrap().unwrap();
        u64::from_ne_bytes(value.try_into().unwrap())
    }

    /// Asserts that it is where it was, as it was.
    #[track_caller]
    pub(crate) fn assert_there(&self) {
        let (id, link) = (self.id(), self.link.info().unwrap());
        assert_eq!(link.program_id, id);
        let listed = tcx_programs(self.interface, self.side).unwrap();
        assert!(listed.iter().any(|one| (one.program_id, one.link_id) == (id, Some(link.id))), "{listed:?}");
    }
}
