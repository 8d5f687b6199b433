//! The Dockerfile, held against the manifests, the toolchain and the version.

use application::SERVICES;

use crate::manifest::{Manifest, read, scalar};

#[test]
fn dockerfile_and_manifests_agree() {
    let stages = Stage::read_all("Dockerfile");
    let image = stages.last().expect("Dockerfile: a stage");
    assert_eq!(image.base, "scratch", "Dockerfile: base image of the last stage");
    let [binary] = image.copied.as_slice() else {
        panic!("Dockerfile: the last stage copies {:?}; expected one file", image.copied);
    };

    for service in SERVICES {
        let manifest = Manifest::of(*service);
        let port = manifest.text("image.port");
        assert_eq!(
            image.exposed,
            [port.as_str()],
            "{manifest}: image.port is {port}; expected what the Dockerfile EXPOSEs"
        );

        let command: Vec<String> =
            manifest.list("image.healthcheck.command").iter().map(scalar).collect();
        assert_eq!(
            command,
            ["CMD", binary, "healthcheck"],
            "{manifest}: image.healthcheck.command; expected the file that the Dockerfile copies in"
        );
    }
}

/// The images are built by the toolchain that people and CI use.
#[test]
fn the_dockerfile_has_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let pinned = toolchain.split('"').nth(1).expect("a channel in rust-toolchain.toml");
    let minor = pinned.rsplit_once('.').expect("a full version").0;
    let dockerfile = read("Dockerfile");

    for expected in [format!("rust:{minor}-slim-bookworm"), format!("RUSTUP_TOOLCHAIN={pinned}")] {
        assert!(dockerfile.contains(&expected), "Dockerfile has no {expected}");
    }
    let version = format!("rust-version = \"{minor}\"");
    assert!(read("Cargo.toml").contains(&version), "Cargo.toml has no {version}");
}

/// Each image says which version it is, and the changelog what is in it.
#[test]
fn the_images_and_the_changelog_have_the_version_of_the_workspace() {
    let workspace = read("Cargo.toml");
    let version = workspace.lines().find_map(|line| line.strip_prefix("version = "));
    let version = version.expect("a version").trim_matches('"');
    for (file, line) in [
        ("Dockerfile", format!("org.opencontainers.image.version=\"{version}\"")),
        ("CHANGELOG.md", format!("\n## {version}\n")),
    ] {
        assert!(read(file).contains(&line), "{file} has no {line:?}");
    }
}

/// A stage of a Dockerfile, as far as the manifests have to do with it.
struct Stage {
    base: String,
    /// Where the files it copies in end up.
    copied: Vec<String>,
    /// Ports, without the protocol.
    exposed: Vec<String>,
}

impl Stage {
    fn read_all(file: &str) -> Vec<Self> {
        let mut stages: Vec<Self> = Vec::new();
        for line in read(file).replace("\\\n", " ").lines() {
            // `--platform=...` and the like tell us nothing.
            let words: Vec<&str> =
                line.split_whitespace().filter(|word| !word.starts_with("--")).collect();
            match (words.as_slice(), stages.last_mut()) {
                (["FROM", base, ..], _) => stages.push(Self {
                    base: (*base).to_owned(),
                    copied: Vec::new(),
                    exposed: Vec::new(),
                }),
                (["COPY", source, destination], Some(stage)) => {
                    stage.copied.push(copied_to(source, destination));
                }
                (["EXPOSE", ports @ ..], Some(stage)) => {
                    let number = |port: &&str| port.trim_end_matches("/tcp").to_owned();
                    stage.exposed.extend(ports.iter().map(number));
                }
                _ => {}
            }
        }
        stages
    }
}

/// `COPY /out/name /` and `COPY /out/name /name` do the same.
fn copied_to(source: &str, destination: &str) -> String {
    match destination.strip_suffix('/') {
        Some(folder) => format!("{folder}/{}", source.rsplit('/').next().unwrap_or(source)),
        None => destination.to_owned(),
    }
}
