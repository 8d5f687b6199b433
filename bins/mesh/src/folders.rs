//! The folders for the mesh's sockets and files, and the variables that set them.

use std::env;
use std::fmt::Display;
use std::io;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::libc::sockaddr_un;

/// The longest path of a socket, in bytes, without the final zero.
const MAX_SOCKET: usize = size_of::<sockaddr_un>() - offset_of!(sockaddr_un, sun_path) - 1;

/// A folder, and the variable that sets it.
pub(crate) struct Place {
    variable: &'static str,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// The folder for temporary files.
    pub(crate) fn temporary() -> Self {
        // An empty value would mean the working directory.
        let empty = env::var_os("TMPDIR").is_some_and(|folder| folder.is_empty());
        Self { variable: "TMPDIR", folder: if empty { "/tmp".into() } else { env::temp_dir() } }
    }

    /// The folder for runtime files, if the system has one.
    pub(crate) fn runtime() -> Option<Self> {
        let variable = "XDG_RUNTIME_DIR";
        let folder = env::var_os(variable).filter(|folder| !folder.is_empty())?;
        Some(Self { variable, folder: folder.into() })
    }

    /// Checks that a socket can have this path in the folder.
    ///
    /// # Errors
    ///
    /// The path is too long, relative, or not printable: the message says what to do.
    pub(crate) fn has_room_for(&self, socket: &Path) -> io::Result<()> {
        let length = socket.as_os_str().as_bytes().len();
        let invalid = |why: &str| Err(self.refused(&self.folder, why));
        if !socket.is_absolute() {
            return invalid("it is not an absolute path");
        }
        if socket.to_str().is_none_or(|path| path.contains(char::is_control)) {
            return invalid("its name is not plain text");
        }
        if length > MAX_SOCKET {
            return invalid(&format!(
                "the sockets in it would have paths of {length} bytes, and {MAX_SOCKET} is the limit"
            ));
        }
        Ok(())
    }

    /// The error for a path in the folder, or the folder itself, that cannot be used.
    pub(crate) fn refused(&self, path: &Path, why: impl Display) -> io::Error {
        // Keeps the message in one line.
        let path = path.to_string_lossy().replace(char::is_control, "?");
        let variable = self.variable;
        io::Error::other(format!(
            "cannot use {path}: {why}: set {variable} to a folder in which you can write"
        ))
    }
}
