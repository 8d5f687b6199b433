//! The files of the repository.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes some, by path and content.
pub(crate) fn write(files: Vec<(String, String)>) -> io::Result<()> {
    for (path, content) in files {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write {path}: {error}"))
        };
        let full = repository().join(&path);
        fs::create_dir_all(full.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        fs::write(full, content).map_err(failed)?;
    }
    Ok(())
}

/// Its folder.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
