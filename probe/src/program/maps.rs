//! The maps, and access to what is in them.

use core::mem::{MaybeUninit, transmute};
use core::ptr::{addr_of_mut, write_volatile};

use super::helper;
use crate::abi::{Counter, CounterPair, Prefix, map};
use crate::host::{Fragments, Room};

/// A map definition in the `maps` section, as loaders without BTF read it.
#[repr(C)]
pub struct MapDefinition {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_PERCPU_ARRAY: u32 = 6;
const BPF_MAP_TYPE_LRU_HASH: u32 = 9;
const BPF_MAP_TYPE_LPM_TRIE: u32 = 11;

/// Tries take no other (linux/bpf.h).
const BPF_F_NO_PREALLOC: u32 = 1;

/// How many hints one entry of [`map::HINTS`] has: an array rounds its values up to eight bytes.
pub(super) const HINTS_IN_ENTRY: u16 = 4;

/// Declares the maps: symbol, kind, key, value, entries.
macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident: $kind:ident<$key:ty, $value:ty>[$entries:expr], $flags:expr;)*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "maps")]
        pub(super) static mut $name: MapDefinition = MapDefinition {
            kind: $kind,
            key_size: size_of::<$key>() as u32,
            value_size: size_of::<$value>() as u32,
            max_entries: $entries,
            flags: $flags,
        };)*
    };
}

maps! {
    /// [`map::DESTINATIONS`]. The loader sets how many there are.
    bpfecho_to: BPF_MAP_TYPE_LPM_TRIE<Prefix, u32>[1], BPF_F_NO_PREALLOC;
    /// [`map::SOURCES`]. The loader sets how many there are.
    bpfecho_from: BPF_MAP_TYPE_LPM_TRIE<Prefix, u32>[1], BPF_F_NO_PREALLOC;
    /// [`map::PORTS`].
    bpfecho_ports: BPF_MAP_TYPE_ARRAY<u32, u64>[map::PORT_WORDS], 0;
    /// [`map::COUNTERS`].
    bpfecho_counts: BPF_MAP_TYPE_PERCPU_ARRAY<u32, CounterPair>[map::COUNTER_PAIRS], 0;
    /// [`map::FRAGMENTS`]: datagrams that arrive at the same time.
    bpfecho_frags: BPF_MAP_TYPE_LRU_HASH<Fragments, u32>[4096], 0;
    /// [`map::CLAIMED`].
    bpfecho_claimed: BPF_MAP_TYPE_LRU_HASH<Prefix, u32>[1024], 0;
    /// [`map::HINTS`]: one for each value of a 16-bit hash.
    bpfecho_hints: BPF_MAP_TYPE_ARRAY<u32, u64>[65536 / HINTS_IN_ENTRY as u32], 0;
    /// [`map::SCRATCH`].
    bpfecho_scratch: BPF_MAP_TYPE_PERCPU_ARRAY<u32, Room>[1], 0;
}

/// Looks `key` up in a map whose keys are of its type.
///
/// # Safety
/// The map's keys have the type of `key`, its values the type `V`.
#[inline(always)]
pub(super) unsafe fn lookup<K, V>(map: *mut MapDefinition, key: &K) -> Option<&'static mut V> {
    // SAFETY: as the caller promises. A value stays valid while the program runs, and other CPUs' changes to it
    // are as harmless as they are to any map.
    unsafe { helper::map_lookup_elem(map, (&raw const *key).cast()).cast::<V>().as_mut() }
}

/// The key of a whole address on the stack, where the verifier takes no access that is not aligned.
#[repr(C, align(8))]
struct Key {
    padding: u32,
    prefix: Prefix,
}

impl Key {
    #[inline(always)]
    fn new(high: u64, low: u64) -> Self {
        let mut key = MaybeUninit::<Self>::uninit();
        // SAFETY: the three words are all of the key, and aligned as it is. Any bytes are valid.
        unsafe {
            let words = key.as_mut_ptr().cast::<[u8; 8]>();
            write_word(words, word(0, u128::BITS));
            write_word(words.add(1), high.to_ne_bytes());
            write_word(words.add(2), low.to_ne_bytes());
            key.assume_init()
        }
    }
}

/// See [`Host::destination`]. A function of its own, as it is called in many places.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn bpfecho_destination(high: u64, low: u64) -> u32 {
    // SAFETY: the map's keys are `Prefix`, its values `u32`.
    unsafe { lookup::<Prefix, u32>(addr_of_mut!(bpfecho_to), &Key::new(high, low).prefix) }
        .map_or(0, |value| *value)
}

/// See [`Host::answers`]; likewise.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn bpfecho_source(high: u64, low: u64) -> u32 {
    // SAFETY: the map's keys are `Prefix`, its values `u32`.
    unsafe { lookup::<Prefix, u32>(addr_of_mut!(bpfecho_from), &Key::new(high, low).prefix) }
        .map_or(0, |value| *value)
}

/// See [`Host::serves_port`]; likewise.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn bpfecho_port(port: u16) -> u32 {
    // SAFETY: the map's keys are `u32`, its values `u64`.
    let word = unsafe { entry::<u64>(addr_of_mut!(bpfecho_ports), u32::from(port / 64)) };
    word.map_or(0, |word| (*word >> (port % 64)) as u32 & 1)
}

/// The bytes of two numbers.
#[inline(always)]
fn word(first: u32, second: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
}

/// Writes eight bytes of the stack at once. Without CAP_PERFMON verifiers like that of 6.1 take no less where there is a
/// register that they remember, be it but a number (check_stack_write_fixed_off() in kernel/bpf/verifier.c).
///
/// # Safety
/// `place` is valid for writes, and aligned for numbers of eight bytes.
#[inline(always)]
unsafe fn write_word(place: *mut [u8; 8], word: [u8; 8]) {
    // SAFETY: as the caller promises.
    unsafe { write_volatile(place.cast(), u64::from_ne_bytes(word)) };
}

/// The entry `index` of an array. (A key that is a constant would be global data.)
///
/// # Safety
/// The map's keys are `u32`, its values have the type `V`.
#[inline(always)]
pub(super) unsafe fn entry<V>(map: *mut MapDefinition, index: u32) -> Option<&'static mut V> {
    let mut key = MaybeUninit::<u64>::uninit();
    // SAFETY: as the caller promises; the key is the first half of the word.
    unsafe {
        write_word(key.as_mut_ptr().cast(), word(index, 0));
        helper::map_lookup_elem(map, key.as_ptr().cast()).cast::<V>().as_mut()
    }
}

/// Adds `key` to a hash whose values are `u32` and say nothing.
#[inline(always)]
pub(super) fn remember<K>(map: *mut MapDefinition, key: &K) {
    // Of which four count: see `write_word`.
    let value = 0u64;
    // SAFETY: callers pass the map of these keys. If there is no room, nothing is remembered.
    unsafe { helper::map_update_elem(map, (&raw const *key).cast(), (&raw const value).cast(), 0) };
}

/// Room for the headers of unusual packets.
#[inline(always)]
pub(super) fn room() -> Option<&'static mut Room> {
    // SAFETY: the map's keys are `u32`, its values `Room`. This CPU has its own, and it is lent only once at a
    // time below.
    unsafe { entry::<Room>(addr_of_mut!(bpfecho_scratch), 0) }
}

/// Adds to the counters of this CPU, which nothing else writes while the program runs: one to `counter`, and `bytes` to
/// the one behind it.
#[inline(always)]
pub(super) fn count(counter: Counter, bytes: u32) {
    let (index, second) = (counter as u32 / 2, counter as u64 % 2);
    // SAFETY: the map's keys are `u32`, its values `CounterPair`.
    if let Some(pair) = unsafe { entry::<CounterPair>(addr_of_mut!(bpfecho_counts), index) } {
        pair[0] += 1 - second;
        pair[1] += second + u64::from(bytes);
    }
}

/// Adds one to a counter: for what is counted rarely, and in many places.
#[inline(always)]
pub(super) fn note(counter: Counter) {
    bpfecho_note(counter as u8);
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn bpfecho_note(counter: u8) {
    // SAFETY: the number is that of a counter.
    count(unsafe { transmute::<u8, Counter>(counter) }, 0);
}
