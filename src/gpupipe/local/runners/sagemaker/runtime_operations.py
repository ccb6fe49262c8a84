"""What sagemaker-runtime does: InvokeEndpoint asks a container now, InvokeEndpointAsync puts a request in the queue."""

import json
import re
import time
import uuid
from collections.abc import Mapping

from gpupipe.local.emulators import Account
from gpupipe.local.runners.sagemaker.async_requests import AsyncRequest, AsyncRequests
from gpupipe.local.runners.sagemaker.container import GROUP_PREFIX, stream_name
from gpupipe.local.runners.sagemaker.invocations import (
    ATTRIBUTES,
    INFERENCE_ID,
    Asked,
    InvocationError,
    NotReachedError,
    failure_sentence,
)
from gpupipe.local.runners.sagemaker.invocations import ask as ask_container
from gpupipe.local.runners.sagemaker.routing import AsyncSettings, Directory, EndpointInstance, Hosted
from gpupipe.local.runners.sagemaker.runtime_server import Answer, Call, Operation, refusal, service_unavailable

INLINE_BODY_MAX_BYTES = 128_000
TTL_DEFAULT_S, TTL_MIN_S, TTL_MAX_S = 21_600, 60, 21_600
TIMEOUT_DEFAULT_S, TIMEOUT_MIN_S, TIMEOUT_MAX_S = 900, 1, 3600
_INFERENCE_ID = re.compile(r"\S[\x20-\x7e]{0,63}")
_LOCATION = re.compile(r"s3://[^/]+/.+")  # SageMaker also takes https://; nothing here has such an address
_EXTENSION = re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}")
_FILENAME = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,31}")
_ATTEMPTS = 3


class RefusedError(Exception):
    """The request itself is wrong: ValidationError."""


class RuntimeOperations:
    """The two operations on one stack's endpoints."""

    def __init__(
        self,
        *,
        account: Account,
        directory: Directory,
        requests: AsyncRequests,
        realtime_timeout_s: float,
    ) -> None:
        self._account = account
        self._directory = directory
        self._requests = requests
        self._realtime_timeout_s = realtime_timeout_s

    @property
    def table(self) -> Mapping[str, Operation]:
        """By the last part of the path."""
        return {"invocations": self._checked(self.invoke), "async-invocations": self._checked(self.invoke_async)}

    def _checked(self, operation: Operation) -> Operation:
        def checked(call: Call) -> Answer:
            if not self._directory.known:
                return service_unavailable("the endpoints are being looked up")
            try:
                return operation(call)
            except RefusedError as error:
                return refusal(400, "ValidationError", str(error))

        return checked

    # --- now ----------------------------------------------------------------------------------------------------

    def invoke(self, call: Call) -> Answer:
        """InvokeEndpoint. Raises RefusedError."""
        hosted = self._hosted(call.endpoint)
        if hosted.asynchronous:
            raise RefusedError(f"Endpoint {call.endpoint} is asynchronous. Use InvokeEndpointAsync.")
        variant = call.header("X-Amzn-SageMaker-Target-Variant")
        if variant and variant not in {one.name for one in hosted.variants}:
            raise RefusedError(f"Could not find variant {variant} of endpoint {call.endpoint}.")
        asked = Asked(
            body=call.body,
            content_type=call.header("Content-Type"),
            accept=call.header("Accept"),
            custom_attributes=call.header(ATTRIBUTES),
            inference_id=call.header(INFERENCE_ID),
        )
        for _ in range(_ATTEMPTS):
            instance = self._directory.acquire(call.endpoint, variant=variant)
            if instance is None:
                break
            try:
                return self._ask(instance, asked, call.endpoint)
            except NotReachedError:
                continue  # it has ended in this moment; another may be there
            finally:
                self._directory.release(instance)
        return service_unavailable(f"No instance of endpoint {call.endpoint} is ready.")

    def _ask(self, instance: EndpointInstance, asked: Asked, endpoint: str) -> Answer:
        try:
            reply = ask_container(instance, asked, timeout_s=self._realtime_timeout_s)
        except InvocationError as error:
            return self._model_error(str(error), 0, instance, endpoint)
        if not reply.is_good:
            return self._model_error(reply.text, reply.status, instance, endpoint)
        named = {
            "Content-Type": reply.content_type,
            "x-Amzn-Invoked-Production-Variant": instance.variant,
            ATTRIBUTES: reply.custom_attributes,
        }
        return Answer(status=200, body=reply.body, headers={name: value for name, value in named.items() if value})

    def _model_error(self, message: str, status: int, instance: EndpointInstance, endpoint: str) -> Answer:
        account = self._account
        if not 400 <= status < 500:
            self._directory.failed(endpoint, instance)
        group = f"{GROUP_PREFIX}{endpoint}:log-stream:{stream_name(instance.variant, instance.name)}"
        return refusal(
            424,
            "ModelError",
            failure_sentence(message, status=status, endpoint=endpoint, account=account),
            OriginalStatusCode=status,
            OriginalMessage=message,
            LogStreamArn=f"arn:aws:logs:{account.region}:{account.account_id}:log-group:{group}",
        )

    # --- later --------------------------------------------------------------------------------------------------

    def invoke_async(self, call: Call) -> Answer:
        """InvokeEndpointAsync. Raises RefusedError."""
        hosted = self._hosted(call.endpoint)
        if hosted.asynchronous is None:
            raise RefusedError(f"Endpoint {call.endpoint} is not asynchronous. Use InvokeEndpoint.")
        request = self._request(call, hosted.asynchronous)
        self._requests.add(request, call.body)
        locations = {
            "X-Amzn-SageMaker-OutputLocation": request.output_location,
            "X-Amzn-SageMaker-FailureLocation": request.failure_location,
        }
        headers = {"Content-Type": "application/json", **{name: url for name, url in locations.items() if url}}
        return Answer(status=202, body=json.dumps({"InferenceId": request.inference_id}).encode(), headers=headers)

    def _request(self, call: Call, settings: AsyncSettings) -> AsyncRequest:
        now = time.time()
        location = _matching(call, "X-Amzn-SageMaker-InputLocation", _LOCATION)
        if bool(location) == bool(call.body):
            raise RefusedError("Either InputLocation or Body must be given, and not both.")
        if len(call.body) > INLINE_BODY_MAX_BYTES:
            raise RefusedError(f"Body must have length less than or equal to {INLINE_BODY_MAX_BYTES}.")
        inference_id = _matching(call, INFERENCE_ID, _INFERENCE_ID) or str(uuid.uuid4())
        extension = _matching(call, "X-Amzn-SageMaker-S3OutputPathExtension", _EXTENSION)
        name = uuid.uuid4()
        file_name = _matching(call, "X-Amzn-SageMaker-Filename", _FILENAME)
        return AsyncRequest(
            id=f"{time.time_ns():020d}-{name}",
            endpoint=call.endpoint,
            inference_id=inference_id,
            input_location=location,
            content_type=call.header("X-Amzn-SageMaker-Content-Type"),
            accept=call.header("X-Amzn-SageMaker-Accept"),
            custom_attributes=call.header(ATTRIBUTES),
            received_at=now,
            ttl_s=_seconds(call, "RequestTTLSeconds", TTL_DEFAULT_S, TTL_MIN_S, TTL_MAX_S),
            timeout_s=_seconds(call, "InvocationTimeoutSeconds", TIMEOUT_DEFAULT_S, TIMEOUT_MIN_S, TIMEOUT_MAX_S),
            output_location=_below(settings.output_path, extension, file_name or f"{name}.out"),
            failure_location=_below(settings.failure_path, extension, f"{name}-error.out"),
        )

    def _hosted(self, endpoint: str) -> Hosted:
        hosted = self._directory.get(endpoint)
        if hosted is None or hosted.status in ("Creating", "Failed", "Deleting"):
            raise RefusedError(f"Endpoint {endpoint} of account {self._account.account_id} not found.")
        return hosted


def _matching(call: Call, name: str, pattern: re.Pattern[str]) -> str:
    value = call.header(name)
    if value and not pattern.fullmatch(value):
        raise RefusedError(f"Value '{value}' of {name} failed to satisfy constraint: {pattern.pattern}")
    return value


def _seconds(call: Call, name: str, default: int, least: int, most: int) -> int:
    text = call.header(f"X-Amzn-SageMaker-{name}")
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise RefusedError(f"Value '{text}' at '{name}' failed to satisfy constraint: from {least} to {most}")
    return int(text)


def _below(path: str, extension: str, name: str) -> str:
    """A location below one of the configuration's paths; nothing where there is no path."""
    parts = [path.rstrip("/"), extension.strip("/"), name]
    return "/".join(part for part in parts if part) if path else ""
