//! Holds `cloudformation/greeter.yml` against the Copilot manifests, for both describe the same
//! application and neither knows of the other. Then holds it against itself: linters look at
//! one resource at a time, and what is wrong between two only shows in an account.
//!
//! The YAML reader drops the tags: `!Ref Cpu` reads as `Cpu`, `!If [A, b, c]` as a list.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use application::{EDGE, Kind, LEAVES, SERVICES, Service};
use yaml_rust2::Yaml;

use crate::copilot::ENVIRONMENT;
use crate::manifest::{Manifest, scalar, seconds};

const TEMPLATE: &str = "cloudformation/greeter.yml";

/// A field of each service's manifest, and where the template has its value. `{}` is the
/// service's name there.
const IN_EVERY_SERVICE: [(&str, &str); 12] = [
    ("name", "Resources.{}Service.Properties.ServiceName"),
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

/// A field of a leaf's manifest, and where the template has its value.
const IN_EVERY_LEAF: [(&str, &str); 2] = [
    (
        "name",
        "Resources.{}Service.Properties.ServiceConnectConfiguration.Services.0.ClientAliases.0.DnsName",
    ),
    (
        "image.port",
        "Resources.{}Service.Properties.ServiceConnectConfiguration.Services.0.ClientAliases.0.Port",
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
    ("count", "Count", "Resources.{}Service.Properties.DesiredCount.2"),
];

/// What is the same in the template for every service, and Copilot's own doing in a manifest.
const LIKE_COPILOT: [(&str, &str); 5] = [
    ("Task.Properties.NetworkMode", "awsvpc"),
    ("Task.Properties.ContainerDefinitions.0.User", "65532:65532"),
    ("Service.Properties.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp", "ENABLED"),
    ("Service.Properties.DeploymentConfiguration.MinimumHealthyPercent", "100"),
    ("Service.Properties.DeploymentConfiguration.MaximumPercent", "200"),
];

#[test]
fn every_service_has_the_values_of_its_manifest() {
    let template = Manifest::read(TEMPLATE);
    for service in SERVICES {
        let manifest = Manifest::of(*service);
        let leaf: &[_] = if service.kind == Kind::Edge { &[] } else { &IN_EVERY_LEAF };
        for (field, path) in IN_EVERY_SERVICE.iter().chain(leaf) {
            template.expect_like(&path.replace("{}", &resource(service)), &manifest, field);
        }
        for (field, parameter, path) in PARAMETERS {
            template.expect_like(&format!("Parameters.{parameter}.Default"), &manifest, field);
            template.expect(&path.replace("{}", &resource(service)), parameter);
        }
        for (path, value) in LIKE_COPILOT {
            template.expect(&format!("Resources.{}{path}", resource(service)), value);
        }
        // Published, or in the repositories of this stack's name.
        let image = container(service, "Image");
        template
            .expect(&format!("{image}.0"), &format!("${{Images}}/{}:${{ImageTag}}", service.name));
        let images = template.list(&format!("{image}.1.Images"));
        let images: Vec<String> = images.iter().map(scalar).collect();
        assert_eq!(images[..2], ["HasRegistry", "Registry"], "{template}: {}", service.name);
        assert!(images[2].ends_with("/${AWS::StackName}"), "{template}: {}", images[2]);

        let platform = format!("linux/{}", template.text("Parameters.Architecture.Default"));
        manifest.expect("platform", &platform.to_lowercase());
    }
}

#[test]
fn greeter_stands_behind_the_load_balancer_as_in_its_manifest() {
    let template = Manifest::read(TEMPLATE);
    let manifest = Manifest::of(EDGE);
    for (field, path) in OF_GREETER {
        template.expect_like(path, &manifest, field);
    }
}

#[test]
fn greeter_is_told_of_every_leaf() {
    let template = Manifest::read(TEMPLATE);
    let variables: Vec<(String, String)> = template
        .list("Resources.GreeterTask.Properties.ContainerDefinitions.0.Environment")
        .iter()
        .map(|variable| (scalar(&variable["Name"]), scalar(&variable["Value"])))
        .collect();
    let expected: Vec<_> =
        LEAVES.iter().map(|leaf| (leaf.variable.to_owned(), leaf.url())).collect();
    assert_eq!(variables, expected, "{template}: greeter's environment");
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

/// ECS makes a Cloud Map service of each, called after the port unless a name is given, and
/// writes each alias into the tasks' /etc/hosts: "must be unique within the namespace".
#[test]
fn discovery_names_and_aliases_are_unique() {
    let template = Manifest::read(TEMPLATE);
    let mut seen = BTreeSet::new();
    for service in SERVICES {
        let connect = service_property(service, "ServiceConnectConfiguration");
        let namespace = template.text(&format!("{connect}.Namespace"));
        if service.kind == Kind::Edge {
            // Called by nobody else: what comes from the load balancer passes no proxy.
            assert!(template.find(&format!("{connect}.Services")).is_none(), "{template}");
            continue;
        }
        for number in 0..template.list(&format!("{connect}.Services")).len() {
            let offer = format!("{connect}.Services.{number}");
            let name = template
                .find(&format!("{offer}.DiscoveryName"))
                .unwrap_or_else(|| template.field(&format!("{offer}.PortName")));
            assert!(
                seen.insert((namespace.clone(), scalar(name))),
                "{template}: two services have the discovery name {name:?}"
            );
            let alias = format!("{offer}.ClientAliases.0");
            let (host, port) = (
                template.text(&format!("{alias}.DnsName")),
                template.text(&format!("{alias}.Port")),
            );
            assert!(
                seen.insert((namespace.clone(), format!("{host}:{port}"))),
                "{template}: two services have the alias {host}:{port}"
            );
        }
    }
}

/// What is called is an alias, of a port that the service's task has.
#[test]
fn every_alias_that_is_called_has_a_service() {
    let template = Manifest::read(TEMPLATE);
    for leaf in LEAVES {
        let offer = service_property(leaf, "ServiceConnectConfiguration.Services.0");
        let alias = format!("{offer}.ClientAliases.0");
        let url = format!(
            "http://{}:{}",
            template.text(&format!("{alias}.DnsName")),
            template.text(&format!("{alias}.Port"))
        );
        assert_eq!(leaf.url(), url, "{template}: {}", leaf.variable);

        let port = container(leaf, "PortMappings.0.Name");
        template.expect_same(&format!("{offer}.PortName"), &port);
    }
}

/// A service's tasks are reached on their port by who calls them, and by nobody else: greeter
/// by the load balancer, the leaves by greeter.
#[test]
fn security_groups_let_the_callers_in_and_nobody_else() {
    let template = Manifest::read(TEMPLATE);
    let group = |service: &Service| {
        let path = "NetworkConfiguration.AwsvpcConfiguration.SecurityGroups.0";
        template.text(&service_property(service, path))
    };
    let balancer = template.text("Resources.LoadBalancer.Properties.SecurityGroups.0");
    for service in SERVICES {
        let caller = if service.kind == Kind::Edge { &balancer } else { &group(&EDGE) };
        let rules = format!("Resources.{}.Properties.SecurityGroupIngress", group(service));
        assert_eq!(template.list(&rules).len(), 1, "{template}: {rules}");
        template.expect(&format!("{rules}.0.SourceSecurityGroupId"), caller);
        let port = container(service, "PortMappings.0.ContainerPort");
        template.expect_same(&format!("{rules}.0.FromPort"), &port);
        template.expect_same(&format!("{rules}.0.ToPort"), &port);
    }
    template.expect_same(
        &format!("Resources.{balancer}.Properties.SecurityGroupIngress.0.FromPort"),
        "Resources.HttpListener.Properties.Port",
    );
    template.expect_same(
        "Resources.HttpsIngress.Properties.FromPort",
        "Resources.HttpsListener.Properties.Port",
    );
}

/// Whoever waits for another waits longer than that one takes.
#[test]
fn times_are_in_order() {
    let template = Manifest::read(TEMPLATE);
    let number = |path: &str| -> u64 {
        template.text(path).parse().unwrap_or_else(|_| panic!("{template}: {path} is no number"))
    };
    let attribute = |resource: &str, list: &str, key: &str| -> u64 {
        template
            .list(&format!("Resources.{resource}.Properties.{list}"))
            .iter()
            .find(|attribute| scalar(&attribute["Key"]) == key)
            .map(|attribute| scalar(&attribute["Value"]))
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{template}: {resource} has no {key} in seconds"))
    };
    let target = |field: &str| number(&format!("Resources.TargetGroup.Properties.{field}"));
    let drain = chassis::shutdown::DRAIN_LIMIT.as_secs();

    let delay =
        attribute("TargetGroup", "TargetGroupAttributes", "deregistration_delay.timeout_seconds");
    let idle = attribute("LoadBalancer", "LoadBalancerAttributes", "idle_timeout.timeout_seconds");
    let kept = greeter::Limits::default().idle.as_secs();
    for (what, short, long) in [
        // A greeting takes 2 s at most.
        ("a greeting, and the deregistration delay", 2, delay),
        ("the deregistration delay, and a drain", delay, drain + 1),
        ("the load balancer's idle time, and greeter's", idle, kept),
        (
            "a health check, and the time between two",
            target("HealthCheckTimeoutSeconds"),
            target("HealthCheckIntervalSeconds"),
        ),
    ] {
        assert!(short < long, "{template}: {what}: {short} s, {long} s; expected less, more");
    }
    for service in SERVICES {
        let stop = number(&container(service, "StopTimeout"));
        assert!(drain < stop, "{template}: {} drains for {drain} s, has {stop}", service.name);
        let check = |field| number(&container(service, &format!("HealthCheck.{field}")));
        assert!(check("Timeout") < check("Interval"), "{template}: {}", service.name);
    }
}

/// `DependsOn` is what orders them: nothing else in a service says that its tasks need a way out.
#[test]
fn every_service_waits_for_what_its_tasks_need() {
    let template = Manifest::read(TEMPLATE);
    for service in SERVICES {
        let after: Vec<String> = template
            .list(&format!("Resources.{}Service.DependsOn", resource(service)))
            .iter()
            .map(scalar)
            .collect();
        let expected = match service.kind {
            Kind::Edge => LEAVES.iter().map(|leaf| resource(leaf) + "Service").collect(),
            Kind::Leaf => {
                ["DefaultRoute", "SubnetARoute", "SubnetBRoute"].map(String::from).to_vec()
            }
        };
        assert_eq!(after, expected, "{template}: what {} depends on", service.name);
    }
    // A listener refers to a target group, a service only to the group: it waits by Metadata.
    let after = |name: &str| {
        let after = template.list(&format!("Resources.{name}.Metadata.After"));
        after.iter().map(scalar).collect::<Vec<_>>()
    };
    assert_eq!(after("GreeterService"), ["HasCertificate", "HttpsListener", "HttpListener"]);
    assert_eq!(after("HttpListener"), ["HasCertificate", "HttpsListener", "none"]);
}

/// Load decides under one condition; then nothing else does, and what it goes by is measured.
#[test]
fn each_service_scales_with_its_load_or_not_at_all() {
    let template = Manifest::read(TEMPLATE);
    for service in SERVICES {
        let name = resource(service);
        let target = format!("Resources.{name}Scaling");
        for path in [&target, &format!("Resources.{name}ScalingPolicy")] {
            template.expect(&format!("{path}.Condition"), "Scales");
        }
        template.expect(
            &format!("{target}.Properties.ResourceId"),
            &format!("service/${{Cluster}}/${{{name}Service.Name}}"),
        );
        template.expect(&format!("{target}.Properties.MinCapacity"), "Count");
        template.expect(&format!("{target}.Properties.MaxCapacity"), "MaxCount");
        let policy = format!("Resources.{name}ScalingPolicy.Properties");
        template.expect(&format!("{policy}.ScalingTargetId"), &format!("{name}Scaling"));

        let count: Vec<String> =
            template.list(&service_property(service, "DesiredCount")).iter().map(scalar).collect();
        assert_eq!(count, ["Scales", "AWS::NoValue", "Count"], "{template}: {name}");
        let metric = template.text(&format!(
            "{policy}.TargetTrackingScalingPolicyConfiguration.PredefinedMetricSpecification.PredefinedMetricType"
        ));
        assert_eq!(metric, "ECSServiceAverageCPUUtilizationHighResolution");
        // Said in both cases: what an update leaves out may stay as it was.
        let measured = service_property(service, "Monitoring.MetricConfigurations.0");
        template.expect(&format!("{measured}.MetricNames.0"), "CPUUtilization");
        let seconds = template.list(&format!("{measured}.ResolutionSeconds"));
        let seconds: Vec<String> = seconds.iter().map(scalar).collect();
        assert_eq!(seconds, ["Scales", "20", "60"], "{template}: {name}");
    }
}

/// Every kind of release has a strategy; a failed one is rolled back, by the circuit breaker where
/// no task starts, and by the alarm where greetings fail.
#[test]
fn every_release_can_be_rolled_back() {
    let template = Manifest::read(TEMPLATE);
    let releases = template.list("Parameters.Release.AllowedValues");
    let strategies = template.field("Mappings.Strategies").as_hash().expect("a mapping");
    assert_eq!(releases, strategies.keys().cloned().collect::<Vec<_>>(), "{template}");

    for service in SERVICES {
        let deployment = service_property(service, "DeploymentConfiguration");
        template.expect(&format!("{deployment}.Alarms.AlarmNames.0"), "Errors");
        template.expect(&format!("{deployment}.Alarms.Enable"), "true");
        template.expect(&format!("{deployment}.Alarms.Rollback"), "true");
        let breaker = format!("{deployment}.DeploymentCircuitBreaker");
        if service.kind == Kind::Edge {
            // With a load balancer the others need a second target group.
            template.expect(&format!("{deployment}.Strategy"), "ROLLING");
        } else {
            template.expect(&format!("{deployment}.BakeTimeInMinutes.0"), "IsRolling");
            template.expect(&format!("{deployment}.CanaryConfiguration.0"), "IsCanary");
            // Without hooks there is a list of none: one left out may stay.
            template.expect(&format!("{deployment}.LifecycleHooks.0"), "IsBlueGreen");
            assert!(template.list(&format!("{deployment}.LifecycleHooks.2")).is_empty());
            let alias = service_property(
                service,
                "ServiceConnectConfiguration.Services.0.ClientAliases.0.TestTrafficRules",
            );
            template.expect(&format!("{alias}.0"), "IsRolling");
        }
        template.expect(&format!("{breaker}.Enable"), "true");
        template.expect(&format!("{breaker}.Rollback"), "true");
    }
}

/// The proxies try again elsewhere when a leaf is taken away; nobody does when greeter is. A
/// new share has to be a new task definition, for it starts no deployment by itself.
#[test]
fn only_the_leaves_are_on_spot() {
    let template = Manifest::read(TEMPLATE);
    for service in SERVICES {
        let providers: Vec<String> = template
            .list(&service_property(service, "CapacityProviderStrategy"))
            .iter()
            .map(|item| scalar(&item["CapacityProvider"]))
            .collect();
        if service.kind == Kind::Edge {
            assert_eq!(providers, ["FARGATE"], "{template}: {}", service.name);
        } else {
            assert_eq!(providers, ["FARGATE", "FARGATE_SPOT"], "{template}: {}", service.name);
            template.expect(&container(service, "DockerLabels.spot-percent"), "SpotPercent");
        }
    }
}

/// At the most tasks, all replaced at once, with what AWS keeps of a subnet (5 addresses) and
/// a load balancer wants (8 free).
#[test]
fn the_subnets_have_room_for_every_task() {
    let template = Manifest::read(TEMPLATE);
    let most: u32 = template.text("Parameters.Count.MaxValue").parse().expect("a number");
    let [vpc, a, b] = ["Vpc", "SubnetA", "SubnetB"]
        .map(|name| block(&template.text(&format!("Resources.{name}.Properties.CidrBlock"))));
    for (first, last) in [a, b] {
        assert!(vpc.0 <= first && last <= vpc.1, "{template}: a subnet is outside its network");
    }
    assert!(a.1 < b.0, "{template}: the subnets overlap");
    let room = [a, b].map(|(first, last)| last - first + 1 - 5 - 8).iter().sum::<u32>();
    let tasks = 2 * most * u32::try_from(SERVICES.len()).expect("a few");
    assert!(tasks <= room, "{template}: {tasks} tasks have {room} addresses");
}

/// First and last address of `10.0.0.0/16`.
fn block(cidr: &str) -> (u32, u32) {
    let (address, bits) = cidr.split_once('/').expect("a slash");
    let first = u32::from(address.parse::<Ipv4Addr>().expect("an address"));
    let bits: u32 = bits.parse().expect("a number of bits");
    (first, first + (u32::MAX >> bits))
}

/// A subnet cannot move to another zone, and the order of `GetAZs` is promised by nobody: the
/// zones are parameters.
#[test]
fn the_zones_stay_as_they_were_chosen() {
    let template = Manifest::read(TEMPLATE);
    for letter in ["A", "B"] {
        let subnet = format!("Resources.Subnet{letter}.Properties.AvailabilityZone");
        template.expect(&subnet, &format!("Zone{letter}"));
        assert!(template.find(&format!("Parameters.Zone{letter}.Default")).is_none());
    }
}

/// What ECS wants of the fields of one resource, and no schema says: its API reference does.
#[test]
fn the_fields_of_a_service_go_together() {
    let template = Manifest::read(TEMPLATE);
    let within = |path: &str, least: u64, most: u64| {
        let number = template.text(path).parse().unwrap_or_else(|_| panic!("{template}: {path}"));
        assert!((least..=most).contains(&number), "{template}: {path} is {number}");
    };
    for shares in template.field("Mappings.Weights").as_hash().expect("a mapping").values() {
        let weights = shares.as_hash().expect("two weights").values().map(scalar);
        assert!(weights.into_iter().any(|weight| weight != "0"), "{template}: {shares:?}");
    }
    for service in SERVICES {
        let property = |path: &str| service_property(service, path);
        template.expect(&property("EnableECSManagedTags"), "true");
        template.expect(&property("PropagateTags"), "SERVICE");
        assert!(template.find(&property("LaunchType")).is_none(), "{template}: two of a kind");
        template
            .expect(&property("ServiceConnectConfiguration.LogConfiguration.LogDriver"), "awslogs");
        within(&container(service, "StopTimeout"), 2, 120);
        within(&container(service, "HealthCheck.Interval"), 5, 300);
        within(&container(service, "HealthCheck.Timeout"), 2, 60);
        within(&container(service, "RestartPolicy.RestartAttemptPeriod"), 60, 1800);
        template.expect(&container(service, "LogConfiguration.LogDriver"), "awslogs");
        let task = format!("Resources.{}Task.Properties", resource(service));
        template.expect(&format!("{task}.ExecutionRoleArn"), "ExecutionRole.Arn");
        if service.kind == Kind::Leaf {
            let hook = property("DeploymentConfiguration.LifecycleHooks.1.0");
            template.expect(&format!("{hook}.TargetType"), "PAUSE");
            assert!(template.find(&format!("{hook}.HookTargetArn")).is_none(), "{template}");
            // CloudFormation waits for 36 hours, and refuses a canary of more than 33.
            within(&format!("{hook}.TimeoutConfiguration.TimeoutInMinutes"), 1, 30 * 60);
            within(&property("DeploymentConfiguration.BakeTimeInMinutes.2"), 1, 16 * 60);
            let canary = property("DeploymentConfiguration.CanaryConfiguration.1");
            within(&format!("{canary}.CanaryBakeTimeInMinutes"), 1, 16 * 60);
        }
    }
}

/// A process that ended is started again, unless it will end again at once.
#[test]
fn a_task_survives_a_panic_but_not_a_bad_setting() {
    let template = Manifest::read(TEMPLATE);
    for service in SERVICES {
        template.expect(&container(service, "RestartPolicy.Enabled"), "true");
        let ignored = template.list(&container(service, "RestartPolicy.IgnoredExitCodes"));
        assert_eq!(ignored, [Yaml::Integer(78)], "{template}: {}", service.name);
    }
}

impl Manifest {
    /// Expects the value that stands at another place as well.
    fn expect_same(&self, path: &str, other: &str) {
        self.expect(path, &self.text(other));
    }

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

/// Where the template has a property of a service.
fn service_property(service: &Service, path: &str) -> String {
    format!("Resources.{}Service.Properties.{path}", resource(service))
}

/// Where the template has a property of a service's only container.
fn container(service: &Service, path: &str) -> String {
    format!("Resources.{}Task.Properties.ContainerDefinitions.0.{path}", resource(service))
}

/// `Name` for `name-service`: what the template's resources begin with.
fn resource(service: &Service) -> String {
    let (first, rest) = service.name.split_at(1);
    first.to_uppercase() + rest
}
