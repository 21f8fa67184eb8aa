//! Small programs that the probe is compared with, or that serve to measure it: made of instructions.

use loader::{IfIndex, Instruction, LinkedProgram, Map, Object, Program, ProgramKind};

use objects::{Builder, R_BPF_64_64, instruction};

#[path = "../../../loader/tests/objects/mod.rs"]
mod objects;

/// Operation codes (RFC 9669): loads from memory, stores of a register, stores of an immediate.
const LOAD: [u8; 4] = [0x71, 0x69, 0x61, 0x79];
const STORE: [u8; 4] = [0x73, 0x6b, 0x63, 0x7b];
const STORE_IMMEDIATE: [u8; 4] = [0x72, 0x6a, 0x62, 0x7a];
const ATOMIC_64: u8 = 0xdb;
const ADD: u8 = 0x07;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const JUMP_IF_NOT_ABOVE: u8 = 0xbd;
const JUMP_IF_EQUAL: u8 = 0x15;
const OR_REGISTER: u8 = 0x4f;
const XOR_32: u8 = 0xa4;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// Where `struct __sk_buff` has the number of the interface.
pub(crate) const IFINDEX: i16 = 40;

/// The register with the context, at the beginning.
const CONTEXT: u8 = 1;
/// The register with the beginning of the packet, once it is [checked](Code::packet).
const PACKET: u8 = 2;
/// The register that points behind the stack.
const FRAME: u8 = 10;

/// Helpers (linux/bpf.h).
const MAP_LOOKUP_ELEM: i32 = 1;
const TAIL_CALL: i32 = 12;
const REDIRECT: i32 = 23;

/// Verdicts (linux/pkt_cls.h, linux/bpf.h).
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_OK: i32 = 0;
const TC_ACT_REDIRECT: i32 = 7;
pub(crate) const XDP_DROP: i32 = 1;
pub(crate) const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

/// What a [tail call](Code::tail_call) that fails returns: no verdict that packets here get.
const NO_SUCH_PROGRAM: i32 = 1;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Traffic control, egress of loopback.
    Loopback,
    /// Traffic control, ingress of Ethernet.
    Wire,
    /// XDP of Ethernet.
    Xdp,
}

impl Hook {
    /// What a program for it is.
    pub(crate) fn kind(self) -> ProgramKind {
        match self {
            Self::Loopback | Self::Wire => ProgramKind::SchedCls,
            Self::Xdp => ProgramKind::XdpFrags,
        }
    }

    /// The verdict on a packet that goes its way.
    pub(crate) fn passed(self) -> i32 {
        match self {
            Self::Loopback | Self::Wire => TC_ACT_UNSPEC,
            Self::Xdp => XDP_PASS,
        }
    }

    /// The verdict on a packet that is sent back.
    pub(crate) fn reflected(self) -> i32 {
        match self {
            Self::Loopback => TC_ACT_OK,
            Self::Wire => TC_ACT_REDIRECT,
            Self::Xdp => XDP_TX,
        }
    }

    /// Where `struct __sk_buff` or `struct xdp_md` has the beginning and the end of the packet.
    pub(crate) fn data(self) -> [i16; 2] {
        match self {
            Self::Loopback | Self::Wire => [76, 80],
            Self::Xdp => [0, 4],
        }
    }
}

/// Where a frame has what is exchanged to send it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Both addresses of IP, one behind the other.
    pub(crate) addresses: usize,
    /// The length of one.
    pub(crate) address_length: usize,
    /// Both ports.
    pub(crate) ports: usize,
}

/// A program in the making.
#[derive(Default)]
pub(crate) struct Code<'a> {
    instructions: Vec<[u8; 8]>,
    maps: Vec<(u64, &'a Map)>,
}

impl<'a> Code<'a> {
    fn push(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.instructions.push(instruction(opcode, destination, source, offset, immediate));
    }

    /// `destination = *(source + offset)`, of so many bytes.
    fn load_field(&mut self, size: usize, destination: u8, source: u8, offset: i16) {
        self.push(LOAD[size.ilog2() as usize], destination, source, offset, 0);
    }

    fn store_field(&mut self, size: usize, destination: u8, offset: i16, source: u8) {
        self.push(STORE[size.ilog2() as usize], destination, source, offset, 0);
    }

    fn store_immediate(&mut self, size: usize, destination: u8, offset: i16, value: i32) {
        self.push(STORE_IMMEDIATE[size.ilog2() as usize], destination, 0, offset, value);
    }

    fn load_map(&mut self, destination: u8, map: &'a Map) {
        self.maps.push((self.instructions.len() as u64 * 8, map));
        self.push(Instruction::LOAD_IMMEDIATE_64, destination, 0, 0, 0);
        self.instructions.push([0; 8]);
    }

    /// `return value`
    pub(crate) fn exit(&mut self, value: i32) {
        self.push(MOVE, 0, 0, 0, value);
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Has [`PACKET`] point to the packet, or lets it pass, if it has less than `length` bytes.
    pub(crate) fn packet(&mut self, hook: Hook, length: usize) {
        let [data, data_end] = hook.data();
        self.load_field(4, PACKET, CONTEXT, data);
        self.load_field(4, 3, CONTEXT, data_end);
        self.push(MOVE_REGISTER, 4, PACKET, 0, 0);
        self.push(ADD, 4, 0, 0, length as i32);
        self.push(JUMP_IF_NOT_ABOVE, 4, 3, 2, 0);
        self.exit(hook.passed());
    }

    /// Exchanges two fields of the packet that are one behind the other.
    fn exchange(&mut self, at: usize, length: usize) {
        let mut done = 0;
        while done < length {
            let size = [8, 4, 2].into_iter().find(|size| *size <= length - done).unwrap_or(1);
            let [first, second] = [at + done, at + length + done].map(|offset| offset as i16);
            self.load_field(size, 4, PACKET, first);
            self.load_field(size, 5, PACKET, second);
            self.store_field(size, PACKET, first, 5);
            self.store_field(size, PACKET, second, 4);
            done += size;
        }
    }

    /// Writes `bytes`, an even number of them, to the beginning of the packet.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        for (word, offset) in words.iter().zip((0..).step_by(4)) {
            self.store_immediate(4, PACKET, offset, i32::from_ne_bytes(*word));
        }
        if let [a, b] = *rest {
            let last = i16::from_ne_bytes([a, b]);
            self.store_immediate(2, PACKET, (words.len() * 4) as i16, last.into());
        }
    }

    /// Waits for all loads and stores before, and lets none behind begin earlier: what a locked instruction does on x86
    /// (Intel SDM volume 3A section 9.2.2). Elsewhere it may do less.
    pub(crate) fn settle(&mut self) {
        self.store_immediate(8, FRAME, -8, 0);
        self.push(MOVE, 5, 0, 0, 0);
        self.push(ATOMIC_64, FRAME, 5, -8, 0);
    }

    /// Goes on as the only program in `programs`; returns [`NO_SUCH_PROGRAM`] if there is none.
    pub(crate) fn tail_call(&mut self, programs: &'a Map) {
        self.load_map(2, programs);
        self.push(MOVE, 3, 0, 0, 0);
        self.push(CALL, 0, 0, 0, TAIL_CALL);
        self.exit(NO_SUCH_PROGRAM);
    }

    /// `return bpf_redirect(interface, 0)`
    pub(crate) fn redirect_to(&mut self, interface: IfIndex) {
        self.push(MOVE, 1, 0, 0, interface.0.cast_signed());
        self.redirect();
    }

    /// Counts in `counts`, a map with a value of eight bytes for each CPU, where the first entry is for packets that
    /// have these words at these places, and the second for others.
    pub(crate) fn count(&mut self, counts: &'a Map, words: &[(usize, [u8; 4])]) {
        self.push(MOVE, 5, 0, 0, 0);
        for (offset, word) in words {
            self.load_field(4, 4, PACKET, *offset as i16);
            self.push(XOR_32, 4, 0, 0, i32::from_ne_bytes(*word));
            self.push(OR_REGISTER, 5, 4, 0, 0);
        }
        self.store_immediate(4, FRAME, -4, 0);
        self.push(JUMP_IF_EQUAL, 5, 0, 1, 0);
        self.store_immediate(4, FRAME, -4, 1);
        self.push(MOVE_REGISTER, 2, FRAME, 0, 0);
        self.push(ADD, 2, 0, 0, -4);
        self.load_map(1, counts);
        self.push(CALL, 0, 0, 0, MAP_LOOKUP_ELEM);
        self.push(JUMP_IF_EQUAL, 0, 0, 3, 0);
        self.load_field(8, 1, 0, 0);
        self.push(ADD, 1, 0, 0, 1);
        self.store_field(8, 0, 0, 1);
    }

    /// `return bpf_redirect(register 1, 0)`
    fn redirect(&mut self) {
        self.push(MOVE, 2, 0, 0, 0);
        self.push(CALL, 0, 0, 0, REDIRECT);
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Loads the program.
    pub(crate) fn load(&self, name: &str, kind: ProgramKind) -> Result<Program, String> {
        self.with_linked(name, |linked| linked.load(kind, false).map_err(|error| error.to_string()))
    }

    /// Hands the linked program to `body`.
    pub(crate) fn with_linked<T>(
        &self,
        name: &str,
        body: impl FnOnce(&LinkedProgram) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut builder = Builder::new();
        let section = builder.program("program", name, &self.instructions);
        let names: Vec<String> = (0..self.maps.len()).map(|index| format!("map{index}")).collect();
        let definitions: Vec<_> = names.iter().map(|name| (name.as_str(), &[0; 5][..])).collect();
        for ((offset, _), symbol) in self.maps.iter().zip(builder.maps(&definitions)) {
            builder.relocate(section, *offset, symbol, R_BPF_64_64);
        }
        let bytes = builder.bytes();
        let object = Object::parse(&bytes).map_err(|error| error.to_string())?;
        let maps: Vec<_> =
            names.iter().map(String::as_str).zip(self.maps.iter().map(|(_, map)| *map)).collect();
        body(&object.link(name, &maps, &[]).map_err(|error| error.to_string())?)
    }
}

/// A program that returns `verdict`.
pub(crate) fn returning<'a>(verdict: i32) -> Code<'a> {
    let mut code = Code::default();
    code.exit(verdict);
    code
}

/// The bare swap: after a bounds check it exchanges addresses and ports, and but on loopback MAC addresses, whatever
/// the packet is. No less sends one back.
pub(crate) fn bare_swap<'a>(hook: Hook, layout: &Layout) -> Code<'a> {
    let mut code = Code::default();
    code.packet(hook, layout.ports + 4);
    if hook != Hook::Loopback {
        code.exchange(0, 6);
    }
    code.exchange(layout.addresses, layout.address_length);
    code.exchange(layout.ports, 2);
    if hook == Hook::Wire {
        code.load_field(4, 1, CONTEXT, IFINDEX);
        code.redirect();
    } else {
        code.exit(hook.reflected());
    }
    code
}
