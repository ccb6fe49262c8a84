"""Whose is it: tags in the two forms that AWS has, and the check before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpupipe.aws import Aws
from gpupipe.errors import NotOursError
from gpupipe.names import TAG_KEY, TAG_PIPELINE, TAG_STACK, Stack
from gpupipe.resources import Found, Observed, Resource
from gpuworker.contract import TAG_REGION


def ours(resource: Resource, aws: Aws) -> Observed | None:
    """What exists of `resource`, or None. Raises NotOursError where it belongs to somebody else."""
    observed = resource.observe(aws)
    if observed is not None and observed.owner != resource.stack.id:
        owner = f"belongs to {observed.owner}" if observed.owner else "was not made by gpupipe"
        raise NotOursError(
            f"{resource.kind} {resource.aws_name} exists and {owner}, not to {resource.stack.id}; it is left alone.",
            hint="Choose another stack name or environment in gpupipe.toml, or remove it yourself.",
        )
    return observed


def adopted(resource: Resource, aws: Aws) -> bool:
    """Does it exist and is it ours? Then what a killed `create` left undone is done now."""
    observed = ours(resource, aws)
    if observed is None:
        return False
    changed = differing(resource, observed) - resource.immutable
    if changed:
        resource.update(aws, changed)
    return True


def differing(resource: Resource, observed: Observed) -> frozenset[str]:
    """The fields that are not as wanted."""
    return frozenset(
        name
        for name, wanted in resource.desired().items()
        if name not in observed.fields or observed.fields[name] != wanted
    )


def found(resource: Resource, tags: Mapping[str, str]) -> Found:
    """`resource` as something met in the account, with the key its tag tells."""
    return Found(
        kind=resource.kind,
        key=tags.get(TAG_KEY, resource.key),
        name=resource.aws_name,
        resource=resource,
    )


def pipeline_of(tags: Mapping[str, str]) -> str:
    """The pipeline a found thing was made for, "" for the stack's own."""
    return tags.get(TAG_PIPELINE, "")


def is_stacks(tags: Mapping[str, str], stack: Stack) -> bool:
    """Do these tags say that it is this stack's? (`demo-dev-x` begins like `demo-dev`; only tags tell them apart.)"""
    return tags.get(TAG_STACK) == stack.id


def iam_tags(resource: Resource) -> dict[str, str]:
    """The tags of a role or instance profile: ours and the region."""
    return {**resource.tags, TAG_REGION: resource.stack.region}


def iam_owner(tags: Mapping[str, str], stack: Stack) -> str:
    """The owner by the tags of a role or instance profile; another region's stack of that name is another stack."""
    owner, region = tags.get(TAG_STACK, ""), tags.get(TAG_REGION, stack.region)
    return owner if region == stack.region else f"{owner} in {region}"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """`[{"Key": …, "Value": …}]`, as most services want tags."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """The way back from `tag_list`; None is no tag."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}
