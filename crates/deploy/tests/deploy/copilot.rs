//! Holds `copilot/` against the rest of the repository.
//!
//! Copilot says nothing about a field it does not know, turns a duration without a unit
//! into zero, and notices a wrong port or build argument only in the middle of a
//! deployment, if at all. So these tests read the manifests, and the `Dockerfile` they
//! build, and compare. The tables come first; the tests below them; the helpers last.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use chassis::shutdown::{LONGEST_DRAIN, STOP_TIMEOUT};
use yaml_rust2::{Yaml, YamlLoader};

const APPLICATION: &str = "greeting-application";

/// The environment's manifest.
pub(crate) const ENVIRONMENT: &str = "copilot/environments/test/manifest.yml";

pub(crate) struct Service {
    /// Folder below `copilot/`, name of the service, and its host name in Service Connect.
    pub(crate) name: &'static str,
    kind: &'static str,
    /// The `SERVICE` of the `Dockerfile`.
    pub(crate) target: &'static str,
}

pub(crate) const SERVICES: [Service; 3] = [
    Service { name: "name-service", kind: "Backend Service", target: "name" },
    Service { name: "greeting-service", kind: "Backend Service", target: "greeting" },
    Service { name: "greeter-service", kind: "Load Balanced Web Service", target: "greeter" },
];

/// The services that greeter calls, and the variables it learns their addresses from.
pub(crate) const UPSTREAMS: [(&str, &str); 2] =
    [("GREETING_URL", "greeting-service"), ("NAME_URL", "name-service")];

/// What every service has, whatever else it is.
const IN_EVERY_SERVICE: [(&str, &str); 14] = [
    ("image.build.dockerfile", "Dockerfile"),
    ("image.build.context", "."),
    ("image.port", "3000"),
    ("image.healthcheck.interval", "5s"),
    ("image.healthcheck.timeout", "2s"),
    ("image.healthcheck.retries", "2"),
    ("image.healthcheck.start_period", "0s"),
    ("cpu", "256"),
    ("memory", "512"),
    ("platform", "linux/arm64"),
    ("count", "2"),
    ("exec", "false"),
    ("network.connect", "true"),
    ("storage.readonly_fs", "true"),
];

/// What only greeter has: it stands behind the load balancer.
const BEHIND_THE_LOAD_BALANCER: [(&str, &str); 8] = [
    ("http.path", "/"),
    ("http.deregistration_delay", "10s"),
    ("http.healthcheck.path", "/health"),
    ("http.healthcheck.healthy_threshold", "2"),
    ("http.healthcheck.unhealthy_threshold", "5"),
    ("http.healthcheck.interval", "5s"),
    ("http.healthcheck.timeout", "2s"),
    ("http.healthcheck.grace_period", "30s"),
];

/// Copilot's manifest has no field for these two: they are written into the task
/// definition itself.
fn taskdef_overrides() -> [(String, String); 2] {
    [
        ("ContainerDefinitions[0].PortMappings[0].AppProtocol".to_owned(), "http".to_owned()),
        ("ContainerDefinitions[0].StopTimeout".to_owned(), STOP_TIMEOUT.as_secs().to_string()),
    ]
}

/// Where people read how long a drain takes at most: the files, and the words around it.
const ON_THE_DRAIN: [(&str, &str); 6] = [
    ("copilot/name-service/manifest.yml", "A service drains for {} at most."),
    ("copilot/greeting-service/manifest.yml", "A service drains for {} at most."),
    ("copilot/greeter-service/manifest.yml", "A service drains for {} at most."),
    ("cloudformation/greeter.yml", "A service drains for {} at most."),
    ("docs/operations.md", "at the latest {} s after the signal"),
    ("docs/http.md", "| a drain, from SIGTERM to the end | {} s |"),
];

/// The Lambda functions that Copilot puts into every template of a kind: in its
/// `internal/pkg/template/templates`, they are in `workloads/partials/cf/env-controller.yml`
/// and `alb.yml`, and in `environment/partials/lambdas.yml`.
const FUNCTIONS: [(&str, &[&str]); 4] = [
    ("name-service", &["EnvControllerFunction"]),
    ("greeting-service", &["EnvControllerFunction"]),
    ("greeter-service", &["EnvControllerFunction", "RulePriorityFunction"]),
    (
        "environments",
        &["CertificateValidationFunction", "CustomDomainFunction", "DNSDelegationFunction"],
    ),
];

/// The durations, and the seconds that AWS takes.
const DURATIONS: [(&str, RangeInclusive<u64>); 7] = [
    ("image.healthcheck.interval", 5..=300),
    ("image.healthcheck.timeout", 2..=60),
    ("image.healthcheck.start_period", 0..=300),
    ("http.healthcheck.interval", 5..=300),
    ("http.healthcheck.timeout", 2..=120),
    ("http.healthcheck.grace_period", 0..=2_147_483_647),
    ("http.deregistration_delay", 0..=3600),
];

/// The fields that Copilot knows, by section: `""` is the top level, `[]` are the items of
/// a list. They are the `yaml` tags of the structs in its `internal/pkg/manifest`. Sections
/// that we do not use are left out.
const KNOWN_FIELDS: [(&str, &str); 10] = [
    (
        "",
        "name type image entrypoint command http cpu memory platform count exec variables \
         env_file secrets storage logging sidecars network publish taskdef_overrides \
         deployment observability environments",
    ),
    ("image", "build location credentials labels depends_on port healthcheck"),
    ("image.build", "context dockerfile args target cache_from"),
    ("image.healthcheck", "command interval retries timeout start_period"),
    (
        "http",
        "alb path version healthcheck stickiness alias deregistration_delay target_container \
         target_port allowed_source_ips hosted_zone redirect_to_https additional_rules",
    ),
    (
        "http.healthcheck",
        "path port success_codes healthy_threshold unhealthy_threshold interval timeout \
         grace_period",
    ),
    ("network", "vpc connect"),
    ("storage", "ephemeral readonly_fs volumes"),
    ("deployment", "rolling"),
    ("taskdef_overrides[]", "path value"),
];

/// Sections whose fields are names of our own choosing.
const FREE_SECTIONS: [&str; 3] = ["variables", "secrets", "image.build.args"];

#[test]
fn the_workspace_names_the_application() {
    Manifest::read("copilot/.workspace").expect("application", APPLICATION);
}

#[test]
fn the_environment_is_named_as_its_folder() {
    let environment = Manifest::read(ENVIRONMENT);
    environment.expect("name", "test");
    environment.expect("type", "Environment");
    environment.expect("observability.container_insights", "false");
}

#[test]
fn every_folder_is_a_service_and_every_service_has_its_folder() {
    let found: BTreeSet<String> = fs::read_dir(repository().join("copilot"))
        .expect("copilot/ can be read")
        .map(|entry| entry.expect("copilot/ can be listed"))
        .filter(|entry| entry.path().join("manifest.yml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let expected = SERVICES.iter().map(|service| service.name.to_owned()).collect();

    assert_eq!(found, expected, "folders with a manifest.yml below copilot/");
}

#[test]
fn names_and_types_are_right() {
    for service in &SERVICES {
        let manifest = service.manifest();
        manifest.expect("name", service.name);
        manifest.expect("type", service.kind);
    }
}

#[test]
fn only_fields_that_copilot_knows_are_used() {
    for service in &SERVICES {
        let manifest = service.manifest();
        visit(&manifest.root, "", &mut |section, value| {
            let Yaml::Hash(fields) = value else { return };
            if FREE_SECTIONS.contains(&section) {
                return;
            }
            let Some((_, known)) = KNOWN_FIELDS.iter().find(|(name, _)| *name == section) else {
                panic!("{manifest}: section {section:?} is not in this test's KNOWN_FIELDS");
            };
            for field in fields.keys().map(scalar) {
                assert!(
                    known.split_whitespace().any(|name| name == field),
                    "{manifest}: Copilot would ignore {field:?} in section {section:?}; \
                     it knows: {known}"
                );
            }
        });
    }
}

#[test]
fn the_values_are_those_of_the_design() {
    for service in &SERVICES {
        let manifest = service.manifest();
        for (field, value) in IN_EVERY_SERVICE {
            manifest.expect(field, value);
        }
        for (field, value) in BEHIND_THE_LOAD_BALANCER {
            if service.is_behind_the_load_balancer() {
                manifest.expect(field, value);
            }
        }
    }
}

#[test]
fn service_connect_speaks_http_and_tasks_may_drain() {
    for service in &SERVICES {
        let manifest = service.manifest();
        let overrides: Vec<(String, String)> = manifest
            .list("taskdef_overrides")
            .iter()
            .map(|rule| (scalar(&rule["path"]), scalar(&rule["value"])))
            .collect();
        assert_eq!(overrides, taskdef_overrides(), "{manifest}: taskdef_overrides");
    }
}

#[test]
fn compose_lets_every_service_drain_as_long_as_ecs_does() {
    let compose = Manifest::read("compose.yaml");
    let expected = format!("{}s", STOP_TIMEOUT.as_secs());
    let mut count = 0;
    for (name, container) in compose.field("services").as_hash().expect("services") {
        // An Envoy ends at once, and after its application: it owns their network.
        let image = merged(container, "image").map(scalar).unwrap_or_default();
        if image.starts_with("greeter/") {
            let found = merged(container, "stop_grace_period").map(scalar);
            let what = format!("{compose}: stop_grace_period of {}", scalar(name));
            assert_eq!(found.as_ref(), Some(&expected), "{what}");
            count += 1;
        }
    }
    assert_eq!(count, 6, "{compose}: containers of our own");
}

#[test]
fn the_documents_say_how_long_a_drain_takes_at_most() {
    for (file, words) in ON_THE_DRAIN {
        let expected = words.replace("{}", &LONGEST_DRAIN.as_secs().to_string());
        assert!(read(file).contains(&expected), "{file} does not say {expected:?}");
    }
}

#[test]
fn copilots_functions_get_a_runtime_that_lambda_still_takes() {
    for (folder, functions) in FUNCTIONS {
        let file = format!("copilot/{folder}/overrides/cfn.patches.yml");
        let found: Vec<[String; 3]> = Manifest::read(&file)
            .root
            .as_vec()
            .unwrap_or_else(|| panic!("{file} must be a list"))
            .iter()
            .map(|patch| ["op", "path", "value"].map(|field| scalar(&patch[field])))
            .collect();
        let expected: Vec<[String; 3]> = functions
            .iter()
            .map(|name| {
                let path = format!("/Resources/{name}/Properties/Runtime");
                ["replace".to_owned(), path, "nodejs24.x".to_owned()]
            })
            .collect();

        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn every_duration_has_a_unit_and_aws_takes_it() {
    for service in &SERVICES {
        let manifest = service.manifest();
        for (field, allowed) in DURATIONS {
            let Some(text) = manifest.find(field).map(scalar) else {
                continue;
            };
            let Some(seconds) = seconds(&text) else {
                panic!(
                    "{manifest}: {field} is {text:?}; expected a number and a unit, as in 5s \
                     (Copilot takes a bare number for nanoseconds, which is 0)"
                );
            };
            assert!(
                allowed.contains(&seconds),
                "{manifest}: {field} is {text:?}; AWS takes {allowed:?} seconds"
            );
        }
    }
}

#[test]
fn dockerfile_and_manifests_agree() {
    let stages = Stage::read_all("Dockerfile");
    let image = stages.last().expect("Dockerfile: a stage");
    assert_eq!(image.base, "scratch", "Dockerfile: base image of the last stage");
    let [binary] = image.copied.as_slice() else {
        panic!("Dockerfile: the last stage copies {:?}; expected one file", image.copied);
    };

    for service in &SERVICES {
        let manifest = service.manifest();
        manifest.expect("image.build.args.SERVICE", service.target);

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

/// Each image says which version it is.
#[test]
fn the_images_have_the_version_of_the_workspace() {
    let workspace = read("Cargo.toml");
    let version = workspace.lines().find_map(|line| line.strip_prefix("version = "));
    let label = format!("org.opencontainers.image.version={}", version.expect("a version"));
    assert!(read("Dockerfile").contains(&label), "Dockerfile has no {label}");
}

/// `docker compose up` pulls what it does not find, unless told otherwise: somebody else's
/// image, where somebody else has the name.
#[test]
fn compose_builds_our_images_and_never_pulls_them() {
    let compose = Manifest::read("compose.yaml");
    for service in &SERVICES {
        let target = service.target;
        compose.expect(&format!("x-{target}.<<.pull_policy"), "build");
        compose.expect(&format!("x-{target}.build.args.SERVICE"), target);
        compose.expect(&format!("x-{target}.image"), &format!("greeter/{target}"));
    }
}

#[test]
fn greeter_calls_the_backend_services_where_they_listen() {
    let greeter = Manifest::read("copilot/greeter-service/manifest.yml");

    for (variable, name) in UPSTREAMS {
        let upstream = Manifest::read(&format!("copilot/{name}/manifest.yml"));
        upstream.expect("type", "Backend Service");
        let url = format!("http://{}:{}", upstream.text("name"), upstream.text("image.port"));
        greeter.expect(&format!("variables.{variable}"), &url);
    }
}

impl Service {
    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::read(&format!("copilot/{}/manifest.yml", self.name))
    }

    pub(crate) fn is_behind_the_load_balancer(&self) -> bool {
        self.kind == "Load Balanced Web Service"
    }
}

/// A YAML file that knows its own name, for the messages. A field's path is the names on
/// the way to it, joined by dots, an item's its number: `image.healthcheck.command.0`.
pub(crate) struct Manifest {
    file: String,
    root: Yaml,
}

impl Manifest {
    pub(crate) fn read(file: &str) -> Self {
        let documents = YamlLoader::load_from_str(&read(file))
            .unwrap_or_else(|error| panic!("{file} is not YAML: {error}"));
        let [root] = documents.as_slice() else {
            panic!("{file} holds {} YAML documents; expected one", documents.len());
        };
        Self { file: file.to_owned(), root: root.clone() }
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Yaml> {
        let value = path.split('.').fold(&self.root, |section, name| match name.parse::<usize>() {
            Ok(index) => &section[index],
            Err(_) => &section[name],
        });
        (!value.is_badvalue()).then_some(value)
    }

    pub(crate) fn field(&self, path: &str) -> &Yaml {
        self.find(path).unwrap_or_else(|| panic!("{self}: {path} is missing"))
    }

    pub(crate) fn list(&self, path: &str) -> &[Yaml] {
        self.field(path).as_vec().unwrap_or_else(|| panic!("{self}: {path} must be a list"))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        scalar(self.field(path))
    }

    pub(crate) fn expect(&self, path: &str, expected: &str) {
        let found = self.text(path);
        assert!(found == expected, "{self}: {path} is {found:?}; expected {expected:?}");
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)
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

/// Calls `look` with every value below `value`, itself included, and with its path.
fn visit(value: &Yaml, path: &str, look: &mut impl FnMut(&str, &Yaml)) {
    look(path, value);
    match value {
        Yaml::Hash(fields) => {
            for (name, field) in fields {
                let name = scalar(name);
                let below = if path.is_empty() { name } else { format!("{path}.{name}") };
                visit(field, &below, look);
            }
        }
        Yaml::Array(items) => {
            for item in items {
                visit(item, &format!("{path}[]"), look);
            }
        }
        _ => {}
    }
}

/// A field of its own, or of what it is merged with (`<<: *other`), which the reader leaves
/// to us.
fn merged<'a>(section: &'a Yaml, field: &str) -> Option<&'a Yaml> {
    let own = &section[field];
    if own.is_badvalue() {
        merged(section.as_hash()?.get(&Yaml::from_str("<<"))?, field)
    } else {
        Some(own)
    }
}

/// A number, a truth value or a string, as it is written.
pub(crate) fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(truth) => truth.to_string(),
        other => panic!("{other:?} is neither a number, a truth value nor a string"),
    }
}

/// The seconds in `5s`, `2m` or `1h`; none where the unit is missing.
pub(crate) fn seconds(duration: &str) -> Option<u64> {
    let (number, unit) = duration.split_at_checked(duration.len().checked_sub(1)?)?;
    let in_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * in_seconds)
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file))
        .unwrap_or_else(|error| panic!("{file} cannot be read: {error}"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
