//! BPF maps.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::hint::{self, Failure};
use crate::object::MapDefinition;
use crate::program::{kernel_name, retry_with_memlock, text};
use crate::sys::{self, BpfMap, Errno, Fd, MapInfo, MapShape};

/// BPF_MAP_TYPE_ARENA (6.9), the last type known here. Of a later one it can not be told how many bytes the
/// kernel writes on a lookup.
const LAST_KNOWN_KIND: u32 = 33;

/// The map types with one value per CPU that there can be: PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH,
/// PERCPU_CGROUP_STORAGE.
const PER_CPU_KINDS: [u32; 4] = [5, 6, 10, 21];

/// The kernel rounds the values of per-CPU maps up to this many bytes.
const PER_CPU_ALIGNMENT: usize = 8;

/// A map in the kernel; it goes away with the last program and the last `Map` that hold it.
#[derive(Debug)]
pub struct Map {
    map: BpfMap,
    definition: MapDefinition,
    value_size: usize,
    /// Bytes from one CPU's value to the next; `None` for a map with one value per key.
    stride: Option<usize>,
}

/// How the values of a map lie in memory, in bytes.
#[derive(Clone, Copy)]
struct Layout {
    value_size: usize,
    stride: Option<usize>,
    /// Of one transfer to or from the kernel.
    transfer_size: usize,
}

/// Why that can not be told.
enum LayoutError {
    Cpus(Errno),
    TooLarge,
}

impl LayoutError {
    fn errno(self) -> Errno {
        match self {
            Self::Cpus(errno) => errno,
            Self::TooLarge => Errno::E2BIG,
        }
    }
}

impl Layout {
    fn of(kind: u32, value_size: u32) -> Result<Self, LayoutError> {
        let value_size = usize::try_from(value_size).map_err(|_| LayoutError::TooLarge)?;
        let stride =
            value_size.checked_next_multiple_of(PER_CPU_ALIGNMENT).filter(|_| PER_CPU_KINDS.contains(&kind));
        let transfer_size = match stride {
            None => value_size,
            Some(stride) => {
                let cpus = sys::cpu_limit().map_err(LayoutError::Cpus)?;
                stride.checked_mul(cpus).ok_or(LayoutError::TooLarge)?
            }
        };
        Ok(Self { value_size, stride, transfer_size })
    }
}

impl Map {
    /// Creates a map. On a kernel before 5.11 the limit of locked memory is raised when it is in the way.
    ///
    /// # Errors
    ///
    /// [`MapError::Create`] when the kernel refuses, [`MapError::UnknownKind`] and
    /// [`MapError::Cpus`] when it can not be told how large its values are.
    pub fn create(definition: &MapDefinition) -> Result<Self, MapError> {
        let name = || definition.name.clone();
        if definition.kind == 0 || definition.kind > LAST_KNOWN_KIND {
            return Err(MapError::UnknownKind { map: name(), kind: definition.kind });
        }
        let refused = |errno| MapError::Create {
            definition: definition.clone(),
            errno,
            hint: hint::explain(Failure::MapCreate { max_entries: definition.max_entries }, errno),
        };
        let Layout { value_size, stride, transfer_size } = Layout::of(definition.kind, definition.value_size)
            .map_err(|error| match error {
                LayoutError::Cpus(errno) => MapError::Cpus { map: name(), errno },
                LayoutError::TooLarge => refused(Errno::E2BIG),
            })?;
        let shape = MapShape {
            kind: definition.kind,
            key_size: definition.key_size,
            value_size: definition.value_size,
            max_entries: definition.max_entries,
            flags: definition.flags,
            transfer_size,
        };
        let kernel_name = kernel_name(&definition.name);
        let map = retry_with_memlock(|| sys::create_map(&shape, kernel_name)).map_err(refused)?;
        Ok(Self { map, definition: definition.clone(), value_size, stride })
    }

    /// The map with the kernel's id `id`; it need not have been made here. Needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    ///
    /// [`MapError::Open`] when there is none, or the kernel refuses.
    pub fn open(id: u32) -> Result<Self, MapError> {
        let refused = |errno| MapError::Open { id, errno, hint: hint::explain(Failure::OpenById, errno) };
        let mut layout = None;
        let transfer_size = |info: &MapInfo| {
            let found = Layout::of(info.kind, info.value_size).map_err(LayoutError::errno)?;
            layout = Some(found);
            Ok(found.transfer_size)
        };
        let (map, info) = sys::map_by_id(id, transfer_size).map_err(refused)?;
        let Layout { value_size, stride, .. } = layout.ok_or_else(|| refused(Errno::EINVAL))?;
        let definition = MapDefinition {
            name: text(&info.name),
            kind: info.kind,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
        };
        Ok(Self { map, definition, value_size, stride })
    }

    /// What the map was made from; of one that was opened, what the kernel says of it.
    pub fn definition(&self) -> &MapDefinition {
        &self.definition
    }

    /// Sets the value of `key`, whether it is there already or not. For a map with a value per CPU, `value`
    /// holds as many as [`lookup_per_cpu`](Self::lookup_per_cpu) gives, each padded to a multiple of 8 bytes.
    ///
    /// # Errors
    ///
    /// [`MapError::WrongSize`] when `key` or `value` does not have the map's size, otherwise
    /// [`MapError::Access`].
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), MapError> {
        self.check_key(key)?;
        self.check_size("value", value.len(), self.map.transfer_size())?;
        self.map.update(key, value).map_err(|errno| self.access("update", errno))
    }

    /// The value of `key`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`MapError::PerCpu`] for a map with a value per CPU, [`MapError::WrongSize`] when `key` does not
    /// have the map's size, otherwise [`MapError::Access`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        if self.stride.is_some() {
            return Err(MapError::PerCpu { map: self.definition.name.clone() });
        }
        self.read(key)
    }

    /// Sets the value of `key` to zeros, for all CPUs if it has one for each.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update).
    pub fn zero(&self, key: &[u8]) -> Result<(), MapError> {
        self.update(key, &vec![0; self.map.transfer_size()])
    }

    /// The values of `key`, one per CPU in the order of their numbers, and behind them zeros for CPUs that the kernel
    /// could have but this machine has not; none when there is no such key. A map with one value per key gives that one.
    ///
    /// # Errors
    ///
    /// [`MapError::WrongSize`] when `key` does not have the map's size, otherwise [`MapError::Access`].
    pub fn lookup_per_cpu(&self, key: &[u8]) -> Result<ValuesPerCpu, MapError> {
        let bytes = self.read(key)?.unwrap_or_default();
        let stride = self.stride.unwrap_or(self.value_size).max(1);
        Ok(ValuesPerCpu { bytes, value_size: self.value_size, stride })
    }

    /// The kernel's id of the map.
    ///
    /// # Errors
    ///
    /// [`MapError::Access`].
    pub fn id(&self) -> Result<u32, MapError> {
        self.map.info().map(|info| info.id).map_err(|errno| self.access("reading the id", errno))
    }

    pub(crate) fn fd(&self) -> &Fd {
        self.map.fd()
    }

    pub(crate) fn raw(&self) -> &BpfMap {
        &self.map
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.check_key(key)?;
        match self.map.lookup(key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.access("lookup", errno)),
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<(), MapError> {
        self.check_size("key", key.len(), self.map.key_size())
    }

    fn check_size(&self, part: &'static str, got: usize, wanted: usize) -> Result<(), MapError> {
        if got == wanted {
            return Ok(());
        }
        Err(MapError::WrongSize { map: self.definition.name.clone(), part, got, wanted })
    }

    fn access(&self, operation: &'static str, errno: Errno) -> MapError {
        MapError::Access {
            map: self.definition.name.clone(),
            operation,
            errno,
            hint: hint::explain(Failure::Bpf, errno),
        }
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Map {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd().as_fd()
    }
}

/// The values that one key has on all CPUs. There may be thousands, so they stay as the kernel wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuesPerCpu {
    bytes: Vec<u8>,
    value_size: usize,
    stride: usize,
}

impl ValuesPerCpu {
    /// Each value, in the order of the CPUs' numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks(self.stride).map(|value| value.get(..self.value_size).unwrap_or(value))
    }
}

/// Why an operation on a map failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the message of each variant says what it and its fields mean
pub enum MapError {
    UnknownKind { map: String, kind: u32 },
    Cpus { map: String, errno: Errno },
    Create { definition: MapDefinition, errno: Errno, hint: Option<Cow<'static, str>> },
    Open { id: u32, errno: Errno, hint: Option<Cow<'static, str>> },
    WrongSize { map: String, part: &'static str, got: usize, wanted: usize },
    PerCpu { map: String },
    Access { map: String, operation: &'static str, errno: Errno, hint: Option<Cow<'static, str>> },
}

impl fmt::Display for MapError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { map, kind } => {
                write!(formatter, "map {map:?}: map type {kind} is unknown here")
            }
            Self::Cpus { map, errno } => {
                write!(formatter, "map {map:?}: asking how many CPUs there can be: {errno}")
            }
            Self::Create { definition: map, errno, hint } => {
                write!(
                    formatter,
                    "map {:?}: creating it (type {}, key {} bytes, value {} bytes, {} entries, flags {:#x}): \
                     {errno}",
                    map.name, map.kind, map.key_size, map.value_size, map.max_entries, map.flags
                )?;
                write_hint(formatter, hint.as_deref())
            }
            Self::Open { id, errno, hint } => {
                write!(formatter, "map {id}: opening it: {errno}")?;
                write_hint(formatter, hint.as_deref())
            }
            Self::WrongSize { map, part, got, wanted } => {
                write!(formatter, "map {map:?}: a {part} of {got} bytes, wanted {wanted}")
            }
            Self::PerCpu { map } => write!(formatter, "map {map:?}: has a value per CPU, not one"),
            Self::Access { map, operation, errno, hint } => {
                write!(formatter, "map {map:?}: {operation}: {errno}")?;
                write_hint(formatter, hint.as_deref())
            }
        }
    }
}

impl core::error::Error for MapError {}

/// Ends an error's line with its hint.
pub(crate) fn write_hint(formatter: &mut fmt::Formatter<'_>, hint: Option<&str>) -> fmt::Result {
    match hint {
        Some(hint) => write!(formatter, ": {hint}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, MapError};
    use alloc::string::ToString;

    #[test]
    fn messages() {
        let error = MapError::Cpus { map: "counters".into(), errno: Errno::EINVAL };
        assert_eq!(error.to_string(), "map \"counters\": asking how many CPUs there can be: EINVAL");
        let error = MapError::Access {
            map: "ports".into(),
            operation: "update",
            errno: Errno::EPERM,
            hint: Some("why".into()),
        };
        assert_eq!(error.to_string(), "map \"ports\": update: EPERM: why");
    }
}
