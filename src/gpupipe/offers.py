"""What AWS has, by the lists of the installed botocore: regions, services in them, instance types.

Asked before an `up` only. The lists are older than AWS: a stack that stands must still be seen and deleted, and what is
told says how to get newer ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

NEWER = "If it is new, `pip install --upgrade boto3` brings a list that has it."
_TYPES = {"ec2": ("EC2", "InstanceType"), "sagemaker": ("SageMaker", "ProductionVariantInstanceType")}
"""Service -> what people call it, and the shape of its API that lists its instance types."""


def region_mistake(region: str) -> str:
    """Why nothing can be made in `region`; "" where AWS has it."""
    known = _regions()
    if region in known:
        return ""
    return f"AWS has no region {region!r}{_guess(region, known)} {NEWER}"


def service_mistake(service: str, region: str) -> str:
    """Why nothing of `service` can be made in a region that AWS has; "" where it can."""
    if region not in _regions() or region in _regions_of(service):
        return ""
    return f"AWS does not offer {_TYPES[service][0]} in {region}; choose another region, or another kind of pipeline"


def type_mistakes(types: Collection[str], *, service: str, priced: Collection[str]) -> Iterator[str]:
    """What is no instance type of `service` ("ec2", "sagemaker"). `priced` types are known without reading its list."""
    for one in types:
        if one not in priced and one not in _types(service):
            guess = _guess(one, _like(one, priced), _like(one, _types(service)))
            yield f"{_TYPES[service][0]} has no instance type {one!r}{guess} {NEWER}"


def _like(one: str, types: Collection[str]) -> list[str]:
    """Those whose family is called by the same letters: of g9 it is more likely g5 that was meant than r9g."""
    return [other for other in types if _letters(other) == _letters(one)]


def _letters(instance_type: str) -> str:
    found = re.match(r"(ml\.)?[a-z]*", instance_type)
    return found.group() if found else ""


def _guess(word: str, *known: Collection[str]) -> str:
    """The nearest of the first list that has any near."""
    for names in known:
        if near := difflib.get_close_matches(word, names, n=3):
            return f"; did you mean {' or '.join(map(repr, near))}?"
    return "."


def _loader() -> Any:
    from botocore.session import get_session  # half of boto3's time to load, for few commands

    return get_session().get_component("data_loader")


@cache
def _regions() -> frozenset[str]:
    partitions = _loader().load_data("partitions")["partitions"]
    return frozenset(name for part in partitions for name in part["regions"] if not name.endswith("-global"))


@cache
def _regions_of(service: str) -> frozenset[str]:
    from botocore.session import get_session

    session = get_session()
    parts = session.get_available_partitions()
    return frozenset(name for part in parts for name in session.get_available_regions(service, part))


@cache
def _types(service: str) -> tuple[str, ...]:
    """In AWS's order. Reading EC2's takes half a second."""
    shapes = _loader().load_service_model(service, "service-2")["shapes"]
    return tuple(shapes[_TYPES[service][1]]["enum"])
