"""The files of a model: which are taken, and whether those at hand are the ones that are meant."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = ".safetensors"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_TAKEN = (WEIGHTS, ".json")
_TOKENIZER = frozenset({"merges.txt", "vocab.txt", "added_tokens.txt", "tokenizer.model", "spiece.model"})
_VERSION = 1


def is_taken(path: str) -> bool:
    """Weights that cannot run code, configuration and tokenizer, and of those what lies at the top."""
    return bool(_PLAIN.fullmatch(path)) and (path.endswith(_TAKEN) or path in _TOKENIZER)


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file: its name, and what its bytes are."""

    path: str
    size: int
    sha256: str
    """Hex digest; "" where the hub tells none, which is so of small files."""
    git_sha1: str = ""
    """What git calls the file's contents; used where there is no sha256."""

    def is_at(self, folder: Path) -> bool:
        """Is a file of its name and size there? Costs nothing; for what was verified before."""
        found = folder / self.path
        return found.is_file() and found.stat().st_size == self.size

    def verified(self, folder: Path) -> ModelFile | None:
        """This file with its sha256 told, where what lies in `folder` is it; None where it is not."""
        if not self.is_at(folder):
            return None
        with (folder / self.path).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self.sha256 and sha256 != self.sha256:
            return None
        if not self.sha256 and self.git_sha1 != _git_sha1(folder / self.path):
            return None
        return ModelFile(path=self.path, size=self.size, sha256=sha256)


def _git_sha1(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def to_manifest(files: Sequence[ModelFile]) -> bytes:
    """The document that says which files a model consists of; equal files give equal bytes."""
    entries = [{"path": one.path, "sha256": one.sha256, "size": one.size} for one in files]
    entries.sort(key=lambda entry: str(entry["path"]))
    return json.dumps({"version": _VERSION, "files": entries}, separators=(",", ":"), sort_keys=True).encode()


def from_manifest(data: bytes) -> tuple[ModelFile, ...] | None:
    """The files that a manifest names; None where it is none of ours, or names what would not be taken."""
    try:
        document = json.loads(data)
        files = tuple(ModelFile(**entry) for entry in document["files"])
        usable = all(is_taken(one.path) and one.sha256 and one.size >= 0 for one in files)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return files if usable and files and document.get("version") == _VERSION else None


def total_bytes(files: Iterable[ModelFile]) -> int:
    return sum(one.size for one in files)
