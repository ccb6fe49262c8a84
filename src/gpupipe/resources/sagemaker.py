"""What SageMaker's models, endpoint configurations and endpoints have in common: names, tags and finding them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_KEY, Stack
from gpupipe.resources import Fields, content_hash
from gpupipe.resources.ownership import is_stacks, tag_map

NAME_MAX = 63
_HASH = 8


def hashed_name(name: str, content: Fields) -> str:
    """`name` with the hash of what it stands for, cut to what SageMaker allows; the hash is of the whole name too."""
    base = name[: NAME_MAX - _HASH - 1].rstrip("-")
    return f"{base}-{content_hash({'name': name, 'content': content})}"


def name_before_hash(stack: Stack, tags: Mapping[str, str]) -> str:
    """The `name` of what carries these tags: its key without the kind."""
    return f"{stack.id}-{tags.get(TAG_KEY, '').partition('/')[2]}"


def arn(stack: Stack, what: str, name: str) -> str:
    """`what` is model, endpoint-config or endpoint. SageMaker writes names in lower case in ARNs."""
    return stack.arn("sagemaker", f"{what}/{name.lower()}")


def read_tags(aws: Aws, resource_arn: str) -> dict[str, str]:
    """The tags of what exists."""
    pages = aws.client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=resource_arn)
    return tag_map(tag for page in pages for tag in page["Tags"])


def stacks_own(aws: Aws, operation: str, items: str, name: str) -> Iterable[tuple[str, dict[str, str]]]:
    """AWS name and tags of all that the stack has of what `operation` (`list_models`) lists."""
    stack = aws.stack
    pages = aws.client("sagemaker").get_paginator(operation).paginate(NameContains=f"{stack.id}-")
    found: list[Mapping[str, Any]] = [one for page in pages for one in page[items]]
    mine = [one for one in found if one[f"{name}Name"].startswith(f"{stack.id}-")]
    reads = (partial(absent_ok, read_tags, aws=aws, resource_arn=one[f"{name}Arn"]) for one in mine)
    for one, tags in zip(mine, together(*reads), strict=True):
        if is_stacks(tags or {}, stack):
            yield one[f"{name}Name"], tags
