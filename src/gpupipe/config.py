"""gpupipe.toml -> validated, frozen settings; every mistake reported at once, with its key and a hint.

`[stack]`, `[local]` and `[pipelines.<name>]` with a sub-table a concern. Environment variables `GPUPIPE_…` replace
single values (`GPUPIPE_STACK__REGION=eu-west-1`). What a pipeline kind adds is declared by its own file in
`gpupipe.pipelines`, found by `kind` through a table, so that a new kind needs no change here but a line.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gpupipe import weights
from gpupipe.dropins import OptionsByProject
from gpupipe.errors import ConfigError
from gpupipe.tasks import TASKS, TaskOptions, options_class

DEFAULT_FILE = "gpupipe.toml"
ENV_FILE = "GPUPIPE_CONFIG"
ENV_PREFIX = "GPUPIPE_"

KINDS: Mapping[str, str] = {
    "endpoint": "gpupipe.pipelines.endpoint:EndpointPipeline",
    "queue": "gpupipe.pipelines.queue:QueuePipeline",
}
"""Pipeline kind -> "module:Class". A new kind is one file and one line here."""

# Together with the longest part of a name these stay below IAM's 64 characters for a role.
STACK_NAME = r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$"
ENVIRONMENT_NAME = r"^[a-z][a-z0-9]{0,9}$"
PIPELINE_NAME = r"^[a-z][a-z0-9-]{0,14}[a-z0-9]$"
VARIANT_NAME = r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$"
REGION = r"^[a-z]{2,4}(-[a-z]+)+-\d$"
EC2_TYPE = r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"
SAGEMAKER_TYPE = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"


class Frozen(BaseModel):
    """A table of gpupipe.toml: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DisagreementError(ValueError):
    """Settings that cannot work together; `mistakes` each begin with their key below the table that raises it."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class StackSettings(Frozen):
    """`[stack]`: whose it is and where it runs."""

    name: str = Field(pattern=STACK_NAME, description="Name of the stack; part of every AWS name.")
    environment: str = Field("dev", pattern=ENVIRONMENT_NAME, description="dev, prod, …; part of every AWS name.")
    region: str = Field("us-east-1", pattern=REGION, description="AWS region.")
    target: Literal["aws", "local"] = Field("local", description='"local": emulated on this machine; "aws": real.')
    tags: Mapping[str, str] = Field(default_factory=dict, description="Extra tags for everything that is made.")

    @property
    def id(self) -> str:
        return f"{self.name}-{self.environment}"


class LocalSettings(Frozen):
    """`[local]`: the embedded target."""

    worker_python: str = Field("", description="Python that runs the worker; empty: the one gpupipe runs in.")
    guard_interval_s: float = Field(60.0, gt=0, description="Seconds between two looks of the guard.")
    interrupt_notice_s: float = Field(120.0, gt=0, description="Seconds between a rehearsed spot notice and the loss.")


class Retention(Frozen):
    """`retention`: days until S3 and CloudWatch delete by themselves; 0 keeps for ever."""

    inputs_days: int = Field(0, ge=0, description="incoming/ and inputs/")
    processed_days: int = Field(0, ge=0, description="processed/ and jobs/")
    logs_days: Literal[0, 1, 3, 5, 7, 14, 30, 60, 90, 180, 365] = Field(30, description="logs/ and log groups")
    old_versions_days: int = Field(30, ge=1, description="Versions that were replaced or deleted.")


class Network(Frozen):
    """`network`: empty uses the account's default VPC."""

    vpc_id: str = Field("", pattern=r"^(vpc-[0-9a-f]+)?$", description="The VPC that machines start in.")
    subnet_ids: tuple[str, ...] = Field((), description="Its subnets, best one in each zone.")


class Budget(Frozen):
    """`budget`: 0 means none."""

    monthly_usd: float = Field(0.0, ge=0, description="The guard starts nothing once this month has cost so much.")


class ModelSettings(Frozen):
    """`model`: weights that an engine does not carry; only `engine = "sam3"` (or "auto") needs them."""

    weights: str = Field(
        "", description='A hub\'s "owner/name", or a folder with its whole path on the machine that runs the worker.'
    )
    revision: str = Field("", description="Of a hub's weights: the commit, 40 hexadecimal digits.")
    token_secret: str = Field("", description='Secret with the hub\'s token, set by `gpupipe secrets set`: "hf_token".')
    on_cpu: bool = Field(False, description='Whether engine "auto" may run them without a GPU, at minutes an image.')

    @model_validator(mode="after")
    def _source_is_whole(self) -> ModelSettings:
        if found := list(weights.mistakes(self.weights, self.revision, self.token_secret)):
            raise DisagreementError(found)
        return self


class PipelineSettings(Frozen):
    """What every `[pipelines.<name>]` has; each kind's own file adds to it."""

    kind: str = Field(description=f"Shape of the pipeline: {', '.join(sorted(KINDS))}.")
    task: str = Field(description=f"What is done to an item: {', '.join(sorted(TASKS))}.")
    task_options: TaskOptions = Field(description="Options of the task; a job may replace single ones.")
    item_timeout_s: float = Field(
        300.0, ge=1, description="Seconds that an image may take; one that is cut into tiles has them for each tile."
    )
    model: ModelSettings = ModelSettings()
    dropins: OptionsByProject = Field(
        default_factory=dict,
        description="Over task_options, for drop-ins of the project called so, or of those that the longest pattern "
        "matches: * stands for any text, ? for one character.",
    )
    retention: Retention = Retention()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _task_is_known(self) -> PipelineSettings:
        if self.task not in TASKS:
            raise ValueError(f"task: unknown task {self.task!r}{_nearest(self.task, TASKS)}")
        if why := self.lacks_weights(self.task_options) or self._has_weights_in_vain():
            raise DisagreementError([why])
        return self

    def _has_weights_in_vain(self) -> str:
        """Why the task has nothing to do with weights; "" where it has, or none are named."""
        mistaken = type(self.task_options) is TaskOptions  # which stands for options with mistakes, told elsewhere
        takes = mistaken or "engine" in type(self.task_options).model_fields
        return "" if takes or not self.model.weights else f"model.weights: task {self.task} loads no weights"

    def lacks_weights(self, options: TaskOptions) -> str:
        """Why the task cannot be done with these options for want of weights; "" where it can."""
        return "" if self.model.weights else weights.lacking(options)

    def mistakes_on(self, target: str, region: str) -> Iterator[str]:
        """What cannot work on that target, each with its key; what works on none is refused by the table itself."""
        return iter(())


class _BelowError(ValueError):
    """Carries the mistakes of nested models, each with its table, up to where all mistakes are told."""

    def __init__(self, errors: list[tuple[str, ValidationError]]) -> None:
        super().__init__("; ".join(str(error) for _, error in errors))
        self.errors = errors


def pipeline_class(kind: str) -> type[PipelineSettings]:
    """The settings of pipelines of `kind`. Raises KeyError for an unknown one."""
    module, _, attribute = KINDS[kind].partition(":")
    found: type[PipelineSettings] = getattr(importlib.import_module(module), attribute)
    return found


def _pipeline_of_its_kind(data: Any) -> PipelineSettings:
    if isinstance(data, PipelineSettings):
        return data
    if not isinstance(data, Mapping):
        raise ValueError("must be a table with `kind` and `task`")
    kind = str(data.get("kind", ""))
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a pipeline kind; choose from: {', '.join(sorted(KINDS))}")
    errors: list[tuple[str, ValidationError]] = []
    options = _task_options(data, errors)
    try:
        pipeline = pipeline_class(kind).model_validate({**data, "task_options": options})
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
            raise ConfigError(
                f"no pipeline {name!r}{_nearest(name, self.pipelines)}.", hint="See `gpupipe config show`."
            )
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
    rule = _RULES.get(detail.get("ctx", {}).get("pattern", ""), detail["msg"].removeprefix("Value error, "))
    return f"{where}: {rule}{_shown(detail['input'])}"


STACK_NAME_RULE = "must be 2 to 20 lower-case letters, digits and hyphens, starting with a letter"
_RULES = {
    STACK_NAME: STACK_NAME_RULE,
    ENVIRONMENT_NAME: "must be 1 to 10 lower-case letters and digits, starting with a letter",
    PIPELINE_NAME: "a pipeline's name is 2 to 16 lower-case letters, digits and hyphens, starting with a letter",
    REGION: 'AWS writes regions as in "us-east-1"',
    EC2_TYPE: 'the machines of a queue are EC2\'s, whose types are written as in "g4dn.xlarge"',
    SAGEMAKER_TYPE: 'the instances of an endpoint are SageMaker\'s, whose types begin with ml., as in "ml.g4dn.xlarge"',
    VARIANT_NAME: "a variant's name is 1 to 16 lower-case letters, digits and hyphens, starting with a letter",
}


def _shown(value: Any) -> str:
    """What was written, cut to a line's length; whole tables are not repeated."""
    text = repr(value)
    return "" if isinstance(value, Mapping) else f" (got {text if len(text) <= 60 else text[:57] + '...'})"


def _hint_for(where: str) -> str:
    table, _, key = where.rpartition(".")
    known = _known_keys(table.split("."))
    return f"; {key!r} is for other kinds of pipelines or tasks" if key in known else _nearest(key, known)


def _known_keys(table: list[str]) -> list[str]:
    """Every key of the tables that may stand at `table`: enough to guess what was meant."""
    models: list[type[BaseModel]] = [Config]
    if table[:1] == ["pipelines"]:
        models = [pipeline_class(kind) for kind in KINDS]
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


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}" if known else ""


def schema() -> dict[str, Any]:
    """JSON Schema of gpupipe.toml, with every pipeline kind and task in it."""
    whole = Config.model_json_schema()
    kinds = []
    for kind in KINDS:
        for task in TASKS:
            # Kinds have tables of the same name (`compute`) with other keys.
            one = pipeline_class(kind).model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")
            own = {f"{kind}.{name}": table for name, table in one.pop("$defs", {}).items()}
            whole.setdefault("$defs", {}).update(own)
            one["properties"]["kind"] = {"const": kind}
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
