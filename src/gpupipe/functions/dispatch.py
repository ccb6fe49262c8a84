"""Lambda `dispatch`: what the event queue tells of becomes jobs and shards, and the guard is woken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.arrivals import Arrival, ManifestArrived, NotTaken, ObjectArrived, arrivals
from gpupipe.functions.context import AnyContext
from gpupipe.functions.dropins import take_dropins
from gpupipe.functions.manifests import dispatch_manifest
from gpuworker.contract import ContractError, is_world_file

TIME_TO_STOP_MS = 60_000
"""With less time than this left nothing more is begun: what remains is redelivered."""
KEYS_A_LINE = 100
"""Of 1,024 bytes at most: CloudWatch cuts a line at 256 kB. A batch of messages tells of 10,000 at most."""

_WORLDS_LEFT = "images that are dropped in get no place from files beside them; gpupipe submit uses them"


def dispatch(ctx: AnyContext, records: Sequence[Mapping[str, Any]], time_left_ms: Callable[[], float]) -> set[str]:
    """Handle a batch of SQS records; the ids of the messages that failed. Nothing of it is lost or done twice,
    wherever it is killed and however often it is repeated."""
    found, failed = _parsed(ctx, records)
    work = [_manifest_work(ctx, one) for one in found if isinstance(one, ManifestArrived)]
    work += [_dropin_work(ctx, project, objects) for project, objects in _by_project(found).items()]
    to_do = False
    while work:
        piece = work.pop(0)
        if time_left_ms() < TIME_TO_STOP_MS:
            failed |= piece.messages
            continue
        try:
            to_do |= bool(piece.act())
        except Exception as error:
            log.error("dispatch_failed", error, messages=len(piece.messages), **piece.about)
            # One of many may be at fault: each by itself, or its neighbours would use up their receives with it.
            failed |= set() if piece.alone else piece.messages
            work += piece.alone
    _note_not_taken(ctx, [one for one in found if isinstance(one, NotTaken)])
    if to_do:
        _wake_guard(ctx)
    return failed


def _parsed(ctx: AnyContext, records: Iterable[Mapping[str, Any]]) -> tuple[list[Arrival], set[str]]:
    """What arrived; a message that cannot be understood fails alone, and ends in the dead-letter queue."""
    found: list[Arrival] = []
    failed: set[str] = set()
    for record in records:
        try:
            found += arrivals([record], bucket=ctx.settings.bucket, suffixes=ctx.settings.input_suffixes)
        except Exception as error:  # whatever can be wrong with what anybody may have written
            log.error("message_not_understood", error, message=record.get("messageId"))
            failed.add(record["messageId"])
    return found, failed


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What some messages ask for."""

    messages: set[str]
    act: Callable[[], Any]
    about: Mapping[str, Any]
    """For the log."""
    alone: Sequence[_Work] = ()
    """The same, a message each, where there are several."""


def _by_project(found: Iterable[Arrival]) -> dict[str, list[ObjectArrived]]:
    objects = sorted((one for one in found if isinstance(one, ObjectArrived)), key=lambda one: one.project)
    return {project: list(group) for project, group in groupby(objects, key=lambda one: one.project)}


def _dropin_work(ctx: AnyContext, project: str, objects: Sequence[ObjectArrived]) -> _Work:
    by_message = {
        message: [one for one in objects if one.message == message]
        for message in dict.fromkeys(one.message for one in objects)
    }
    alone = [_dropin_work(ctx, project, own) for own in by_message.values()] if len(by_message) > 1 else []
    return _Work(
        messages=set(by_message),
        act=lambda: take_dropins(ctx, project, objects),
        about={"project": project},
        alone=alone,
    )


def _manifest_work(ctx: AnyContext, arrived: ManifestArrived) -> _Work:
    def act() -> bool:
        try:
            return dispatch_manifest(ctx, arrived.job, arrived.generation)
        except (ContractError, ctx.s3.exceptions.NoSuchKey) as error:
            # Trying again will not mend a document: say so where `status` shows it, and go on.
            log.error("manifest_unusable", error, job=arrived.job, generation=arrived.generation)
            ctx.ledger.count_ignored(ctx.settings.pipeline, "", "unusable_manifest", 1, arrived.job)
            return False

    about = {"job": arrived.job, "generation": arrived.generation}
    return _Work(messages={arrived.message}, act=act, about=about)


def _note_not_taken(ctx: AnyContext, things: Sequence[NotTaken]) -> None:
    """Log by name and count what was passed over, so that a person can find out where a file went."""
    passed_over: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for thing in things:
        if thing.is_noteworthy:
            passed_over[thing.project, thing.reason].append(thing.key)
    for (project, reason), keys in passed_over.items():
        for start in range(0, len(keys), KEYS_A_LINE):
            part = keys[start : start + KEYS_A_LINE]
            log.warning("not_taken", reason=reason, project=project, count=len(part), keys=part)
        worlds = [key for key in keys if is_world_file(key)]
        if worlds:
            log.warning("world_files_left", project=project, count=len(worlds), last=worlds[-1], advice=_WORLDS_LEFT)
        try:
            pipeline = ctx.settings.pipeline
            ctx.ledger.count_ignored(pipeline, project, reason, len(keys), keys[-1], world_files=len(worlds))
        except Exception as error:  # what was taken is taken, and the log has told
            log.error("not_counted", error, reason=reason, count=len(keys))


def _wake_guard(ctx: AnyContext) -> None:
    try:
        ctx.client("lambda").invoke(FunctionName=ctx.settings.guard_function, InvocationType="Event", Payload=b"{}")
    except Exception as error:
        # Its schedule wakes it within a minute anyway.
        log.error("guard_not_woken", error)
