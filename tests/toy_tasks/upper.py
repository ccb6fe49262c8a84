"""`upper`: a value's prompt in capitals, as the JSON result `{"text": …}`; `upper-all` takes text files too."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gpuworker.contract import InputKind
from gpuworker.contract.items import ItemError, Source
from gpuworker.tasks.base import Decoded, Encoded, Task


class Upper(Task):
    """A value with `needs`, a path, fails while there is no such file; one with `crash` kills its process."""

    record_name: ClassVar[str] = "result.json"
    takes: ClassVar[frozenset[InputKind]] = frozenset({"value"})

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """There is nothing to load."""

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": "upper", "version": "1", "notes": ""}

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"info": {"engine": "upper"}}

    def decode(self, data: Any, source: Source, options: Mapping[str, Any]) -> Decoded:
        text = data.decode() if isinstance(data, bytes) else self._prompt(data)
        return Decoded(source=source, payload=text, cost_bytes=len(text))

    def _prompt(self, value: dict[str, Any]) -> str:
        if value.get("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "needs" in value and not Path(value["needs"]).exists():
            raise ItemError("unsuitable", f"there is no {value['needs']}")
        # Out of the dict, as tasks do that read options from it: what was asked must be in the results all the same.
        prompt = value.pop("prompt", None)
        if not isinstance(prompt, str):
            raise ItemError("unsuitable", "it has no prompt")
        return prompt

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Any]:
        return [f"{item.payload.upper()}{options.get('ending', '')}" for item in batch]

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        return Encoded(files={}, record={"text": result}, fragment={"text": result}, counts={"texts": 1})


class UpperAll(Upper):
    """Takes files as well."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"object", "value"})
