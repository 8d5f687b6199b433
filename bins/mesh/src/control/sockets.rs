//! Where the control sockets are: in a folder that only its owner can enter, one for each mesh, named
//! by the port of its load balancer.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use smol::Async;

use crate::folders::Place;

/// The folder.
pub(super) struct Sockets {
    place: Place,
    path: PathBuf,
}

impl Sockets {
    /// Opens the folder, or creates it.
    ///
    /// # Errors
    ///
    /// It cannot be used, or others can enter it: the message says what to do.
    pub(super) fn open() -> io::Result<Self> {
        let user = nix::unistd::geteuid().as_raw();
        let (place, name) = match Place::runtime() {
            Some(place) => (place, "mesh".to_owned()),
            None => (Place::temporary(), format!("mesh-{user}")),
        };
        let sockets = Self { path: place.folder.join(name), place };
        // The longest name.
        sockets.place.has_room_for(&sockets.of(u16::MAX))?;
        match DirBuilder::new().mode(0o700).create(&sockets.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(sockets.refused(error));
            }
            _ => {}
        }
        // In a folder that is writable for all, another user may have created it.
        let found = fs::symlink_metadata(&sockets.path).map_err(|error| sockets.refused(error))?;
        if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o077 != 0 {
            return Err(sockets.refused("it is not a folder of this user's alone"));
        }
        Ok(sockets)
    }

    /// The socket of the mesh on this port.
    pub(super) fn of(&self, port: u16) -> PathBuf {
        self.path.join(format!("{port}.sock"))
    }

    /// Binds that socket; only one mesh can have the port. Removes the sockets of killed meshes.
    pub(super) async fn bind(&self, port: u16) -> io::Result<Async<UnixListener>> {
        let bind = async {
            let _alone = self.alone()?;
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_type()?.is_socket() {
                    remove_if_dead(&entry.path()).await;
                }
            }
            let listener = Async::<UnixListener>::bind(self.of(port))?;
            fs::set_permissions(self.of(port), Permissions::from_mode(0o600))?;
            Ok::<_, io::Error>(listener)
        };
        bind.await.map_err(|error| self.refused(error))
    }

    /// The ports of the meshes that run, in order.
    pub(super) async fn ports(&self) -> io::Result<Vec<u16>> {
        let mut ports = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| self.refused(error))? {
            let path = entry?.path();
            let port = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock"));
            let Some(port) = port.and_then(|port| port.parse().ok()) else { continue };
            if is_dead(&path).await {
                let _alone = self.alone().map_err(|error| self.refused(error))?;
                remove_if_dead(&path).await;
            } else {
                ports.push(port);
            }
        }
        ports.sort_unstable();
        Ok(ports)
    }

    /// A lock for removing and for binding sockets: between bind and listen, a socket looks dead.
    fn alone(&self) -> io::Result<File> {
        let folder = File::open(&self.path)?;
        folder.lock()?;
        Ok(folder)
    }

    fn refused(&self, why: impl Display) -> io::Error {
        self.place.refused(&self.path, why)
    }
}

async fn remove_if_dead(socket: &Path) {
    if is_dead(socket).await {
        // A later bind reports why the name is taken.
        let _ = fs::remove_file(socket);
    }
}

/// Whether nothing listens there any more. A suspended mesh still listens.
async fn is_dead(socket: &Path) -> bool {
    let connected = Async::<UnixStream>::connect(socket).await;
    connected.is_err_and(|error| {
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound].contains(&error.kind())
    })
}
