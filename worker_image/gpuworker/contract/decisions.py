"""Pure decisions that several places share: what jobs and outputs are called, and how large shards are."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence

from gpuworker.contract.documents import MAX_SHARD_ITEMS

TARGET_SHARD_S = 90.0
"""A shard is sized to about this many seconds of work."""
PROJECT_NAME_MAX = 64
PROJECT_NAME = rf"(?!\.+$)[A-Za-z0-9._-]{{1,{PROJECT_NAME_MAX}}}"
"""Safe in a key, a job id and a folder name."""
MAX_OUTPUT_BYTES = 512
"""Of an output name, so that the artefacts' keys stay below S3's 1,024 bytes whatever project, job and file name."""


def is_project_name(name: str) -> bool:
    """May a project be called so?"""
    return re.fullmatch(PROJECT_NAME, name) is not None


def make_job_id(project: str, created_at: float) -> str:
    """`20261121-113052-field7-1f3a`: sorts by time (UTC)."""
    return f"{job_time(created_at)}-{project}-{secrets.token_hex(2)}"


def job_time(at: float) -> str:
    """How the ids of jobs of that moment begin."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))


def choose_outputs(paths: Sequence[str]) -> list[str]:
    """Output name of each path below a project: without extension, or whole where two would share it.

    Deterministic and collision-free for distinct paths: `a.jpg`, `a.png` -> `a.jpg`, `a.png`; a file called `a`
    keeps that name even beside `a.jpg`, which then stays whole.
    """
    stems = [_stem(path) for path in paths]
    whole = {*paths}
    shared = Counter(_stem(path) for path in whole)
    return [
        _cut(path if shared[stem] > 1 or (stem in whole and stem != path) else stem, path)
        for path, stem in zip(paths, stems, strict=True)
    ]


def output_candidates(path: str) -> tuple[str, str, str]:
    """Output names for a path whose neighbours are not known yet, in order of preference; the last is its alone."""
    return _cut(_stem(path), path), _cut(path, path), _cut(f"{path}~{_digest(path)}", path)


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return folder + slash + (stem if dot and stem else name)


def _cut(output: str, path: str) -> str:
    """`output`, or where it is too long its beginning and a digest of the path that it stands for."""
    encoded = output.encode()
    if len(encoded) <= MAX_OUTPUT_BYTES:
        return output
    end = f"~{_digest(path)}"
    return encoded[: MAX_OUTPUT_BYTES - len(end)].decode(errors="ignore") + end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shard_size(items: int, *, seconds_per_item: float, max_instances: int) -> int:
    """Items a shard: about 90 s of work, and at least four shards a machine where the job is small."""
    by_time = int(TARGET_SHARD_S / max(seconds_per_item, 1e-3))
    by_share = -(-items // (4 * max(1, max_instances))) if max_instances > 1 else by_time
    return max(1, min(MAX_SHARD_ITEMS, by_time, by_share))
