"""Which settings of an `endpoint` pipeline cannot work together: told here, not by AWS twenty minutes later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpupipe.dropins import toml_key

if TYPE_CHECKING:
    from gpupipe.kinds.endpoint.settings import EndpointPipeline
    from gpupipe.settings import Frozen

MAIN = "main"
REALTIME_TIMEOUT_S = 60
"""SageMaker's, whatever is asked for."""
SHARE_OF_TIMEOUT = 0.8
"""Of an invocation's time after which a container stops."""
_NUMBERS = r"[0-9*/,-]+"
_MONTHS = r"([0-9*/,-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)+"
_WEEKDAYS = r"([0-9*/,?L#-]|SUN|MON|TUE|WED|THU|FRI|SAT)+"
CRON = re.compile(" ".join((_NUMBERS, _NUMBERS, r"[0-9*/,?LW-]+", _MONTHS, _WEEKDAYS, _NUMBERS)), re.IGNORECASE)
"""Minutes, hours, day of month, month, day of week, year."""
ECR_IMAGE = re.compile(r"\d{12}\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/[^:@\s]+([:@]\S+)?")


def realtime_defaults(data: Any) -> Any:
    """`data` with the defaults that differ in real time, where it says nothing else."""
    if not isinstance(data, Mapping) or data.get("mode") != "realtime":
        return data
    compute = data.get("compute", {})
    if isinstance(compute, Mapping):
        compute = {"min_instances": 1, **compute}
    return {"invocation_timeout_s": REALTIME_TIMEOUT_S, **data, "compute": compute}


def mistakes(settings: EndpointPipeline) -> Iterator[str]:
    """What no target can do."""
    compute = settings.compute
    if compute.min_instances > compute.max_instances:
        yield "compute: min_instances is above max_instances"
    yield from _of_realtime(settings) if settings.is_realtime else _of_async(settings)
    yield from _of_variants(settings)
    yield from _of_time(settings)


def mistakes_on_aws(settings: EndpointPipeline, region: str) -> Iterator[str]:
    """What AWS would refuse and the emulators do not."""
    for variant in settings.deployed:
        image, key = variant.image, "image"
        if settings.variants and not settings.image:
            key = f"variants.{variant.name}.image"
        found = ECR_IMAGE.fullmatch(image)
        if not image:
            yield f'{key}: is missing; target "aws" needs a container image (123456789012.dkr.ecr.{region}…/name:tag)'
        elif found is None:
            yield f"{key}: SageMaker takes images of ECR only (123456789012.dkr.ecr.{region}…/name:tag), not {image!r}"
        elif found["region"] != region:
            yield f"{key}: is in {found['region']}; SageMaker wants it in the stack's region, {region}"


def not_offered(settings: EndpointPipeline, region: str) -> Iterator[str]:
    """What AWS does not have, by lists that are too long to be read by every command."""
    from gpupipe.costs import INSTANCE_USD_PER_HOUR
    from gpupipe.offers import service_mistake, type_mistakes

    if why := service_mistake("sagemaker", region):
        yield f"kind: {why}"
    written = {"compute.instance_types": settings.compute.instance_types}
    written |= {f"variants.{one.name}.instance_types": one.instance_types for one in settings.variants}
    for key, types in written.items():
        for mistake in type_mistakes(types, service="sagemaker", priced=INSTANCE_USD_PER_HOUR):
            yield f"{key}: {mistake}"


def _of_realtime(settings: EndpointPipeline) -> Iterator[str]:
    compute = settings.compute
    if compute.min_instances < 1:
        yield 'compute: a realtime endpoint cannot go to zero; set min_instances = 1 or mode = "async"'
    if settings.invocation_timeout_s > REALTIME_TIMEOUT_S:
        yield 'invocation_timeout_s: SageMaker ends a realtime request after 60 s; leave it out or set mode = "async"'
    for key in ("backlog_per_instance", "idle_minutes"):
        if _is_changed(compute, key):
            yield f'compute: {key} is for mode = "async"'
    yield from _of_keep_warm(settings)


def _of_async(settings: EndpointPipeline) -> Iterator[str]:
    if _is_changed(settings.compute, "requests_per_instance"):
        yield 'compute: requests_per_instance is for mode = "realtime"'
    if len(settings.variants) > 1:
        # Not in AWS's documents: the CDK's authors met it, https://github.com/aws/aws-cdk-rfcs/pull/433.
        yield 'variants: an asynchronous endpoint takes one; mode = "realtime" can compare two'
    if settings.keep_warm.start or settings.keep_warm.end:
        yield 'keep_warm: is for mode = "realtime"; set compute.min_instances to keep an async endpoint up'


def _of_keep_warm(settings: EndpointPipeline) -> Iterator[str]:
    warm, compute = settings.keep_warm, settings.compute
    if bool(warm.start) != bool(warm.end):
        yield "keep_warm: start and end go together; leave both out to keep it off"
    if not warm.start and not warm.end:
        return
    for key in ("start", "end"):
        if not _is_cron(getattr(warm, key)):
            yield f'keep_warm: {key} is not a cron of AWS, six fields with one "?" for a day: "0 8 ? * MON-FRI *"'
    from zoneinfo import available_timezones  # every command reads settings, few have this one

    known = available_timezones()  # none where the system has no list of them
    if known and warm.timezone not in known:
        yield f'keep_warm: timezone {warm.timezone!r} is unknown; write it as in "Europe/Berlin"'
    if not compute.min_instances < warm.min_instances <= compute.max_instances:
        yield "keep_warm: min_instances must be above compute's min_instances, and at most its max_instances"


def _is_cron(text: str) -> bool:
    """AWS wants one of the two days open."""
    fields = text.split()
    return CRON.fullmatch(" ".join(fields)) is not None and [fields[2], fields[4]].count("?") == 1


def _of_variants(settings: EndpointPipeline) -> Iterator[str]:
    names = [variant.name for variant in settings.variants]
    if len(set(names)) < len(names):
        yield f"variants: both are called {names[0]!r}"
    if settings.variants and not any(variant.weight for variant in settings.variants):
        yield "variants: one needs a weight above 0"
    for variant in settings.variants:
        try:
            if why := settings.lacks_weights(settings.options_of(variant)):
                yield why
        except ValidationError as error:
            for detail in error.errors():
                key = ".".join(map(str, ("variants", variant.name, "task_options", *detail["loc"])))
                yield f"{key}: {detail['msg'].removeprefix('Value error, ')}"


def _of_time(settings: EndpointPipeline) -> Iterator[str]:
    allowed = SHARE_OF_TIMEOUT * settings.invocation_timeout_s
    asked = {f" of drop-ins of {toml_key(pattern)}": options for pattern, options in settings.dropins.items()}
    for whose, options in {"": settings.task_options, **asked}.items():
        try:
            seconds = options.seconds_per_item()
        except NotImplementedError:  # the task is unknown, which is told elsewhere
            return
        if seconds > allowed:
            item = f"an item{whose} takes about {seconds:g} s"
            yield f"invocation_timeout_s: {item}, and a container stops after {allowed:g}"


def _is_changed(table: Frozen, key: str) -> bool:
    return bool(getattr(table, key) != type(table).model_fields[key].default)
