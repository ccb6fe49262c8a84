"""What the shell offers at the Tab key: names of jobs, projects, pipelines, secrets, and whatever else a command takes.

A person who presses Tab has asked for nothing yet. So nothing is started or changed, nothing is said of what goes
wrong, and what is not known within `WITHIN_S` is left out: then there are fewer completions, or none.
"""

# Annotations are no strings here: typer evaluates those of every completion at every start, which takes ten times as
# long with strings (15 ms for all of them).
import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from gpupipe.aws import Aws
    from gpupipe.config import Config
    from gpuworker.ledger import JobRecord

WITHIN_S = 1.5
"""Beside it the process takes 0.15 s of one x86-64 core, so that all of it stays below two seconds. The configuration
takes 0.25 s of it, boto3 with a client of DynamoDB 0.2 s; the rest is for the network."""
WITHIN = "GPUPIPE_COMPLETE_WITHIN_S"
"""Environment variable with other seconds, for a slow machine or network."""
WITHIN_MAX_S = 600.0
JOBS_OFFERED = 50
"""A screenful; more of the name finds the older ones."""
JOBS_SEARCHED = 1_000
"""Of which the projects are known: one page of the ledger."""

Word = tuple[str, str]
"""A completion, and what some shells show beside it."""


def jobs(ctx: typer.Context, incomplete: str) -> list[Word]:
    """Ids of jobs, the newest first."""
    return _in_time(_jobs(ctx, incomplete, lambda job: True))


def open_jobs(ctx: typer.Context, incomplete: str) -> list[Word]:
    """Ids of jobs that are not over."""
    return _in_time(_jobs(ctx, incomplete, lambda job: not job.is_over))


def projects(ctx: typer.Context, incomplete: str) -> list[Word]:
    """Names of the projects that jobs were submitted for, that of the newest job first."""
    return _in_time(_projects(ctx, incomplete))


def pipelines(ctx: typer.Context) -> list[Word]:
    """Names of the configured pipelines."""
    return _in_time(_pipelines(ctx))


def endpoints(ctx: typer.Context) -> list[Word]:
    """Names of the configured pipelines that have an endpoint."""
    return _in_time(_pipelines(ctx, that_answer=True))


def outputs(ctx: typer.Context) -> list[Word]:
    """What is known of the configured pipelines: `segment.bucket`."""
    return _in_time(_outputs(ctx))


def variants(ctx: typer.Context) -> list[Word]:
    """Names of the variants of all endpoints, or of the one that `--pipeline` names."""
    return _in_time(_variants(ctx))


def secrets(ctx: typer.Context) -> list[Word]:
    """Names of secrets: those of the configuration, then those of the account."""
    return _in_time(_secrets(ctx))


def data(ctx: typer.Context) -> list[Word]:
    """AWS names of the stack's buckets, tables and secrets, which are only deleted by name."""
    return _in_time(_data(ctx))


def machines(ctx: typer.Context) -> list[Word]:
    """Ids of the local target's machines that run."""
    return _in_time(_machines(ctx))


def kinds(incomplete: str) -> list[str]:
    """Kinds of pipelines."""
    from gpupipe.kinds import registry

    return list(registry.names())


def targets(incomplete: str) -> list[str]:
    """Where a stack may be."""
    return ["local", "aws"]


def _in_time(words: Iterable[Word]) -> list[Word]:
    """What `words` yields until it ends, fails, or the time is up."""
    found: dict[str, str] = {}

    def collect() -> None:
        with contextlib.suppress(Exception, SystemExit):
            for word, about in words:
                found.setdefault(word, about)

    from gpupipe.threads import start_daemon

    start_daemon(collect, name="complete").join(_within_s())
    return list(found.copy().items())


def _within_s() -> float:
    try:
        seconds = float(os.environ.get(WITHIN, WITHIN_S))
    except ValueError:
        return WITHIN_S
    return seconds if 0 <= seconds <= WITHIN_MAX_S else WITHIN_S  # nor for ever, nor "nan"


# --- where it is known ---


def _jobs(ctx: typer.Context, beginning: str, is_meant: "Callable[[JobRecord], bool]") -> Iterator[Word]:
    from gpupipe.cli.screen import plural
    from gpupipe.tasks import inputs_of

    records = (one for one in _records(ctx) if one.job.startswith(beginning) and is_meant(one))
    for record in itertools.islice(records, JOBS_OFFERED):
        yield record.job, f"{record.state.value}, {plural(record.items, *inputs_of(record.task))}"


def _projects(ctx: typer.Context, beginning: str) -> Iterator[Word]:
    for record in itertools.islice(_records(ctx, of_any_project=True), JOBS_SEARCHED):
        if record.project.startswith(beginning):
            yield record.project, f"newest job {record.job}"


def _records(ctx: typer.Context, *, of_any_project: bool = False) -> "Iterator[JobRecord]":
    """Jobs of the ledger, narrowed by the options that are typed already."""
    from gpuworker.ledger import Ledger

    path, config = _configuration(ctx)
    aws = _account(path, config)
    project = None if of_any_project else ctx.params.get("project")
    for record in Ledger(aws.client("dynamodb"), aws.stack.table).jobs(project=project):
        if record.pipeline in config.pipelines and ctx.params.get("pipeline") in (None, record.pipeline):
            yield record


def _pipelines(ctx: typer.Context, *, that_answer: bool = False) -> Iterator[Word]:
    from gpupipe.kinds import registry

    for name, settings in _configuration(ctx)[1].pipelines.items():
        if not that_answer or registry.of(settings).variants(settings):
            yield name, f"{settings.kind}, {settings.task}"


def _outputs(ctx: typer.Context) -> Iterator[Word]:
    from gpupipe.desired import outputs

    path, config = _configuration(ctx)
    for pipeline, values in outputs(config, _account(path, config, with_number=True)).items():
        yield from ((f"{pipeline}.{name}", value) for name, value in values.items())


def _variants(ctx: typer.Context) -> Iterator[Word]:
    from gpupipe.kinds import registry

    for name, settings in _configuration(ctx)[1].pipelines.items():
        if ctx.params.get("pipeline") in (None, name):
            yield from ((variant, f"of {name}") for variant in registry.of(settings).variants(settings))


def _secrets(ctx: typer.Context) -> Iterator[Word]:
    path, config = _configuration(ctx)
    for settings in config.pipelines.values():
        if settings.model.token_secret:
            yield settings.model.token_secret, "named by the configuration"
    from gpupipe.resources.secret import secrets_of

    yield from ((secret.short_name, "in the account") for secret, _ in secrets_of(_account(path, config)))


def _data(ctx: typer.Context) -> Iterator[Word]:
    from gpupipe.desired import desired
    from gpupipe.plan import search

    path, config = _configuration(ctx)
    aws = _account(path, config, with_number=True)
    named = [one for one in desired(config, aws) if one.holds_data]
    yield from ((one.aws_name, one.kind) for one in named)
    kinds = {one.kind for one in named} | {"secret"}
    yield from ((one.name, one.kind) for one in search(aws, kinds))


def _machines(ctx: typer.Context) -> Iterator[Word]:
    from gpupipe.local.runners.ec2.host import running_machines
    from gpupipe.local.state import Folder

    path, config = _configuration(ctx)
    yield from ((disk.name, "running") for disk in running_machines(Folder.of(path, config.stack.id)))


def _configuration(ctx: typer.Context) -> "tuple[Path, Config]":
    """Raises ConfigError."""
    from gpupipe.config import find_file, load

    path = find_file(ctx.find_root().params.get("config"))
    return path, load(path)


def _account(path: "Path", config: "Config", *, with_number: bool = False) -> "Aws":
    """The target, as it is: a local one that does not run is not started. Raises NotDeployedError.

    Without its number, which buckets' names hold, an account on AWS is not asked who is calling.
    """
    from gpupipe.aws import Aws
    from gpupipe.names import Stack

    stack = config.stack
    if stack.target == "local":
        from gpupipe.local import control

        return control.connect(control.running(path, stack_id=stack.id), name=stack.name, environment=stack.environment)
    if with_number:
        from gpupipe.provision import connect

        return connect(config)
    return Aws(stack=Stack(name=stack.name, environment=stack.environment, account="", region=stack.region))
