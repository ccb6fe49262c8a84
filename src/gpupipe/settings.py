"""The tables of gpupipe.toml that are the same for every pipeline kind: frozen, and checked as they are read.

Each kind adds its own in `gpupipe.kinds`; `gpupipe.config` joins them to the whole file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpupipe import weights
from gpupipe.dropins import OptionsByProject
from gpupipe.tasks import TASKS, TaskOptions

# Together with the longest part of a name these stay below IAM's 64 characters for a role.
STACK_NAME = r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$"
ENVIRONMENT_NAME = r"^[a-z][a-z0-9]{0,9}$"
PIPELINE_NAME = r"^[a-z][a-z0-9-]{0,14}[a-z0-9]$"
REGION = r"^[a-z]{2,4}(-[a-z]+)+-\d$"

STACK_NAME_RULE = "must be 2 to 20 lower-case letters, digits and hyphens, starting with a letter"
RULES: Mapping[str, str] = {
    STACK_NAME: STACK_NAME_RULE,
    ENVIRONMENT_NAME: "must be 1 to 10 lower-case letters and digits, starting with a letter",
    PIPELINE_NAME: "a pipeline's name is 2 to 16 lower-case letters, digits and hyphens, starting with a letter",
    REGION: 'AWS writes regions as in "us-east-1"',
}
"""What is said of a value that does not match its pattern."""


class Frozen(BaseModel):
    """A table of gpupipe.toml: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DisagreementError(ValueError):
    """Settings that cannot work together; `mistakes` each begin with their key below the table that raises it."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class StackSettings(Frozen):
    """`[stack]`: what the stack is called and where it runs."""

    name: str = Field(
        pattern=STACK_NAME, description="Name of the stack; part of the name of everything it makes in AWS."
    )
    environment: str = Field(
        "dev",
        pattern=ENVIRONMENT_NAME,
        description="Which of the stacks of this name: dev, prod, …; part of the name of everything it makes in AWS.",
    )
    region: str = Field("us-east-1", pattern=REGION, description="AWS region that the stack is made and runs in.")
    target: Literal["aws", "local"] = Field(
        "local", description='Where the stack runs: "local": emulated on this machine; "aws": in the AWS account.'
    )
    tags: Mapping[str, str] = Field(
        default_factory=dict, description="Tags for everything that the stack makes in AWS, beside gpupipe's own."
    )

    @property
    def id(self) -> str:
        return f"{self.name}-{self.environment}"


class LocalSettings(Frozen):
    """`[local]`: the local target, which plays AWS on this machine; without effect on target "aws"."""

    worker_python: str = Field(
        "", description="Python interpreter that runs the worker; empty: the one that gpupipe runs in."
    )
    guard_interval_s: float = Field(
        60.0, gt=0, description="Seconds between two runs of the guard, the function that starts machines."
    )
    interrupt_notice_s: float = Field(
        120.0,
        gt=0,
        description="Seconds from the notice to the loss of a spot machine when an interruption is rehearsed.",
    )


class Retention(Frozen):
    """`retention`: after how many days S3 and CloudWatch delete files and logs by themselves."""

    inputs_days: int = Field(
        0, ge=0, description="Days that inputs stay in the bucket, under incoming/ and inputs/; 0: for ever."
    )
    processed_days: int = Field(
        0, ge=0, description="Days that results and jobs stay in the bucket, under processed/ and jobs/; 0: for ever."
    )
    logs_days: Literal[0, 1, 3, 5, 7, 14, 30, 60, 90, 180, 365] = Field(
        30, description="Days that logs stay, in CloudWatch's log groups and in the bucket under logs/; 0: for ever."
    )
    old_versions_days: int = Field(
        30, ge=1, description="Days that the bucket holds versions of objects that were replaced or deleted."
    )


class Network(Frozen):
    """`network`: where in the account's network machines start."""

    vpc_id: str = Field(
        "",
        pattern=r"^(vpc-[0-9a-f]+)?$",
        description="The VPC that machines start in; empty: the account's default VPC.",
    )
    subnet_ids: tuple[str, ...] = Field(
        (), description="Subnets of vpc_id that machines start in, best one in each availability zone."
    )


class Budget(Frozen):
    """`budget`: what a pipeline may cost."""

    monthly_usd: float = Field(
        0.0,
        ge=0,
        description="US dollars that machines may cost in a calendar month; then none is started. 0: no limit.",
    )


class ModelSettings(Frozen):
    """`model`: weights that an engine does not carry; only `engine = "sam3"` (or "auto") needs them."""

    weights: str = Field(
        "",
        description='Weights of engine "sam3": "owner/name" on a hub, or the whole path of a folder on the machine '
        "that "
        "runs the worker; empty: none.",
    )
    revision: str = Field(
        "", description="Commit of the hub's repository that weights are fetched from, 40 hexadecimal digits."
    )
    token_secret: str = Field(
        "",
        description='Name of the secret with the hub\'s token, such as "hf_token"; `gpupipe secrets set` gives it '
        "its value.",
    )
    on_cpu: bool = Field(
        False, description='Whether engine "auto" may run sam3 without a GPU, which takes minutes an image.'
    )

    @model_validator(mode="after")
    def _source_is_whole(self) -> ModelSettings:
        if found := list(weights.mistakes(self.weights, self.revision, self.token_secret)):
            raise DisagreementError(found)
        return self


class PipelineSettings(Frozen):
    """What every `[pipelines.<name>]` has; each kind's own file adds to it."""

    kind: str = Field(description="Kind of the pipeline, which says what it is made of.")
    task: str = Field(description=f"What the pipeline does to each item: {', '.join(sorted(TASKS))}.")
    task_options: TaskOptions = Field(description="Options of the pipeline's task; a job may replace single ones.")
    item_timeout_s: float = Field(
        300.0,
        ge=1,
        description="Seconds that an item may take; an image that is cut into tiles has them for each tile.",
    )
    model: ModelSettings = ModelSettings()
    dropins: OptionsByProject = Field(
        default_factory=dict,
        description="Options that replace those of task_options for drop-ins, by project; a name may be a pattern, "
        "where * "
        "stands for any text and ? for one character, and the longest one that matches counts.",
    )
    retention: Retention = Retention()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _task_is_known(self) -> PipelineSettings:
        if self.task not in TASKS:
            raise ValueError(f"task: unknown task {self.task!r}{nearest(self.task, TASKS)}")
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


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that follows a word that is not known: the known one that it may stand for, or all."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}" if known else ""


def ended(text: str) -> str:
    """A sentence with its full stop, unless it ends with a question."""
    return text if text.endswith("?") else f"{text}."
