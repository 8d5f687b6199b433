//! Holds `copilot/` against the table of services and against what Copilot takes.
//!
//! Copilot says nothing about a field that it does not know, turns a duration without a unit
//! into zero, and notices a wrong port or build argument only in the middle of a deployment,
//! if at all. The tables come first, then the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;

use application::{EDGE, Kind, LEAVES, PORT, SERVICES};
use chassis::shutdown::{LONGEST_DRAIN, STOP_TIMEOUT};
use yaml_rust2::Yaml;

use crate::manifest::{Manifest, read, repository, scalar, seconds, visit};

const APPLICATION: &str = "greeting-application";

/// The environment's manifest.
pub(crate) const ENVIRONMENT: &str = "copilot/environments/test/manifest.yml";

/// Copilot's manifest has no field for these two: they are written into the task
/// definition itself.
fn taskdef_overrides() -> [(String, String); 2] {
    [
        ("ContainerDefinitions[0].PortMappings[0].AppProtocol".to_owned(), "http".to_owned()),
        ("ContainerDefinitions[0].StopTimeout".to_owned(), STOP_TIMEOUT.as_secs().to_string()),
    ]
}

/// Where people read how long a drain takes at most, besides every manifest: the files, and the
/// words around the number.
const ON_THE_DRAIN: [(&str, &str); 3] = [
    ("cloudformation/greeter.yml", DRAINS),
    ("docs/operations.md", "at the latest {} s after the signal"),
    ("docs/http.md", "| a drain, from SIGTERM to the end | {} s |"),
];
const DRAINS: &str = "A service drains for {} at most.";

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

/// With a committed `.workspace` Copilot asks for no name, and looks for the application before
/// it has made it.
#[test]
fn whose_workspace_it_is_is_said_by_copilot_and_not_committed() {
    assert!(read(".gitignore").lines().any(|line| line == "/copilot/.workspace"));
    for file in ["justfile", "docs/tutorial.md"] {
        assert!(read(file).contains(APPLICATION), "{file} does not name {APPLICATION}");
    }
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
    let expected = SERVICES.iter().map(|service| service.dns_name.to_owned()).collect();

    assert_eq!(found, expected, "folders with a manifest.yml below copilot/");
}

#[test]
fn names_and_types_are_right() {
    for service in SERVICES {
        let manifest = Manifest::of(*service);
        manifest.expect("name", service.dns_name);
        manifest.expect("image.build.args.SERVICE", service.name);
        manifest.expect("image.port", &PORT.to_string());
        manifest.expect(
            "type",
            match service.kind {
                Kind::Leaf => "Backend Service",
                Kind::Edge => "Load Balanced Web Service",
            },
        );
    }
}

#[test]
fn only_fields_that_copilot_knows_are_used() {
    for service in SERVICES {
        let manifest = Manifest::of(*service);
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
fn service_connect_speaks_http_and_tasks_may_drain() {
    for service in SERVICES {
        let manifest = Manifest::of(*service);
        let overrides: Vec<(String, String)> = manifest
            .list("taskdef_overrides")
            .iter()
            .map(|rule| (scalar(&rule["path"]), scalar(&rule["value"])))
            .collect();
        assert_eq!(overrides, taskdef_overrides(), "{manifest}: taskdef_overrides");
    }
}

#[test]
fn the_documents_say_how_long_a_drain_takes_at_most() {
    let manifests =
        SERVICES.iter().map(|service| format!("copilot/{}/manifest.yml", service.dns_name));
    let documents = ON_THE_DRAIN.map(|(file, words)| (file.to_owned(), words));
    for (file, words) in manifests.map(|file| (file, DRAINS)).chain(documents) {
        let expected = words.replace("{}", &LONGEST_DRAIN.as_secs().to_string());
        assert!(read(&file).contains(&expected), "{file} does not say {expected:?}");
    }
}

#[test]
fn every_duration_has_a_unit_and_aws_takes_it() {
    for service in SERVICES {
        let manifest = Manifest::of(*service);
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
fn greeter_calls_every_leaf_where_it_listens() {
    let variables = Manifest::of(EDGE);
    let variables = variables.field("variables").as_hash().expect("variables");
    let found: BTreeMap<_, _> = variables.iter().map(|(k, v)| (scalar(k), scalar(v))).collect();
    let expected = LEAVES.iter().map(|leaf| (leaf.variable.to_owned(), leaf.url()));
    assert_eq!(found, expected.collect(), "greeter's variables");
}

/// A value that is another for one service has no reason: what differs is its name, its kind, and
/// what only the edge has.
#[test]
fn every_service_is_run_alike() {
    const OF_ITS_OWN: [&str; 5] = ["name", "type", "image.build.args.SERVICE", "http", "variables"];
    let is_own = |path: &str| {
        OF_ITS_OWN.iter().any(|own| path == *own || path.starts_with(&format!("{own}.")))
    };
    let values = |service| {
        let mut values = Vec::new();
        visit(&Manifest::of(service).root, "", &mut |path, value| {
            if !matches!(value, Yaml::Hash(_) | Yaml::Array(_)) && !is_own(path) {
                values.push((path.to_owned(), scalar(value)));
            }
        });
        values.sort();
        values
    };
    for leaf in LEAVES {
        assert_eq!(values(*leaf), values(EDGE), "{}, and {}", leaf.dns_name, EDGE.dns_name);
    }
}
