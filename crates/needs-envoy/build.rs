//! Finds out whether there is an Envoy, as the mesh does.

use std::env;

// Not as a dependency: a build script's own are built anew where their features are others.
#[path = "../envoy-config/src/find.rs"]
#[allow(unreachable_pub)] // it is public there
mod find;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(has_envoy)");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=ENVOY");
    println!("cargo:rerun-if-env-changed=PATH");
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        // One may come, or go. (A file that is missing would count as changed each time.)
        if folder.is_dir() {
            println!("cargo:rerun-if-changed={}", folder.display());
        }
    }
    if find::find(|name| env::var_os(name)).is_ok() {
        println!("cargo:rustc-cfg=has_envoy");
    }
}
