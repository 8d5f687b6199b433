//! compose.yaml, held against what Docker would do otherwise and what the services need.

use std::collections::BTreeSet;

use application::{SERVICES, Service};
use chassis::shutdown::STOP_TIMEOUT;

use crate::manifest::{Manifest, merged, scalar};

/// What our images' names begin with: REGISTRY is for those that are published.
const OURS: &str = "${REGISTRY:-greeter}/";

fn image(service: &Service) -> String {
    format!("{OURS}{}:${{TAG:-latest}}", service.name)
}

#[test]
fn compose_lets_every_service_drain_as_long_as_ecs_does() {
    let compose = Manifest::read("compose.yaml");
    let expected = format!("{}s", STOP_TIMEOUT.as_secs());
    let mut services = BTreeSet::new();
    for (name, container) in compose.field("services").as_hash().expect("services") {
        // An Envoy ends at once, and after its application: it owns their network.
        let image = merged(container, "image").map(scalar).unwrap_or_default();
        if image.starts_with(OURS) {
            let found = merged(container, "stop_grace_period").map(scalar);
            let what = format!("{compose}: stop_grace_period of {}", scalar(name));
            assert_eq!(found.as_ref(), Some(&expected), "{what}");
            services.insert(image);
        }
    }
    let all = SERVICES.iter().map(image).collect();
    assert_eq!(services, all, "{compose}: images of our own");
}

/// `docker compose up` pulls what it does not find, unless told otherwise: somebody else's
/// image, where somebody else has the name.
#[test]
fn compose_builds_our_images_and_never_pulls_them() {
    let compose = Manifest::read("compose.yaml");
    for &service in SERVICES {
        let name = service.name;
        compose.expect(&format!("x-{name}.<<.pull_policy"), "${PULL_POLICY:-build}");
        compose.expect(&format!("x-{name}.build.args.SERVICE"), name);
        compose.expect(&format!("x-{name}.image"), &image(&service));
    }
}
