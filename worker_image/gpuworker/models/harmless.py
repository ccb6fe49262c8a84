"""Whether a folder of weights is data and nothing else: no pickle, nobody's code, no file of another place.

What loads weights follows what their JSON files say: an index names the files that hold them, and what does not end in
`.safetensors` is unpickled; an adapter is loaded besides; attention may be code of a hub's, `auto_map` code of theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuworker.models import ModelError
from gpuworker.models.files import WEIGHTS, is_taken

CODE = frozenset({"auto_map", "trust_remote_code", "custom_pipelines"})
"""Keys that name Python to be run."""
IMPLEMENTATION = "_implementation"
"""How keys end that name attention and the like; a value with a `/` is code of a hub's."""
ADAPTER = "adapter_config.json"


def require_harmless(folder: Path) -> None:
    """Raises ModelError, which names the file and what is wrong with it."""
    if (folder / ADAPTER).exists():
        raise ModelError(f"{folder.name} has an adapter ({ADAPTER}), which is not used: merge it, or remove the file")
    for path in sorted(folder.glob("*.json")):
        for mistake in _mistakes(path):
            raise ModelError(f"{path.name} of the weights in {folder.name} {mistake}; other weights are needed")


def _mistakes(path: Path) -> Iterator[str]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # who needs the file says so
    if path.name.endswith(".index.json"):
        yield from _of_index(document)
    elif path.name.endswith("config.json"):
        yield from _of_config(document)


def _of_index(document: Any) -> Iterator[str]:
    """The files that an index names, each once."""
    names = document.get("weight_map") if isinstance(document, dict) else None
    for name in sorted({str(name) for name in names.values()} if isinstance(names, dict) else ()):
        if not (is_taken(name) and name.endswith(WEIGHTS)):
            yield f"names {name!r}, and only *{WEIGHTS} of the same folder are loaded: others may run code"


def _of_config(document: Any) -> Iterator[str]:
    """Values of any depth; its keys tell."""
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    for name in document if isinstance(document, dict) else ():
        value = document[name]
        if name in CODE and value:
            yield f"wants code to be run ({name})"
        if str(name).endswith(IMPLEMENTATION) and "/" in str(value):
            yield f"wants code of a hub to be run ({name}: {value!r})"
    for one in inner:
        yield from _of_config(one)
