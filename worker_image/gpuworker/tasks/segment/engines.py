"""The engines of one process: made and loaded when first asked for, and chosen where a job leaves the choice."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError
from gpuworker.engines import make_engine
from gpuworker.engines.auto import AUTO, choose
from gpuworker.engines.loaded import Loaded
from gpuworker.engines.options import Options
from gpuworker.models import FolderModels, Models

_ANY = "thing"


class Engines:
    """`table` is that of `gpuworker.engines`, or one with others in their place."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table
        self.device = "cpu"
        self.models: Models = FolderModels(ModelSource())
        """Where weights come from."""
        self._loaded: dict[str, Loaded] = {}
        self._loading = threading.Lock()

    def knows(self, name: str) -> bool:
        return name == AUTO or name in self._table

    def of(self, options: Options) -> Loaded:
        """The engine that the options name. Raises ValueError for an unknown one."""
        name, _ = self._name_and_reason(options)
        if (loaded := self._loaded.get(name)) is not None:  # whatever else is being loaded, for minutes perhaps
            return loaded
        with self._loading:
            if name not in self._loaded:
                engine = make_engine(name, self._table)
                engine.use_models(self.models)
                engine.load(self.device)
                self._loaded[name] = Loaded(engine)
            return self._loaded[name]

    def foreseen(self, options: Options) -> Loaded:
        """What jobs will ask for over these defaults: they bring prompts, without which `auto` is never sam3."""
        return self.of(options if options.prompts else replace(options, prompts=(_ANY,)))

    def expect(self, items: int) -> None:
        """Tell all of them how many items are to come."""
        for loaded in list(self._loaded.values()):
            loaded.engine.expect(items)

    def names(self, options: Options) -> list[str]:
        """Categories of `searched()`. Raises ItemError: prompts may not suit the engine that `auto` chose."""
        name, reason = self._name_and_reason(options)
        try:
            return list(self.of(options).engine.categories(options.searched()))
        except ValueError as error:
            because = f' (engine "auto" chose {name}: {reason})' if reason else ""
            raise ItemError("unsuitable", f"{error}{because}") from error

    def wanted_names(self, options: Options) -> Sequence[str]:
        """Categories that results may have: the same without the negative prompts."""
        try:
            return self.names(options)[: -len(options.negative_prompts) or None]
        except ItemError:  # which every item fails with
            return options.prompts

    def info(self, options: Options) -> Mapping[str, Any]:
        """What the engine says of itself, and why it was chosen where it was."""
        _, reason = self._name_and_reason(options)
        return {**self.of(options).engine.info, **({"chosen": reason} if reason else {})}

    def _name_and_reason(self, options: Options) -> tuple[str, str]:
        if options.engine != AUTO:
            return options.engine, ""
        choice = choose(options, device=self.device, model=self.models.source)
        return choice.engine, choice.reason
