"""What AWS refuses and moto takes: the refusals of .ci/moto, each with its source.

`model` is what the API's own model says (botocore): fields, types, choices, ranges. The rest
are rules between fields and between resources, which only its documentation has, or its
users found out. .ci/refusals shows each refusing.
"""

import re
from functools import lru_cache

from botocore.loaders import Loader
from botocore.model import ServiceModel
from moto.ecs.models import ecs_backends as ecs
from moto.elbv2.models import elbv2_backends as elbv2
from moto.servicediscovery.models import servicediscovery_backends as servicediscovery


class Refused(Exception):
    """AWS does not take it, and says why."""


def refuse(unless, why):
    if not unless:
        raise Refused(why)


# --- templates ------------------------------------------------------------------------


def template(template, given):
    """Parameters and rules, as CloudFormation checks them before it makes anything:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    and .../rules-section-structure.html"""
    declared = template.get("Parameters", {})
    unknown = sorted(set(given) - set(declared))
    refuse(not unknown, f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = {name: str(given.get(name, rules.get("Default", ""))) for name, rules in declared.items()}
    for name, rules in declared.items():
        value = values[name]
        refuse(name in given or "Default" in rules, f"Parameters: [{name}] must have values")
        choices = [str(choice) for choice in rules.get("AllowedValues", [value])]
        refuse(value in choices, f"Parameter '{name}' must be one of AllowedValues")
        pattern = str(rules.get("AllowedPattern", ".*"))
        refuse(re.fullmatch(pattern, value, re.DOTALL), f"Parameter '{name}' must match pattern {pattern}")
        if rules["Type"] == "Number":
            refuse(re.fullmatch(r"-?\d+(\.\d+)?", value), f"Parameter '{name}' must be a number")
            low, high = rules.get("MinValue", value), rules.get("MaxValue", value)
            refuse(float(low) <= float(value), f"Parameter '{name}' must be a number not less than {low}")
            refuse(float(value) <= float(high), f"Parameter '{name}' must be a number not greater than {high}")
    for rule in template.get("Rules", {}).values():
        if evaluate(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values):
            for assertion in rule["Assertions"]:
                refuse(
                    evaluate(assertion["Assert"], values),
                    f"Template error: {assertion.get('AssertDescription', 'an assertion of Rules is false')}",
                )


def evaluate(expression, parameters):
    """The functions of Rules that a template here uses."""
    if not isinstance(expression, dict):
        return str(expression)
    [(function, arguments)] = expression.items()
    if function == "Ref":
        return parameters[arguments]
    if function == "Fn::Equals":
        return evaluate(arguments[0], parameters) == evaluate(arguments[1], parameters)
    if function == "Fn::Contains":
        return evaluate(arguments[1], parameters) in [evaluate(item, parameters) for item in arguments[0]]
    raise NotImplementedError(f"{function} in Rules")


# --- the API's own model --------------------------------------------------------------


@lru_cache
def shape(service, operation):
    description = Loader().load_service_model(service, "service-2")
    return ServiceModel(description, service).operation_model(operation).input_shape


def model(service, operation, properties, where):
    """A resource's properties as the API takes them, or a refusal."""
    return convert(properties, shape(service, operation), where)


def convert(value, shape, where):
    if shape.type_name == "structure":
        refuse(isinstance(value, dict), f"{where} is no object")
        names = {name.lower(): name for name in shape.members}
        known = {}
        for name, part in value.items():
            # CloudFormation has Family where ECS has family.
            refuse(name.lower() in names, f"{where}: Unknown parameter {name}")
            known[names[name.lower()]] = (name, part)
        for name in shape.required_members:
            refuse(name in known, f"{where}: Missing required parameter {name}")
        return {
            name: convert(part, shape.members[name], f"{where}.{said}") for name, (said, part) in known.items()
        }
    if shape.type_name == "list":
        refuse(isinstance(value, list), f"{where} is no list")
        in_range(len(value), shape, where)
        return [convert(part, shape.member, f"{where}[{i}]") for i, part in enumerate(value)]
    if shape.type_name == "map":
        return {str(name): convert(part, shape.value, f"{where}.{name}") for name, part in value.items()}
    if shape.type_name == "boolean":
        refuse(str(value).lower() in ("true", "false"), f"{where} is {value}; it has to be true or false")
        return str(value).lower() == "true"
    if shape.type_name in ("integer", "long", "float", "double"):
        kind = int if shape.type_name in ("integer", "long") else float
        try:
            number = kind(value)
        except (TypeError, ValueError):
            raise Refused(f"{where} is {value}; it has to be a number") from None
        in_range(number, shape, where)
        return number
    if shape.type_name == "string":
        text = str(value).lower() if isinstance(value, bool) else str(value)
        refuse(not shape.enum or text in shape.enum, f"{where} is {text}; it has to be one of {shape.enum}")
        return text
    return value


def in_range(number, shape, where):
    low, high = shape.metadata.get("min", number), shape.metadata.get("max", number)
    refuse(low <= number <= high, f"{where} is {number}; it has to be from {low} to {high}")


def documented_keys(service, operation_shape, attributes, where):
    """Keys of attributes are free text for the model; its documentation lists them."""
    description = Loader().load_service_model(service, "service-2")
    text = description["shapes"][operation_shape]["members"]["Key"]["documentation"]
    for attribute in attributes:
        refuse(
            f"<code>{attribute['Key']}</code>" in text,
            f"{where}: Load balancer attribute key '{attribute['Key']}' is not recognized",
        )


# --- ECS ------------------------------------------------------------------------------

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
FARGATE_MEMORY = {
    "256": [512, 1024, 2048],
    "512": range(1024, 4096 + 1, 1024),
    "1024": range(2048, 8192 + 1, 1024),
}
# API_HealthCheck and API_ContainerRestartPolicy of ECS: their models have no ranges.
HEALTH_CHECK = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}
RESTART_PERIOD = (60, 1800)
# API_ContainerDefinition: "for tasks that use Fargate, the max stop timeout value is 120".
STOP_TIMEOUT = (0, 120)
# API_PortMapping and API_ServiceConnectService: "lowercase letters, numbers, underscores (_),
# and hyphens (-). The name can't start with a hyphen", "up to 64 characters".
NAME = r"[a-z0-9_][a-z0-9_-]{0,63}"


def task_definition(properties):
    """What ECS takes of a task definition for Fargate."""
    task = model("ecs", "RegisterTaskDefinition", properties, "TaskDefinition")
    if "FARGATE" not in task.get("requiresCompatibilities", []):
        return task
    refuse(
        task.get("networkMode") == "awsvpc",
        "Fargate only supports network mode 'awsvpc'.",
    )
    cpu, memory = task.get("cpu"), task.get("memory")
    refuse(
        int(memory or 0) in FARGATE_MEMORY.get(cpu, []),
        f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory.",
    )
    names = [port.get("name") for container in task["containerDefinitions"] for port in container.get("portMappings", [])]
    refuse(len(names) == len(set(names)), "Port mapping names must be unique within a task definition.")
    for name in names:
        refuse(re.fullmatch(NAME, name or ""), f"Invalid port mapping name {name}")
    for container in task["containerDefinitions"]:
        within(container.get("stopTimeout"), STOP_TIMEOUT, "stopTimeout")
        for field, limits in HEALTH_CHECK.items():
            within(container.get("healthCheck", {}).get(field), limits, f"healthCheck.{field}")
        restart = container.get("restartPolicy", {})
        within(restart.get("restartAttemptPeriod"), RESTART_PERIOD, "restartPolicy.restartAttemptPeriod")
        # API_ContainerRestartPolicy: "a maximum of 50 container exit codes".
        within(len(restart.get("ignoredExitCodes", [])), (0, 50), "restartPolicy.ignoredExitCodes")
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
        if container.get("logConfiguration", {}).get("logDriver") == "awslogs":
            refuse(task.get("executionRoleArn"), "Fargate requires task definition to have execution role ARN to support log driver awslogs.")
    return task


def within(number, limits, what):
    low, high = limits
    refuse(number is None or low <= number <= high, f"{what} is {number}; it has to be from {low} to {high}")


def service(properties, account, region, own=None):
    """What ECS takes of a service; `own` is it, when it is there already."""
    known = dict(properties)
    # CloudFormation's own: 1 for a new service, and what it is for an old one.
    known.setdefault("DesiredCount", 1)
    wanted = model("ecs", "CreateService", known, "Service")
    backend = ecs[account][region]
    cluster = backend._get_cluster(wanted["cluster"])
    task = backend.describe_task_definition(wanted["taskDefinition"])

    capacity(wanted, cluster)
    # API_CreateService: "required for task definitions that use the awsvpc network mode".
    refuse(
        task.network_mode != "awsvpc" or wanted.get("networkConfiguration"),
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    )
    # API_AwsVpcConfiguration.
    vpc = wanted.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    within(len(vpc.get("subnets", [])), (1, 16), "subnets")
    within(len(vpc.get("securityGroups", [])), (0, 5), "securityGroups")
    # API_CreateService, of enableECSManagedTags: "you must set the propagateTags request parameter".
    refuse(
        not wanted.get("enableECSManagedTags") or wanted.get("propagateTags", "NONE") != "NONE",
        "When you use Amazon ECS managed tags, you must set the propagateTags request parameter",
    )
    balanced(wanted, task, elbv2[account][region])
    deployment(wanted.get("deploymentConfiguration", {}), wanted)
    connect(wanted, task, account, region, own)
    return wanted


def capacity(wanted, cluster):
    """API_CapacityProviderStrategyItem, API_CreateService."""
    strategy = wanted.get("capacityProviderStrategy", [])
    refuse(
        not strategy or "launchType" not in wanted,
        "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
    )
    within(len(strategy), (0, 20), "capacityProviderStrategy")
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-capacity-providers.html
    for item in strategy:
        refuse(
            item["capacityProvider"] in (cluster.capacity_providers or []),
            f"The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster: {item['capacityProvider']}",
        )
        within(item.get("weight"), (0, 1000), "weight")
    refuse(
        not strategy or any(item.get("weight", 0) or item.get("base", 0) for item in strategy),
        "The capacity provider strategy must contain at least one capacity provider with a weight greater than 0.",
    )
    refuse(
        sum(bool(item.get("base")) for item in strategy) <= 1,
        "Only one capacity provider in a capacity provider strategy can have a base defined.",
    )


def balanced(wanted, task, backend):
    for balancer in wanted.get("loadBalancers", []):
        group = backend.target_groups[balancer["targetGroupArn"]]
        # https://github.com/hashicorp/terraform/issues/12634: a service comes after the listener.
        refuse(
            group.load_balancer_arns,
            f"The target group with targetGroupArn {group.arn} does not have an associated load balancer.",
        )
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-networking-awsvpc.html
        refuse(
            task.network_mode != "awsvpc" or group.target_type == "ip",
            f"The provided target group {group.arn} has target type {group.target_type}, which is incompatible with the awsvpc network mode specified in the task definition.",
        )
        ports = {
            (container["name"], port["containerPort"])
            for container in task.container_definitions
            for port in container.get("portMappings", [])
        }
        refuse(
            (balancer["containerName"], balancer["containerPort"]) in ports,
            f"The container {balancer['containerName']} did not have a container port {balancer['containerPort']} defined.",
        )


def deployment(wanted, service):
    """API_DeploymentConfiguration, API_DeploymentLifecycleHook and their members."""
    strategy = wanted.get("strategy", "ROLLING")
    refuse(
        strategy == "ROLLING" or "deploymentCircuitBreaker" not in wanted,
        f"The deployment circuit breaker can only be used for rolling deployments, not with {strategy}",
    )
    for field, only in (("canaryConfiguration", "CANARY"), ("linearConfiguration", "LINEAR")):
        refuse(field not in wanted or strategy == only, f"{field} is only valid when the strategy is {only}")
    refuse(
        strategy != "BLUE_GREEN" or "bakeTimeInMinutes" in wanted,
        "bakeTimeInMinutes has to be provided with the strategy BLUE_GREEN",
    )
    within(wanted.get("bakeTimeInMinutes"), (0, 1440), "bakeTimeInMinutes")
    canary = wanted.get("canaryConfiguration", {})
    within(canary.get("canaryPercent"), (0.1, 100), "canaryPercent")
    within(canary.get("canaryBakeTimeInMinutes"), (0, 1440), "canaryBakeTimeInMinutes")
    # AWS::ECS::Service CanaryConfiguration: CloudFormation refuses more than 33 hours.
    refuse(
        wanted.get("bakeTimeInMinutes", 0) + canary.get("canaryBakeTimeInMinutes", 0) <= 33 * 60,
        "The deployment takes more than 33 hours",
    )
    for hook in wanted.get("lifecycleHooks", []):
        refuse(
            hook.get("targetType") == "PAUSE" or ("hookTargetArn" in hook and "roleArn" in hook),
            "A lifecycle hook that is no PAUSE needs a hookTargetArn and a roleArn",
        )
        refuse(hook.get("targetType") != "PAUSE" or "hookTargetArn" not in hook, "A PAUSE hook has no hookTargetArn")
        # AWS::ECS::Service HookTimeoutConfig, in CloudFormation's schema.
        within(hook.get("timeoutConfiguration", {}).get("timeoutInMinutes"), (1, 20160), "timeoutInMinutes")
    # No source says that ECS refuses this one: no task could be replaced, for ever.
    refuse(
        wanted.get("minimumHealthyPercent", 100) < wanted.get("maximumPercent", 200),
        "The maximumPercent has to be more than the minimumHealthyPercent, or no task can be replaced",
    )
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb-resources-for-blue-green.html
    for balancer in service.get("loadBalancers", []):
        refuse(
            strategy == "ROLLING" or "advancedConfiguration" in balancer,
            f"{strategy} with a load balancer needs an advancedConfiguration: a second target group, rules and a role",
        )


def connect(wanted, task, account, region, own):
    """API_ServiceConnectConfiguration and its members."""
    wanted = wanted.get("serviceConnectConfiguration", {})
    if not wanted.get("enabled"):
        return
    refuse(
        "accessLogConfiguration" not in wanted or "logConfiguration" in wanted,
        "To enable access logs, you must also specify a logConfiguration in the serviceConnectConfiguration",
    )
    namespaces = servicediscovery[account][region]
    namespace = next((each for each in namespaces.namespaces.values() if wanted.get("namespace") in (each.arn, each.name)), None)
    refuse(namespace, f"namespace {wanted.get('namespace')} was not found")
    ports = {port.get("name") for container in task.container_definitions for port in container.get("portMappings", [])}
    others = [
        offer
        for other in ecs[account][region].services.values()
        if other is not own and other.connect.get("namespace") in (namespace.arn, namespace.name)
        for offer in other.connect.get("services", [])
    ]
    taken = {service.name for service in namespaces.services.values() if service.namespace_id == namespace.id}
    taken -= discovery_names(own.connect) if own else set()
    for offer in wanted.get("services", []):
        refuse(offer["portName"] in ports, f"portName({offer['portName']}) does not refer to any named PortMapping in the task definition.")
        name = offer.get("discoveryName", offer["portName"])
        refuse(re.fullmatch(NAME, name), f"Invalid discoveryName {name}")
        # "This must be unique within the Cloud Map namespace." The words are those that
        # users got: https://github.com/aws/copilot-cli/issues/4313, .../4659.
        refuse(name not in taken, f"CreateService error: SC service is already used by {namespace.arn}")
        taken.add(name)
        # "The maximum number of client aliases that you can have in this list is 1", "you must
        # provide at least one clientAlias with one port".
        aliases = offer.get("clientAliases", [])
        within(len(aliases), (1, 1), "clientAliases")
        # "Each name and port mapping must be unique within the namespace."
        for alias in aliases:
            refuse(
                not any(same(alias, name, *other) for other in used(others)),
                f"The client alias {alias.get('dnsName', name)}:{alias['port']} is already used in {namespace.arn}",
            )
        others.append(offer)


def discovery_names(connect):
    return {offer.get("discoveryName", offer["portName"]) for offer in connect.get("services", [])}


def used(offers):
    for offer in offers:
        for alias in offer.get("clientAliases", []):
            yield alias, offer.get("discoveryName", offer["portName"])


def same(alias, name, other, other_name):
    return (alias.get("dnsName", name), alias["port"]) == (other.get("dnsName", other_name), other["port"])


# --- the others -----------------------------------------------------------------------


def scalable_target(properties):
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html"""
    target = model("application-autoscaling", "RegisterScalableTarget", properties, "ScalableTarget")
    for field in ("MinCapacity", "MaxCapacity"):
        refuse(field in target, f"{field} has to be given for a new target")
    refuse(
        0 <= target["MinCapacity"] <= target["MaxCapacity"],
        "Maximum capacity cannot be less than minimum capacity",
    )
    return target


def target_group(properties):
    known = {name: value for name, value in properties.items() if name not in ("TargetGroupAttributes", "Targets")}
    group = model("elbv2", "CreateTargetGroup", {"Name": "unnamed", **known}, "TargetGroup")
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    refuse(
        group.get("HealthCheckTimeoutSeconds", 5) < group.get("HealthCheckIntervalSeconds", 30),
        "Health check interval must be greater than the timeout.",
    )
    documented_keys("elbv2", "TargetGroupAttribute", properties.get("TargetGroupAttributes", []), "TargetGroup")


def load_balancer(properties):
    documented_keys("elbv2", "LoadBalancerAttribute", properties.get("LoadBalancerAttributes", []), "LoadBalancer")


def listener(properties):
    documented_keys("elbv2", "ListenerAttribute", properties.get("ListenerAttributes", []), "Listener")
    known = {name: value for name, value in properties.items() if name != "ListenerAttributes"}
    wanted = model("elbv2", "CreateListener", known, "Listener")
    # API_CreateListener: a certificate for HTTPS and TLS, and for them alone.
    refuse(
        (wanted.get("Protocol") in ("HTTPS", "TLS")) == bool(wanted.get("Certificates")),
        "A certificate must be specified for HTTPS listeners",
    )
