"""One request to one container, and the words in which SageMaker tells that it failed."""

import contextlib
import http.client
import threading
from dataclasses import dataclass

from gpupipe.local.emulators import Account
from gpupipe.local.runners.sagemaker.routing import EndpointInstance

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
TOKEN = "X-Gpupipe-Caller-Token"
"""What a container of ours asks for on this machine, where any user can connect to its port; another ignores it."""
MESSAGE_MAX_CHARACTERS = 2048  # of Message in the service model


class NotReachedError(Exception):
    """Nobody listens there: the request has begun nothing, and may go to another container."""


class InvocationError(Exception):
    """The container gave no answer; `str()` is what SageMaker says then."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a container is sent."""

    body: bytes
    content_type: str
    accept: str = ""
    custom_attributes: str = ""
    inference_id: str = ""

    @property
    def headers(self) -> dict[str, str]:
        named = {
            "Content-Type": self.content_type,
            "Accept": self.accept,
            ATTRIBUTES: self.custom_attributes,
            INFERENCE_ID: self.inference_id,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a container answered, whatever its status."""

    status: int
    content_type: str
    custom_attributes: str
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body[:MESSAGE_MAX_CHARACTERS].decode(errors="replace")


def ask(instance: EndpointInstance, asked: Asked, *, timeout_s: float) -> Reply:
    """POST /invocations; raises NotReachedError or InvocationError."""
    # A connection each: one kept alive may be closed by the container in the very moment in which it is used again.
    connection = http.client.HTTPConnection(instance.url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.connect()
    except OSError as error:
        raise NotReachedError(f"{instance.name} does not listen: {error}") from error
    watch = _Watch(connection, timeout_s)
    try:
        with watch:
            connection.request(
                "POST", "/invocations", body=asked.body, headers={**asked.headers, TOKEN: instance.token}
            )
            response = connection.getresponse()
            body = response.read()
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        raise InvocationError(_TIMED_OUT if watch.fired or isinstance(error, TimeoutError) else _CLOSED) from error
    finally:
        connection.close()
    return Reply(
        status=response.status,
        content_type=response.headers.get("Content-Type", ""),
        custom_attributes=response.headers.get(ATTRIBUTES, ""),
        body=body,
    )


_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
_CLOSED = "The container closed the connection before it had answered: it ended, or it was ended."


def failure_sentence(message: str, *, status: int, endpoint: str, account: Account) -> str:
    """What SageMaker says of a failed invocation; status 0: the container did not answer."""
    kind = "client" if 400 <= status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    region = account.region
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    tail = f'". See {console} in account {account.account_id} for more information.'
    head = f'Received {kind} error ({status}) from primary with message "'
    return head + message[: MESSAGE_MAX_CHARACTERS - len(head) - len(tail)] + tail


class _Watch:
    """Ends a connection once its time is over, however slowly the container trickles its answer."""

    def __init__(self, connection: http.client.HTTPConnection, timeout_s: float) -> None:
        self._socket = connection.sock
        self._timer = threading.Timer(timeout_s, self._fire)
        self._timer.daemon = True
        self.fired = False

    def _fire(self) -> None:
        self.fired = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(2)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
