//! Applies `copilot/*/overrides/cfn.patches.yml` to what Copilot renders at those places, as Copilot
//! does (its `internal/pkg/override/patch.go`), and looks at what is left for AWS.
//!
//! Copilot ignores a field of a patch that it does not know, and the value of a `remove`; a path
//! that is not there ends the deployment. Here all of it is refused.

use application::{EDGE, Kind, SERVICES, Service};
use yaml_rust2::{Yaml, YamlLoader};

use crate::copilot::ENVIRONMENT;
use crate::manifest::{Manifest, scalar};

/// The runtime of Copilot's helper functions, as it renders it, and one that Lambda still takes.
const OLD: &str = "nodejs20.x";
const NEW: &str = "nodejs24.x";

/// The helper functions in every template of a kind: in Copilot's
/// `internal/pkg/template/templates` they are in `environment/partials/lambdas.yml`, and in
/// `workloads/partials/cf/env-controller.yml` and `alb.yml`.
const OF_AN_ENVIRONMENT: [&str; 3] =
    ["CertificateValidationFunction", "CustomDomainFunction", "DNSDelegationFunction"];
const OF_EVERY_SERVICE: &str = "EnvControllerFunction";
const OF_A_LOAD_BALANCED_SERVICE: &str = "RulePriorityFunction";

/// What `workloads/partials/cf/service-base-properties.yml` makes of `network.connect: true`, of
/// a service that has a port; without its log, and with what the service offers to others.
const OFFERS: &str = "{Enabled: true, Namespace: test.greeting-application.local, \
                      Services: [{PortName: target, DiscoveryName: sc, ClientAliases: []}]}";
/// The same of a service that offers nothing: it only calls.
const ONLY_CALLS: &str = "{Enabled: true, Namespace: test.greeting-application.local}";
/// And of `network.connect: false`: an `!If`, whose tag our reader drops.
const NO_CONNECT: &str = "[IsGovCloud, AWS::NoValue, {Enabled: false}]";

#[test]
fn copilots_functions_get_a_runtime_that_lambda_still_takes() {
    let patched = patch(&environment(OLD), &patches("environments")).unwrap();
    assert_eq!(patched, environment(NEW), "{ENVIRONMENT}");
}

/// A service that offers itself to others gets everything through its own proxy, the load
/// balancer's requests too. The edge has no callers but the load balancer.
#[test]
fn only_leaves_are_offered_to_others() {
    for service in SERVICES {
        Manifest::of(*service).expect("network.connect", "true");
        let connect = if service.kind == Kind::Edge { ONLY_CALLS } else { OFFERS };
        let rendered = template(service, OLD, OFFERS);
        let patched = patch(&rendered, &patches(service.dns_name)).unwrap();
        assert_eq!(patched, template(service, NEW, connect), "{}", service.dns_name);
    }
}

/// The words are those of Copilot's own code, asked to do the same.
#[test]
fn a_patch_without_its_path_ends_the_deployment() {
    let patches = patches(EDGE.dns_name);
    let error = patch(&template(&EDGE, OLD, NO_CONNECT), &patches).unwrap_err();
    assert_eq!(error, "expected index in sequence, got \"Services\"");
    let error = patch(&template(&EDGE, OLD, ONLY_CALLS), &patches).unwrap_err();
    assert_eq!(error, "\"Services\" not found in map");
}

fn environment(runtime: &str) -> Yaml {
    let functions = OF_AN_ENVIRONMENT.map(|name| function(name, runtime)).concat();
    yaml(&format!("Resources:\n{functions}"))
}

fn template(service: &Service, runtime: &str, connect: &str) -> Yaml {
    let mut resources = function(OF_EVERY_SERVICE, runtime);
    if service.kind == Kind::Edge {
        resources += &function(OF_A_LOAD_BALANCED_SERVICE, runtime);
    }
    let service = format!("  Service: {{Properties: {{ServiceConnectConfiguration: {connect}}}}}");
    yaml(&format!("Resources:\n{resources}{service}"))
}

fn function(name: &str, runtime: &str) -> String {
    format!("  {name}: {{Properties: {{Runtime: {runtime}}}}}\n")
}

fn yaml(text: &str) -> Yaml {
    YamlLoader::load_from_str(text).expect("YAML").remove(0)
}

fn patches(folder: &str) -> Manifest {
    Manifest::read(&format!("copilot/{folder}/overrides/cfn.patches.yml"))
}

/// The template after every patch, one after the other, or what Copilot says of the first that
/// cannot be applied.
fn patch(template: &Yaml, patches: &Manifest) -> Result<Yaml, String> {
    let mut template = template.clone();
    let all = patches.root.as_vec().unwrap_or_else(|| panic!("{patches} must be a list"));
    for patch in all {
        let fields = patch.as_hash().unwrap_or_else(|| panic!("{patches}: {patch:?}"));
        let mut names: Vec<_> = fields.keys().map(scalar).collect();
        names.sort();
        let operation = scalar(&patch["op"]);
        let known: &[&str] = match operation.as_str() {
            "remove" => &["op", "path"],
            "replace" => &["op", "path", "value"],
            other => panic!("{patches}: this test does not know the operation {other:?}"),
        };
        assert_eq!(names, known, "{patches}: fields of a patch that is to {operation}");

        // What is before the first slash is the document, whatever it is.
        let path = scalar(&patch["path"]);
        assert!(path.starts_with('/'), "{patches}: {path:?} begins with no slash");
        let keys: Vec<_> =
            path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
        let (last, parents) = keys.split_last().expect("split gives one, and the slash another");
        let mut parent = &mut template;
        for key in parents {
            parent = below(parent, key)?;
        }
        let found = below(parent, last)?;
        if operation == "replace" {
            *found = patch["value"].clone();
        } else if let Yaml::Hash(fields) = parent {
            fields.remove(&Yaml::String(last.clone()));
        } else {
            panic!("{patches}: this test does not know how to remove from a list");
        }
    }
    Ok(template)
}

fn below<'a>(node: &'a mut Yaml, key: &str) -> Result<&'a mut Yaml, String> {
    match node {
        Yaml::Hash(fields) => fields
            .get_mut(&Yaml::String(key.to_owned()))
            .ok_or_else(|| format!("{key:?} not found in map")),
        Yaml::Array(items) => {
            let index: usize =
                key.parse().map_err(|_| format!("expected index in sequence, got {key:?}"))?;
            let length = items.len();
            let outside = format!("index {index} out of bounds for sequence of length {length}");
            items.get_mut(index).ok_or(outside)
        }
        _ => Err("invalid node type scalar".to_owned()),
    }
}
