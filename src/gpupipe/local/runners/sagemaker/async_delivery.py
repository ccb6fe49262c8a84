"""Carries asynchronous requests to the containers that have room, and their results to S3 and SNS.

At least once: a request leaves the queue when its result is in S3 and the topic has been told. So a supervisor that
is killed meanwhile leaves a request to be sent a second time, as SageMaker may.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from gpupipe.local.emulators import Account
from gpupipe.local.runners.sagemaker.async_requests import AsyncRequest, AsyncRequests
from gpupipe.local.runners.sagemaker.invocations import (
    Asked,
    InvocationError,
    NotReachedError,
    Reply,
    ask,
    failure_sentence,
)
from gpupipe.local.runners.sagemaker.routing import AsyncSettings, Directory, EndpointInstance
from gpuworker.contract import http_status

_THREADS = 64
_PAUSE_S = 0.25
_EXPIRY_LOOK_S = 1.0
_RETRY_S = 2.0
"""After an emulator has not answered."""

OCTETS = "application/octet-stream"

log = logging.getLogger(__name__)


class FailedError(Exception):
    """A request has failed for good; `str()` is the reason that is told."""

    def __init__(self, reason: str, *, body: bytes = b"") -> None:
        super().__init__(reason)
        self.body = body or reason.encode()


def _expired(request: AsyncRequest) -> FailedError:
    return FailedError(f"ClientError: the request expired: it had waited for RequestTTLSeconds = {request.ttl_s:g}.")


class AsyncDelivery(threading.Thread):
    """Gives each free container the oldest request of its endpoint."""

    def __init__(
        self, *, account: Account, client: Callable[[str], Any], directory: Directory, requests: AsyncRequests
    ) -> None:
        super().__init__(name="async-delivery", daemon=True)
        self._account = account
        self._s3, self._sns = client("s3"), client("sns")
        self._directory = directory
        self._requests = requests
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="async")
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._next_expiry = 0.0
        directory.changed = requests.changed = self._wake.set
        self.start()

    def run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(_PAUSE_S)
            self._wake.clear()
            try:
                self._give_out()
                self._expire()
            except Exception:
                log.exception("asynchronous requests could not be given out; tried again in a moment")

    def close(self) -> None:
        """Give out nothing more; what is in work is sent again by the next supervisor."""
        self._ended.set()
        self._wake.set()
        self.join(timeout=5.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _give_out(self) -> None:
        for endpoint in self._requests.endpoints():
            hosted = self._directory.get(endpoint)
            settings = hosted.asynchronous if hosted else None
            while settings and not self._ended.is_set():
                request = self._requests.take(endpoint)
                if request is None:
                    break
                instance = self._directory.acquire(endpoint, limit=settings.max_concurrency)
                if instance is None:
                    self._requests.give_back(request)
                    break
                self._pool.submit(self._deliver, settings, instance, request)

    def _expire(self) -> None:
        if time.monotonic() < self._next_expiry:
            return
        self._next_expiry = time.monotonic() + _EXPIRY_LOOK_S
        for endpoint in self._requests.endpoints():
            hosted = self._directory.get(endpoint)
            if hosted and hosted.asynchronous:  # before the first step nobody knows whom to tell
                for request in self._requests.take_expired(endpoint):
                    self._pool.submit(self._finish, hosted.asynchronous, request, _expired(request))

    def _deliver(self, settings: AsyncSettings, instance: EndpointInstance, request: AsyncRequest) -> None:
        """The walk of one request, from its input to its result; in a thread of its own."""
        try:
            outcome: Reply | FailedError = self._invoke(instance, request)
        except FailedError as failed:
            outcome = failed
        except NotReachedError:
            self._requests.give_back(request, pause_s=_PAUSE_S)
            return
        except Exception:
            log.exception("%s: could not be sent; tried again", request.inference_id)
            self._requests.give_back(request, pause_s=_RETRY_S)
            return
        finally:
            self._directory.release(instance)
        if isinstance(outcome, FailedError) and self._ended.is_set():
            return  # its container was ended with everything else: the next supervisor sends it again
        self._finish(settings, request, outcome)

    def _invoke(self, instance: EndpointInstance, request: AsyncRequest) -> Reply:
        """Raises FailedError, or whatever makes another try worth while."""
        body, stored_type = self._input(request)
        asked = Asked(
            body=body,
            content_type=request.content_type or stored_type,
            accept=request.accept,
            custom_attributes=request.custom_attributes,
            inference_id=request.inference_id,
        )
        try:
            reply = ask(instance, asked, timeout_s=request.timeout_s)
        except InvocationError as error:
            self._directory.failed(request.endpoint, instance)
            raise FailedError(self._sentence(str(error), 0, request)) from error
        if not reply.is_good:
            if reply.status >= 500:
                self._directory.failed(request.endpoint, instance)
            raise FailedError(self._sentence(reply.text, reply.status, request), body=reply.body)
        return reply

    def _input(self, request: AsyncRequest) -> tuple[bytes, str]:
        """The body and its type as S3 has it, which counts where the caller said nothing (SageMaker's SDK does not)."""
        if not request.input_location:
            return self._requests.body(request), OCTETS
        bucket, _, key = request.input_location.removeprefix("s3://").partition("/")
        try:
            found = self._s3.get_object(Bucket=bucket, Key=key)
            return found["Body"].read(), found.get("ContentType") or OCTETS
        except (ClientError, ParamValidationError) as error:
            if not _is_final(error):
                raise
            raise FailedError(f'ClientError: Could not access data at "{request.input_location}": {error}') from error

    def _sentence(self, message: str, status: int, request: AsyncRequest) -> str:
        return failure_sentence(message, status=status, endpoint=request.endpoint, account=self._account)

    # --- results ------------------------------------------------------------------------------------------------

    def _finish(self, settings: AsyncSettings, request: AsyncRequest, outcome: Reply | FailedError) -> None:
        """Write the result, tell the topic, forget the request; all of it again where an emulator did not answer."""
        try:
            outcome = self._stored(request, outcome)
            topic = settings.error_topic if isinstance(outcome, FailedError) else settings.success_topic
            if topic:
                self._tell(topic, notification(request, outcome, region=self._account.region))
        except (BotoCoreError, ClientError) as error:
            log.warning("%s: its result could not be stored: %s; tried again", request.inference_id, error)
            self._requests.give_back(request, pause_s=_RETRY_S)
            return
        except Exception:
            log.exception("%s: its result could not be stored", request.inference_id)
        self._requests.done(request)

    def _stored(self, request: AsyncRequest, outcome: Reply | FailedError) -> Reply | FailedError:
        """Put the result into S3; a path that refuses it is a failure too."""
        location = request.failure_location if isinstance(outcome, FailedError) else request.output_location
        if not location:
            return outcome
        bucket, _, key = location.removeprefix("s3://").partition("/")
        content_type = "" if isinstance(outcome, FailedError) else outcome.content_type
        try:
            typed = {"ContentType": content_type} if content_type else {}
            self._s3.put_object(Bucket=bucket, Key=key, Body=outcome.body, **typed)
        except (ClientError, ParamValidationError) as error:
            if not _is_final(error):
                raise
            log.warning("%s: could not write %s: %s", request.inference_id, location, error)
            return FailedError(f'ClientError: Could not write to "{location}": {error}')
        return outcome

    def _tell(self, topic: str, document: dict[str, Any]) -> None:
        try:
            self._sns.publish(TopicArn=topic, Message=json.dumps(document))
        except (ClientError, ParamValidationError) as error:
            if not _is_final(error):
                raise
            log.warning("%s was not told of %s: %s", topic, document["inferenceId"], error)


def notification(request: AsyncRequest, outcome: Reply | FailedError, *, region: str) -> dict[str, Any]:
    """What SageMaker publishes about a request."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
    about: dict[str, Any] = {
        "awsRegion": region,
        "eventTime": _iso(time.time()),
        "receivedTime": _iso(request.received_at),
        "invocationStatus": "Failed" if isinstance(outcome, FailedError) else "Completed",
        "requestParameters": {
            "contentType": request.content_type,
            "endpointName": request.endpoint,
            "inputLocation": request.input_location,
        },
        "inferenceId": request.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if isinstance(outcome, FailedError):
        where = {"failureLocation": request.failure_location} if request.failure_location else {}
        return {**about, "failureReason": str(outcome), **({"responseParameters": where} if where else {})}
    response = {"contentType": outcome.content_type, "outputLocation": request.output_location}
    return {**about, "responseParameters": response}


def _is_final(error: ClientError | ParamValidationError) -> bool:
    """Whether another try would fare no better; an emulator that is being started again answers 5xx or nothing."""
    if isinstance(error, ParamValidationError):
        return True
    return http_status(error) < 500


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
