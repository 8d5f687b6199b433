//! Where the control sockets are: in a folder that only its owner reaches, one for each mesh, by
//! the port of its load balancer.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The socket of the mesh with this port.
pub(super) fn socket(port: u16) -> io::Result<PathBuf> {
    Ok(folder()?.join(format!("{port}.sock")))
}

/// The ports of the meshes that run, in order. What a killed mesh has left is removed.
pub(super) fn ports() -> io::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for entry in fs::read_dir(folder()?)? {
        let path = entry?.path();
        let port = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock"));
        let Some(port) = port.and_then(|port| port.parse().ok()) else { continue };
        match UnixStream::connect(&path) {
            Ok(_) => ports.push(port),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = fs::remove_file(path);
            }
            Err(_) => {}
        }
    }
    ports.sort_unstable();
    Ok(ports)
}

/// The folder, made if it is not there.
fn folder() -> io::Result<PathBuf> {
    let user = nix::unistd::geteuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("mesh"),
        None => std::env::temp_dir().join(format!("mesh-{user}")),
    };
    let failed = |error: io::Error| {
        let text = format!(
            "cannot use {}: {error}: set XDG_RUNTIME_DIR to a folder of yours, or unset it",
            path.display()
        );
        io::Error::new(error.kind(), text)
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Somebody else may have been first, in a folder that all can write to.
    let found = fs::symlink_metadata(&path).map_err(failed)?;
    if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o077 != 0 {
        let text = format!(
            "{} is not a folder of this user's alone: remove it, or set XDG_RUNTIME_DIR",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(path)
}
