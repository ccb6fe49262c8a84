"""Which pipeline has an endpoint, and how that endpoint stands."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.aws import Aws, error_code
from gpupipe.config import Config
from gpupipe.errors import ConfigError, InvocationError, NotDeployedError, UsageError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext


@dataclass(frozen=True, kw_only=True)
class EndpointState:
    """An endpoint as SageMaker describes it."""

    status: str
    """InService, Creating, Updating, Failed, …"""
    failure: str = ""
    current: int = 0
    """Instances that serve."""
    desired: int = 0


def choose_endpoint(aws: Aws, config: Config, pipeline: str | None) -> JobsContext:
    """The endpoint pipeline called so, or the only one. Raises UsageError for a pipeline of machines, ConfigError."""
    every = {name: JobsContext(aws=aws, config=config, pipeline=name) for name in config.pipelines}
    known = {name: ctx for name, ctx in every.items() if ctx.mode}
    if pipeline is None and len(known) == 1:
        return next(iter(known.values()))
    if pipeline is None and known:
        raise ConfigError(f"several endpoints: {', '.join(known)}.", hint="Name one with --pipeline.")
    name = pipeline or next(iter(every))
    config.pipeline(name)
    if name not in known:
        hint = f"`gpupipe run IMAGE --project NAME --pipeline {name}` processes it as a job"
        others = f"; `--pipeline {next(iter(known))}` has one" if known else ""
        kind = config.pipelines[name].kind
        raise UsageError(f"pipeline {name} is of kind {kind} and has no endpoint to ask.", hint=f"{hint}{others}.")
    return known[name]


def describe(ctx: JobsContext) -> EndpointState | None:
    """The endpoint as it is now; None where there is none."""
    from botocore.exceptions import ClientError

    name = ctx.aws.stack.endpoint(ctx.pipeline)
    with explained(f"look at endpoint {name}"):
        try:
            found = ctx.aws.client("sagemaker").describe_endpoint(EndpointName=name)
        except ClientError as error:
            # SageMaker has no code of its own for what is not there.
            if error_code(error) in ("ValidationException", "ResourceNotFound") and "ould not find" in str(error):
                return None
            raise
    variants = found.get("ProductionVariants", ())
    return EndpointState(
        status=str(found["EndpointStatus"]),
        failure=str(found.get("FailureReason", "")),
        current=sum(int(one.get("CurrentInstanceCount") or 0) for one in variants),
        desired=sum(int(one.get("DesiredInstanceCount") or 0) for one in variants),
    )


def no_endpoint(ctx: JobsContext, state: EndpointState | None) -> NotDeployedError | InvocationError:
    """The error for an endpoint that does not answer, by its state."""
    name = ctx.aws.stack.endpoint(ctx.pipeline)
    if state is None:
        return NotDeployedError(f"endpoint {name} is not there.", hint="Run `gpupipe up` first.")
    if state.status == "Failed":
        reason = state.failure.rstrip(". ") or "no reason was given"
        hint = f"`gpupipe logs --pipeline {ctx.pipeline}` shows what its container said; then `gpupipe up`."
        return InvocationError(f"endpoint {name} has failed: {reason}.", hint=hint)
    hint = "It takes a few minutes: run the same command again once `gpupipe status` says InService."
    return InvocationError(f"endpoint {name} is {state.status}.", hint=hint)
