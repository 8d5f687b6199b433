"""What AWS refuses and moto takes: the refusals of .ci/moto, each with its source.

They are those that need more than one document: parameters as they are given, other resources,
what was there before. What is wrong with a template by itself is cfn-lint's to say, and
crates/deploy/tests/deploy/cloudformation.rs's. .ci/refusals shows each refusing.
"""

import re
from functools import lru_cache

from botocore.loaders import Loader
from botocore.model import ServiceModel
from moto.ec2.models import ec2_backends as ec2
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
    if function == "Fn::Not":
        return not evaluate(arguments[0], parameters)
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
        names = {name.lower(): name for name in shape.members}
        known = {}
        for name, part in value.items():
            # CloudFormation has Family where ECS has family.
            refuse(name.lower() in names, f"{where}: Unknown parameter {name}")
            member = names[name.lower()]
            known[member] = convert(part, shape.members[member], f"{where}.{name}")
        return known
    if shape.type_name == "list":
        return [convert(part, shape.member, where) for part in value]
    if shape.type_name == "map":
        return {str(name): convert(part, shape.value, where) for name, part in value.items()}
    if shape.type_name == "boolean":
        return str(value).lower() == "true"
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    return str(value)


# --- ECS ------------------------------------------------------------------------------

# The tasks that a new account may run at once, in CPU units: its quota of Fargate On-Demand is 6
# vCPUs. None for an account that has more.
QUOTA = None
# ECS's message for a deployment whose tasks do not start, whatever the reason.
NO_TASKS = "Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'."


def subnet(properties, account, region, own):
    """What others' stacks broke on, by way of GetAZs: https://github.com/caktus/aws-web-stacks/issues/6"""
    refuse(
        own is None or own.availability_zone == properties["AvailabilityZone"],
        "CIDR Block must change if Availability Zone is changed and VPC ID is not changed",
    )


def service(properties, account, region, own=None):
    """What ECS takes of a service; `own` is it, when it is there already."""
    known = dict(properties)
    # CloudFormation's default: 1 for a new service, the current value for an old one.
    known.setdefault("DesiredCount", 1)
    wanted = model("ecs", "CreateService", known, "Service")
    backend = ecs[account][region]
    cluster = backend._get_cluster(wanted["cluster"])
    task = backend.describe_task_definition(wanted["taskDefinition"])

    capacity(wanted, cluster)
    places(wanted, task, backend, ec2[account][region], own)
    balanced(wanted, task, elbv2[account][region])
    connect(wanted, task, account, region, own)
    return wanted


def places(wanted, task, backend, network, own):
    """Where its tasks would be: in zones with Fargate for their architecture, within the quota."""
    vpc = wanted["networkConfiguration"]["awsvpcConfiguration"]
    zones = {network.get_subnet(each)._availability_zone.zone_id for each in vpc["subnets"]}
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-arm64.html
    arm = (task.runtime_platform or {}).get("cpuArchitecture") == "ARM64"
    refuse(not arm or "use1-az3" not in zones, NO_TASKS)
    units = int(task.cpu) * int(wanted["desiredCount"])
    for other in backend.services.values():
        if other is not own:
            units += int(backend.describe_task_definition(other.task_definition).cpu) * int(other.desired_count)
    refuse(QUOTA is None or units <= QUOTA, NO_TASKS)


def capacity(wanted, cluster):
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-capacity-providers.html
    for item in wanted.get("capacityProviderStrategy", []):
        refuse(
            item["capacityProvider"] in (cluster.capacity_providers or []),
            f"The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster: {item['capacityProvider']}",
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


def connect(wanted, task, account, region, own):
    """API_ServiceConnectConfiguration and its members."""
    wanted = wanted.get("serviceConnectConfiguration", {})
    if not wanted.get("enabled"):
        return
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
        # "This must be unique within the Cloud Map namespace." The words are those that
        # users got: https://github.com/aws/copilot-cli/issues/4313, .../4659.
        refuse(name not in taken, f"CreateService error: SC service is already used by {namespace.arn}")
        taken.add(name)
        # "Each name and port mapping must be unique within the namespace."
        for alias in offer.get("clientAliases", []):
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
    refuse(
        target["MinCapacity"] <= target["MaxCapacity"],
        "Maximum capacity cannot be less than minimum capacity",
    )
    return target
