"""What ministack's note of its buckets may say when somebody else has written it: names, versions and tags, no more.

The rest of it makes ministack act: replication to a bucket called `/home/me` writes objects there, notifications call
functions. What a bucket needs of that, `up` sets again from the configuration.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpupipe.local.documents import write_json
from gpupipe.local.state import remove
from gpupipe.plain_files import read_plain

NOTE_BYTES = 64 * 2**20
_FORMAT = 2
_NAME = r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"


def rewrite(file: Path, account_id: str) -> None:
    """Reduce the note, a plain file, to what it may say of this account's buckets; one that makes no sense goes."""
    try:
        payload = json.loads(read_plain(file, limit_bytes=NOTE_BYTES))["payload"]
        kept = {name: _scoped(payload.get(name), account_id, keep) for name, keep in _KEPT.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        remove(file)
        return
    write_json(file, {"__ministack_format__": _FORMAT, "payload": kept})


def _scoped(section: Any, account_id: str, keep: Callable[[Any], Any]) -> dict[str, Any]:
    """A section by bucket, in ministack's form: `<account>\\0'<name>'` -> what is kept of its value, if anything is."""
    data = section["data"] if section else {}
    ours = re.compile(f"{account_id}\0'{_NAME}'")
    found = {key: keep(value) for key, value in data.items() if ours.fullmatch(key)}
    return {"__scoped__": True, "data": {key: value for key, value in found.items() if value}}


def _about(value: Any) -> dict[str, str]:
    return {name: str(value[name]) for name in ("created", "region") if isinstance(value[name], str)}


def _versioning(value: Any) -> str:
    return value if value in ("Enabled", "Suspended") else ""


def _tags(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()}


_KEPT: Mapping[str, Callable[[Any], Any]] = {
    "buckets_meta": _about,
    "bucket_versioning": _versioning,
    "bucket_tags": _tags,
}
