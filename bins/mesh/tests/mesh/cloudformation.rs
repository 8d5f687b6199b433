//! Holds `cloudformation/greeter.yml` against the Copilot manifests: both describe the same
//! application, and neither knows of the other.
//!
//! The YAML reader drops the tags: `!Ref Cpu` reads as `Cpu`, `!If [A, b, c]` as a list.

use crate::manifests::{ENVIRONMENT, Manifest, SERVICES, Service, UPSTREAMS, scalar, seconds};

const TEMPLATE: &str = "cloudformation/greeter.yml";

/// A field of each service's manifest, and where the template has its value. `{}` is the
/// service's name there.
const IN_EVERY_SERVICE: [(&str, &str); 14] = [
    ("name", "Resources.{}Service.Properties.ServiceName"),
    (
        "name",
        "Resources.{}Service.Properties.ServiceConnectConfiguration.Services.0.ClientAliases.0.DnsName",
    ),
    (
        "image.port",
        "Resources.{}Service.Properties.ServiceConnectConfiguration.Services.0.ClientAliases.0.Port",
    ),
    ("network.connect", "Resources.{}Service.Properties.ServiceConnectConfiguration.Enabled"),
    ("name", "Resources.{}Task.Properties.ContainerDefinitions.0.Name"),
    (
        "image.port",
        "Resources.{}Task.Properties.ContainerDefinitions.0.PortMappings.0.ContainerPort",
    ),
    (
        "taskdef_overrides.0.value",
        "Resources.{}Task.Properties.ContainerDefinitions.0.PortMappings.0.AppProtocol",
    ),
    ("taskdef_overrides.1.value", "Resources.{}Task.Properties.ContainerDefinitions.0.StopTimeout"),
    (
        "storage.readonly_fs",
        "Resources.{}Task.Properties.ContainerDefinitions.0.ReadonlyRootFilesystem",
    ),
    (
        "image.healthcheck.interval",
        "Resources.{}Task.Properties.ContainerDefinitions.0.HealthCheck.Interval",
    ),
    (
        "image.healthcheck.timeout",
        "Resources.{}Task.Properties.ContainerDefinitions.0.HealthCheck.Timeout",
    ),
    (
        "image.healthcheck.retries",
        "Resources.{}Task.Properties.ContainerDefinitions.0.HealthCheck.Retries",
    ),
    (
        "image.healthcheck.start_period",
        "Resources.{}Task.Properties.ContainerDefinitions.0.HealthCheck.StartPeriod",
    ),
    (
        "image.healthcheck.command",
        "Resources.{}Task.Properties.ContainerDefinitions.0.HealthCheck.Command",
    ),
];

/// A field of greeter's manifest, and where the template has its value.
const OF_GREETER: [(&str, &str); 9] = [
    ("image.port", "Resources.TargetGroup.Properties.Port"),
    ("http.healthcheck.path", "Resources.TargetGroup.Properties.HealthCheckPath"),
    ("http.healthcheck.interval", "Resources.TargetGroup.Properties.HealthCheckIntervalSeconds"),
    ("http.healthcheck.timeout", "Resources.TargetGroup.Properties.HealthCheckTimeoutSeconds"),
    (
        "http.healthcheck.healthy_threshold",
        "Resources.TargetGroup.Properties.HealthyThresholdCount",
    ),
    (
        "http.healthcheck.unhealthy_threshold",
        "Resources.TargetGroup.Properties.UnhealthyThresholdCount",
    ),
    ("http.deregistration_delay", "Resources.TargetGroup.Properties.TargetGroupAttributes.0.Value"),
    (
        "http.healthcheck.grace_period",
        "Resources.GreeterService.Properties.HealthCheckGracePeriodSeconds",
    ),
    ("image.port", "Resources.GreeterService.Properties.LoadBalancers.0.ContainerPort"),
];

/// A field of each service's manifest, the parameter that has it as its default, and where
/// the template uses the parameter.
const PARAMETERS: [(&str, &str, &str); 3] = [
    ("cpu", "Cpu", "Resources.{}Task.Properties.Cpu"),
    ("memory", "Memory", "Resources.{}Task.Properties.Memory"),
    ("count", "Count", "Resources.{}Service.Properties.DesiredCount"),
];

/// What is the same in the template for every service, and Copilot's own doing in a manifest.
const LIKE_COPILOT: [(&str, &str); 7] = [
    ("Task.Properties.NetworkMode", "awsvpc"),
    ("Task.Properties.ContainerDefinitions.0.User", "65532:65532"),
    ("Service.Properties.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp", "ENABLED"),
    ("Service.Properties.DeploymentConfiguration.MinimumHealthyPercent", "100"),
    ("Service.Properties.DeploymentConfiguration.MaximumPercent", "200"),
    ("Service.Properties.DeploymentConfiguration.DeploymentCircuitBreaker.Enable", "true"),
    ("Service.Properties.DeploymentConfiguration.DeploymentCircuitBreaker.Rollback", "true"),
];

#[test]
fn every_service_has_the_values_of_its_manifest() {
    let template = Manifest::read(TEMPLATE);
    for service in &SERVICES {
        let manifest = service.manifest();
        for (field, path) in IN_EVERY_SERVICE {
            template.expect_like(&path.replace("{}", &resource(service)), &manifest, field);
        }
        for (field, parameter, path) in PARAMETERS {
            template.expect_like(&format!("Parameters.{parameter}.Default"), &manifest, field);
            template.expect(&path.replace("{}", &resource(service)), parameter);
        }
        for (path, value) in LIKE_COPILOT {
            template.expect(&format!("Resources.{}{path}", resource(service)), value);
        }
        let image = template.text(&format!(
            "Resources.{}Task.Properties.ContainerDefinitions.0.Image",
            resource(service)
        ));
        let expected = format!("/greeter/{}:${{ImageTag}}", manifest.text("image.build.target"));
        assert!(image.ends_with(&expected), "{template}: an image is {image}, not ...{expected}");

        let platform = format!("linux/{}", template.text("Parameters.Architecture.Default"));
        manifest.expect("platform", &platform.to_lowercase());
    }
}

#[test]
fn greeter_stands_behind_the_load_balancer_as_in_its_manifest() {
    let template = Manifest::read(TEMPLATE);
    let manifest = Manifest::read("copilot/greeter-service/manifest.yml");
    for (field, path) in OF_GREETER {
        template.expect_like(path, &manifest, field);
    }
    // greeter closes an idle connection after 75 s.
    template.expect("Resources.LoadBalancer.Properties.LoadBalancerAttributes.0.Value", "60");
}

#[test]
fn greeter_is_told_of_the_leaves_and_comes_after_them() {
    let template = Manifest::read(TEMPLATE);
    let manifest = Manifest::read("copilot/greeter-service/manifest.yml");
    let variables: Vec<(String, String)> = template
        .list("Resources.GreeterTask.Properties.ContainerDefinitions.0.Environment")
        .iter()
        .map(|variable| (scalar(&variable["Name"]), scalar(&variable["Value"])))
        .collect();
    let expected = UPSTREAMS.map(|(variable, _)| {
        (variable.to_owned(), manifest.text(&format!("variables.{variable}")))
    });
    assert_eq!(variables, expected, "{template}: greeter's environment");

    let before: Vec<String> =
        template.list("Resources.GreeterService.DependsOn").iter().map(scalar).collect();
    assert_eq!(before, ["NameService", "GreetingService"], "{template}: what greeter depends on");
}

#[test]
fn the_cluster_is_that_of_the_environment() {
    let insights = match Manifest::read(ENVIRONMENT).text("observability.container_insights") {
        on if on == "true" => "enabled",
        _ => "disabled",
    };
    Manifest::read(TEMPLATE)
        .expect("Resources.Cluster.Properties.ClusterSettings.0.Value", insights);
}

impl Manifest {
    /// Expects a value that another file has elsewhere: durations there have a unit, here
    /// they are seconds.
    fn expect_like(&self, path: &str, other: &Manifest, field: &str) {
        let expected = other.field(field);
        if let Some(items) = expected.as_vec() {
            assert_eq!(self.list(path), items, "{self}: {path}, which is {field} in {other}");
            return;
        }
        let expected = scalar(expected);
        let expected = seconds(&expected).map_or(expected, |seconds| seconds.to_string());
        let found = self.text(path);
        assert!(
            found == expected,
            "{self}: {path} is {found:?}; {other} has {field} at {expected:?}"
        );
    }
}

/// `Name` for `name-service`: what the template's resources begin with.
fn resource(service: &Service) -> String {
    let (first, rest) = service.target.split_at(1);
    first.to_uppercase() + rest
}
