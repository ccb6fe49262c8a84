"""gpupipe.toml -> validated, frozen settings; every mistake reported at once, with its key and a hint.

`[stack]`, `[local]` and `[pipelines.<name>]` with a sub-table a concern. Environment variables `GPUPIPE_…` replace
single values (`GPUPIPE_STACK__REGION=eu-west-1`). What a pipeline may have is declared by its kind, found by `kind` in
the registry (`gpupipe.kinds.registry`), and by its task.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gpupipe import weights
from gpupipe.errors import ConfigError
from gpupipe.kinds import registry
from gpupipe.settings import (
    PIPELINE_NAME,
    RULES,
    DisagreementError,
    LocalSettings,
    PipelineSettings,
    StackSettings,
    ended,
    nearest,
)
from gpupipe.tasks import TASKS, TaskOptions, options_class

DEFAULT_FILE = "gpupipe.toml"
ENV_FILE = "GPUPIPE_CONFIG"
ENV_PREFIX = "GPUPIPE_"


class _BelowError(ValueError):
    """Carries the mistakes of nested models, each with its table, up to where all mistakes are told."""

    def __init__(self, errors: list[tuple[str, ValidationError]]) -> None:
        super().__init__("; ".join(str(error) for _, error in errors))
        self.errors = errors


def _pipeline_of_its_kind(data: Any) -> PipelineSettings:
    if isinstance(data, PipelineSettings):
        return data
    if not isinstance(data, Mapping):
        raise ValueError("must be a table with `kind` and `task`")
    kind = registry.find(str(data.get("kind", "")))
    if kind is None:
        raise ValueError(f"{data.get('kind', '')!r} is not a pipeline kind; choose from: {', '.join(registry.names())}")
    errors: list[tuple[str, ValidationError]] = []
    options = _task_options(data, errors)
    try:
        pipeline: PipelineSettings = kind.settings.model_validate({**data, "task_options": options})
    except ValidationError as error:
        errors.append(("", error))
    if errors:
        raise _BelowError(errors)
    return pipeline


def _task_options(data: Mapping[str, Any], errors: list[tuple[str, ValidationError]]) -> TaskOptions:
    """`task_options` by the task's own class; on mistakes notes them and lets the rest be checked too."""
    if data.get("task") not in TASKS:
        return TaskOptions()
    try:
        return options_class(data["task"]).model_validate(data.get("task_options", {}))
    except ValidationError as error:
        errors.append(("task_options", error))
        return TaskOptions()


class Config(BaseSettings):
    """The whole of gpupipe.toml."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    stack: StackSettings
    local: LocalSettings = LocalSettings()
    pipelines: Mapping[
        Annotated[str, Field(pattern=PIPELINE_NAME)],
        Annotated[PipelineSettings, BeforeValidator(_pipeline_of_its_kind)],
    ] = Field(min_length=1)

    @model_validator(mode="after")
    def _pipelines_suit_the_target(self) -> Config:
        found = [
            f"pipelines.{name}.{mistake}"
            for name, pipeline in self.pipelines.items()
            for mistake in pipeline.mistakes_on(self.stack.target, self.stack.region)
        ]
        if found:
            raise DisagreementError(found)
        return self

    def only(self, pipeline: str) -> Config:
        """As if this were the only pipeline. Raises ConfigError where there is none of that name."""
        return self.model_copy(update={"pipelines": dict([self.pipeline(pipeline)])})

    def check_folders(self) -> None:
        """Before an `up`: weights in folders of this machine must be there, where workers run here. Raises ConfigError.

        No mistake of the file itself: a stack whose weights were moved must still be seen, fetched from and deleted.
        """
        found = [
            f"pipelines.{name}.{problem}"
            for name, pipeline in self.pipelines.items()
            if self.stack.target == "local" and (problem := weights.missing_folder(pipeline.model.weights))
        ]
        if found:
            raise ConfigError("\n  ".join(["weights are missing on this machine:", *found]))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file, and nothing else."""
        return env_settings, init_settings

    def pipeline(self, name: str | None) -> tuple[str, PipelineSettings]:
        """The pipeline called `name`, or the only one. Raises ConfigError."""
        if name is None and len(self.pipelines) == 1:
            return next(iter(self.pipelines.items()))
        if name is None:
            raise ConfigError(f"several pipelines: {', '.join(self.pipelines)}.", hint="Name one with --pipeline.")
        if name not in self.pipelines:
            message = ended(f"no pipeline {name!r}{nearest(name, self.pipelines)}")
            raise ConfigError(message, hint="See `gpupipe config show`.")
        return name, self.pipelines[name]


def find_file(explicit: str | None = None) -> Path:
    """The configuration file: `--config`, else $GPUPIPE_CONFIG, else ./gpupipe.toml. Raises ConfigError."""
    path = Path(explicit or os.environ.get(ENV_FILE) or DEFAULT_FILE).expanduser().absolute()
    if not path.is_file():
        raise ConfigError(f"there is no {path}.", hint="Write one with `gpupipe init`, or name one with --config.")
    return path


def load(path: Path) -> Config:
    """Read and validate `path`. Raises ConfigError naming every mistake."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}.") from error
    try:
        return Config(**data)
    except ValidationError as error:
        mistakes = "\n".join(f"  {line}" for line in _mistakes(error, ""))
        raise ConfigError(f"{path.name} has mistakes:\n{mistakes}") from error


def _mistakes(error: ValidationError, prefix: str) -> Iterator[str]:
    for detail in error.errors():
        where = ".".join([prefix, *map(str, detail["loc"])] if prefix else map(str, detail["loc"]))
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, _BelowError):
            for table, below in cause.errors:
                yield from _mistakes(below, ".".join(part for part in (where, table) if part))
        elif isinstance(cause, DisagreementError):
            yield from (f"{where}.{mistake}" if where else mistake for mistake in cause.mistakes)
        else:
            yield _mistake(where.removesuffix(".[key]"), detail)


def _mistake(where: str, detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{_hint_for(where)}"
    if detail["type"] == "missing":
        return f"{where}: is missing"
    if detail["type"] == "tuple_type" and isinstance(detail["input"], str):
        return f"{where}: is a list: write [{json.dumps(detail['input'], ensure_ascii=False)}]"
    rule = _rules().get(detail.get("ctx", {}).get("pattern", ""), detail["msg"].removeprefix("Value error, "))
    return f"{where}: {rule}{_shown(detail['input'])}"


def _rules() -> Mapping[str, str]:
    """By pattern, those of all kinds."""
    return {
        pattern: rule
        for rules in (RULES, *(kind.rules for kind in registry.every()))
        for pattern, rule in rules.items()
    }


def _shown(value: Any) -> str:
    """What was written, cut to a line's length; whole tables are not repeated."""
    text = repr(value)
    return "" if isinstance(value, Mapping) else f" (got {text if len(text) <= 60 else text[:57] + '...'})"


def _hint_for(where: str) -> str:
    table, _, key = where.rpartition(".")
    known = _known_keys(table.split("."))
    return f"; {key!r} is for other kinds of pipelines or tasks" if key in known else nearest(key, known)


def _known_keys(table: list[str]) -> list[str]:
    """Every key of the tables that may stand at `table`: enough to guess what was meant."""
    models: list[type[BaseModel]] = [Config]
    if table[:1] == ["pipelines"]:
        models = [kind.settings for kind in registry.every()]
        table = table[2:]
        if table[:1] in (["task_options"], ["dropins"]):
            models, table = [options_class(task) for task in TASKS], []
    for part in table:
        if not part.isdecimal():  # a number is the place in an array of tables
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields if (model := table_of(field))]
    return sorted({key for model in models for key in model.model_fields})


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that holds a table, or an array of them; None for a value."""
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def schema() -> dict[str, Any]:
    """JSON Schema of gpupipe.toml, with every pipeline kind and task in it."""
    whole = Config.model_json_schema()
    kinds = []
    for kind in registry.every():
        for task in TASKS:
            # Kinds have tables of the same name (`compute`) with other keys.
            one = kind.settings.model_json_schema(ref_template=f"#/$defs/{kind.name}.{{model}}")
            own = {f"{kind.name}.{name}": table for name, table in one.pop("$defs", {}).items()}
            whole.setdefault("$defs", {}).update(own)
            one["properties"]["kind"] = {"const": kind.name}
            one["properties"]["task"] = {"const": task}
            one["properties"]["task_options"] = options_class(task).model_json_schema()
            one["properties"]["dropins"]["additionalProperties"] = options_class(task).model_json_schema()
            one["required"] = [key for key in one.get("required", []) if key != "task_options"]
            kinds.append(one)
    whole["properties"]["pipelines"] = {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {PIPELINE_NAME: {"oneOf": kinds}},
        "additionalProperties": False,
    }
    return whole
