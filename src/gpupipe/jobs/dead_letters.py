"""What a dead letter is about, in plain words; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpupipe.functions.arrivals import Arrival, ManifestArrived, arrivals
from gpuworker.contract import ContractError, Message, Place
from gpuworker.ledger import ShardRecord


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """Something that is not tried again by itself."""

    kind: Literal["shard", "event", "unknown"]
    """A shard; an S3 event (or the CLI's word of one); a message of the work queue that nobody understands."""
    about: str
    """In plain words."""
    job: str = ""
    number: int = 0
    generation: int = 0
    items: int = 0
    """Items that wait for it."""
    state: str = ""
    """The shard's state now: a message may be left behind of one that is done, or is tried again."""
    reason: str = ""
    at: float = 0.0
    """Unix time when it was given up, or first sent where that is not known."""
    has_message: bool = True
    """False: the ledger alone knows of it."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dict(vars(self))


def of_row(row: ShardRecord, *, has_message: bool = False, at: float = 0.0) -> DeadLetter:
    """A shard as its row in the ledger tells of it."""
    return DeadLetter(
        kind="shard",
        about=f"shard {row.number} of {row.job}",
        job=row.job,
        number=row.number,
        generation=row.generation,
        items=row.remaining,
        state=row.state.value,
        reason=row.reason,
        at=row.finished_at or at,
        has_message=has_message,
    )


def of_message(message: Mapping[str, Any], rows: Mapping[tuple[str, int], ShardRecord]) -> DeadLetter:
    """A message of the work queue; `rows` holds the shards that messages name, by job and number."""
    place, at = place_of(message), _sent_at(message)
    if place is None:
        return DeadLetter(kind="unknown", about=_cut(message["Body"]), reason="no message of this version", at=at)
    row = rows.get(place[:2])
    if row is not None and row.generation == place[2]:
        return of_row(row, has_message=True, at=at)
    job, number, generation = place
    reason = "the shard was sent again since" if row else "the ledger does not know this shard"
    about = f"shard {number} of {job}"
    return DeadLetter(kind="shard", about=about, job=job, number=number, generation=generation, reason=reason, at=at)


def of_event(message: Mapping[str, Any], *, bucket: str) -> DeadLetter:
    """A message of the event queue."""
    record = {"messageId": message["MessageId"], "body": message["Body"]}
    try:
        found = list(arrivals([record], bucket=bucket, suffixes=[""]))
    except (KeyError, TypeError, ValueError, AttributeError):
        found = []
    about = ", ".join(_told(one) for one in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    reason = "dispatch failed on it again and again; see `gpupipe logs`"
    return DeadLetter(kind="event", about=about or _cut(message["Body"]), reason=reason, at=_sent_at(message))


def _told(arrival: Arrival) -> str:
    return f"the start of {arrival.job}" if isinstance(arrival, ManifestArrived) else f"the arrival of {arrival.key}"


def place_of(message: Mapping[str, Any]) -> Place | None:
    """Of the shard that a message names; None where it names none."""
    try:
        found = Message.from_json(message["Body"])
    except ContractError:
        return None
    return found.place


def _sent_at(message: Mapping[str, Any]) -> float:
    return int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
