//! What must hold for a static program.

use object::FileKind;
use object::elf::{PT_DYNAMIC, PT_INTERP};
use object::read::elf::{ElfFile32, ElfFile64, ProgramHeader};

/// Says what in `file` needs anything of the machine that it runs on, other than the kernel.
///
/// # Errors
///
/// If it does, or is no ELF file.
pub(crate) fn check_static(file: &[u8]) -> Result<(), String> {
    let failed = |error: object::Error| error.to_string();
    match FileKind::parse(file).map_err(failed)? {
        FileKind::Elf32 => {
            let elf = ElfFile32::<object::Endianness>::parse(file).map_err(failed)?;
            check(elf.elf_program_headers(), elf.endian())
        }
        FileKind::Elf64 => {
            let elf = ElfFile64::<object::Endianness>::parse(file).map_err(failed)?;
            check(elf.elf_program_headers(), elf.endian())
        }
        kind => Err(format!("a file of the kind {kind:?}")),
    }
}

fn check<H: ProgramHeader>(headers: &[H], endian: H::Endian) -> Result<(), String> {
    match headers
        .iter()
        .map(|header| header.p_type(endian))
        .find(|kind| [PT_INTERP, PT_DYNAMIC].contains(kind))
    {
        None => Ok(()),
        Some(PT_INTERP) => Err("it needs an interpreter".into()),
        Some(_) => Err("it has a dynamic section".into()),
    }
}
