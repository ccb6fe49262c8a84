"""Which pipeline has an endpoint, how that endpoint stands, and what it means where it gives no answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpupipe.aws import Aws, absent_ok, error_code
from gpupipe.config import Config
from gpupipe.errors import ConfigError, InvocationError, NotDeployedError, UsageError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.refusals import Refusal, read_refusal
from gpuworker.contract import error_message

if TYPE_CHECKING:
    from botocore.exceptions import ClientError


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
    known = {name: ctx for name, ctx in every.items() if ctx.kind.variants(ctx.settings)}
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
    name = ctx.aws.stack.endpoint(ctx.pipeline)
    with explained(f"look at endpoint {name}"):
        found = absent_ok(ctx.aws.client("sagemaker").describe_endpoint, EndpointName=name)
    if found is None:
        return None
    variants = found.get("ProductionVariants", ())
    return EndpointState(
        status=str(found["EndpointStatus"]),
        failure=str(found.get("FailureReason", "")),
        current=sum(int(one.get("CurrentInstanceCount") or 0) for one in variants),
        desired=sum(int(one.get("DesiredInstanceCount") or 0) for one in variants),
    )


def no_endpoint(ctx: JobsContext, state: EndpointState | None) -> NotDeployedError | InvocationError:
    """The error for an endpoint that does not answer, by its state."""
    name = ctx.invocation.endpoint
    if state is None:
        return NotDeployedError(f"endpoint {name} is not there.", hint="Run `gpupipe up` first.")
    if state.status == "Failed":
        reason = state.failure.rstrip(". ") or "no reason was given"
        hint = f"`gpupipe logs --pipeline {ctx.pipeline}` shows what its container said; then `gpupipe up`."
        return InvocationError(f"endpoint {name} has failed: {reason}.", hint=hint)
    hint = "It takes a few minutes: run the same command again once `gpupipe status` says InService."
    return InvocationError(f"endpoint {name} is {state.status}.", hint=hint)


@contextmanager
def at_endpoint(ctx: JobsContext, image: str) -> Iterator[None]:
    """Turn what the runtime says inside into errors that name the cause: the model, or the endpoint's state."""
    from botocore.exceptions import ClientError

    with explained(f"invoke endpoint {ctx.invocation.endpoint}"):
        try:
            yield
        except ClientError as error:
            code = error_code(error)
            if code == "ModelError":
                raise refused(ctx, image, _model_error(error)) from error
            if code in ("ValidationError", "ValidationException", "ModelNotReadyException"):
                state = describe(ctx)
                if state is None or state.status not in ("InService", "Updating"):
                    raise no_endpoint(ctx, state) from error
            raise


def _model_error(error: ClientError) -> Refusal:
    answer: Mapping[str, Any] = error.response
    text = answer.get("OriginalMessage") or error_message(error)
    return read_refusal(str(text), int(answer.get("OriginalStatusCode") or 0))


def refused(ctx: JobsContext, image: str, refusal: Refusal) -> InvocationError:
    """The error for an image that the model did not take or could not work on."""
    return InvocationError(f"{image}: {refusal.words}.", hint=refusal.hint(ctx.pipeline))
