"""What ministack 1.5.33 lacks or does unlike AWS where gpupipe would notice: mended inside the emulator's process.

Product code knows nothing of this. Each shim says what it mends; `tests/local/test_ministack_shims.py` holds a test a
shim that fails once ministack does it by itself, so that the shim is then removed.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

from gpupipe.local import ministack_memory
from gpupipe.local.gate import App, Receive, Scope, Send

_LAMBDA_EVENT_BYTES = 5 * 2**20  # Lambda takes 6 MB an event; the rest is left for the envelope of each record
_BATCH_WITHOUT_WINDOW = 10  # SQS gives at most ten messages a receive; Lambda gathers more only within a window

# Any image will do: nothing boots it. The names are those under which AWS publishes its deep learning images.
_DLAMI_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-{system}/latest/ami-id"
_DLAMI_SYSTEMS = ("ubuntu-24.04", "ubuntu-22.04", "amazon-linux-2023")
DLAMI_ID = "ami-0a1b2c3d4e5f60718"


def install() -> None:
    """Mend ministack's modules in place, and bound what they keep; called before it serves."""
    from ministack.services import s3, secretsmanager, sqs, ssm

    s3._get_object = _ranged(s3._get_object, s3._parse_range)
    s3._list_object_versions = _url_encoded(s3._list_object_versions)
    sqs._HANDLERS.setdefault("StartMessageMoveTask", _start_message_move_task)
    sqs._HANDLERS.setdefault("ListMessageMoveTasks", _list_message_move_tasks)
    sqs._receive_messages_for_esm = _receive_within_window
    secretsmanager._store_new_secret = _without_value(secretsmanager._store_new_secret, secretsmanager._secrets)
    for system in _DLAMI_SYSTEMS:
        ssm._PUBLIC_AMI_PARAMETERS.setdefault(_DLAMI_PARAMETER.format(system=system), DLAMI_ID)
    ministack_memory.install()


class ExpectedBucketOwner:
    """S3's `x-amz-expected-bucket-owner`, which ministack does not look at: another account's number is refused."""

    def __init__(self, app: App, *, account_id: str) -> None:
        self._app = app
        self._account_id = account_id.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        expected = dict(scope.get("headers", ())).get(b"x-amz-expected-bucket-owner", self._account_id)
        if expected == self._account_id:
            await self._app(scope, receive, send)
            return
        body = f"<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Resource>{escape(scope['path'])}"
        content = b"" if scope["method"] == "HEAD" else f"{body}</Resource></Error>".encode()
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/xml")]})
        await send({"type": "http.response.body", "body": content})


class LinksLeadToS3:
    """Presigned links, which ministack takes to whatever service their query or body names an `Action` of."""

    _SCOPE = b"AWS4-HMAC-SHA256 Credential=link/20060301/us-east-1/s3/aws4_request"

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        if scope["type"] == "http" and not any(name == b"authorization" for name, _ in headers):
            scope = {**scope, "headers": [*headers, (b"authorization", self._SCOPE)]}
        await self._app(scope, receive, send)


# --- S3: a range of a version ---------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]


def _ranged(get_object: Callable[..., Answer], parse_range: Callable[[str, int], tuple[int, int] | None]) -> Any:
    """GetObject with `versionId`, which sends all of the object when asked for a `Range` of it."""

    def ranged(bucket: str, key: str, headers: dict[str, str], query_params: dict[str, Any] | None = None) -> Answer:
        status, answered, body = get_object(bucket, key, headers, query_params)
        asked = headers.get("range", "") if "versionId" in (query_params or {}) else ""
        found = parse_range(asked, len(body)) if asked and status == 200 else None
        if found is None:
            return status, answered, body
        start, end = found
        part = body[start : end + 1]
        about = {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{len(body)}"}
        # A checksum is of the whole object; boto3 would hold it against the part.
        kept = {name: value for name, value in answered.items() if not name.lower().startswith("x-amz-checksum-")}
        return 206, {**kept, **about}, part

    return ranged


# --- S3: a list of versions with any key ----------------------------------------------------------------------------

_NAMES = re.compile(rb"<(Key|Prefix|Delimiter|KeyMarker|NextKeyMarker)>([^<]*)</\1>")


def _url_encoded(list_versions: Callable[..., Answer]) -> Any:
    """ListObjectVersions with `encoding-type=url`, which is passed over: a control character in a key, which XML cannot
    say, then makes the whole list unreadable, and with it the bucket impossible to empty."""

    def listed(bucket: str, query_params: dict[str, Any]) -> Answer:
        status, headers, body = list_versions(bucket, query_params)
        asked = query_params.get("encoding-type", "")
        if "url" not in (asked if isinstance(asked, list) else [asked]) or status != 200:
            return status, headers, body
        encoded = _NAMES.sub(lambda found: b"<%b>%b</%b>" % (found[1], _quoted(found[2]), found[1]), body)
        encoded = encoded.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>", 1)
        return status, {name: text for name, text in headers.items() if name.lower() != "content-length"}, encoded

    return listed


def _quoted(text: bytes) -> bytes:
    return quote(unescape(text.decode(), {"&quot;": '"'}), safe="/").encode()


# --- Secrets Manager: a secret without a value ----------------------------------------------------------------------


def _without_value(store: Callable[..., Any], secrets: Any) -> Any:
    """CreateSecret without a value, which ministack takes for one: AWS has no version of it until somebody sets it."""

    def stored(name: str, secret_string: str | None = None, secret_binary: Any = None, **more: Any) -> Any:
        answer = store(name, secret_string=secret_string, secret_binary=secret_binary, **more)
        if secret_string is None and secret_binary is None:
            secrets[name]["Versions"] = {}
        return answer

    return stored


# --- SQS: redrive of a dead-letter queue ---------------------------------------------------------------------------

_move_tasks: list[dict[str, Any]] = []
_MOVE_TASKS_LISTED = 100  # AWS answers with ten of a source at most


def _start_message_move_task(data: dict[str, Any], _queue_url: str) -> dict[str, Any]:
    """StartMessageMoveTask: every waiting message goes to the queue it died in, or to `DestinationArn`, at once."""
    from ministack.services import sqs

    source_arn = data.get("SourceArn", "")
    with sqs._queues_lock:
        source = sqs._queue_by_arn(source_arn)
        if source is None:
            raise sqs._Err("ResourceNotFoundException", "The resource that you specified for SourceArn doesn't exist.")
        moved = [message for message in source["messages"] if _move(message, data.get("DestinationArn"))]
        kept = {id(message) for message in moved}
        source["messages"] = [message for message in source["messages"] if id(message) not in kept]
    sqs.esm_wake.set()
    task = {
        "TaskHandle": str(uuid.uuid4()),
        "Status": "COMPLETED",
        "SourceArn": source_arn,
        "ApproximateNumberOfMessagesMoved": len(moved),
        "ApproximateNumberOfMessagesToMove": len(moved),
        "StartedTimestamp": int(time.time() * 1000),
    }
    _move_tasks.insert(0, task | {name: data[name] for name in ("DestinationArn",) if name in data})
    del _move_tasks[_MOVE_TASKS_LISTED:]
    return {"TaskHandle": task["TaskHandle"]}


def _move(message: dict[str, Any], destination_arn: str | None) -> bool:
    """Append a fresh copy of a message to where it belongs; False if it is in flight or nobody knows where that is."""
    from ministack.services import sqs

    now = time.time()
    target = sqs._queue_by_arn(destination_arn or message.get("sys", {}).get("DeadLetterQueueSourceArn", ""))
    if target is None or message["visible_at"] > now:
        return False
    fresh = {"receipt_handle": None, "visible_at": now, "receive_count": 0, "first_receive_at": None}
    target["messages"].append({**message, **fresh})
    return True


def _list_message_move_tasks(data: dict[str, Any], _queue_url: str) -> dict[str, Any]:
    """ListMessageMoveTasks: the newest first, of one source."""
    found = [task for task in _move_tasks if task["SourceArn"] == data.get("SourceArn")]
    return {"Results": found[: int(data.get("MaxResults", 1))]}


# --- Lambda: batching window of an SQS event source ----------------------------------------------------------------


def _receive_within_window(queue_url: str, batch_size: int) -> list[dict[str, Any]]:
    """What an event source may hand to its function now.

    ministack hands over whatever is there, ten messages at most. AWS waits until the batch is full or its oldest
    message has waited for `MaximumBatchingWindowInSeconds`, and fills batches of up to 10,000: a burst of 2,000
    uploads is two invocations there, and would be a thousand here.
    """
    from ministack.services import sqs

    with sqs._queues_lock:
        queue = sqs._get_q(queue_url)
        window_s = _batching_window_s(queue["attributes"]["QueueArn"])
        limit = int(batch_size or 1) if window_s else min(int(batch_size or 1), _BATCH_WITHOUT_WINDOW)
        sqs._expire_retained(queue)
        sqs._dlq_sweep(queue)
        now = time.time()
        waiting = [message for message in queue["messages"] if message["visible_at"] <= now]
        if not waiting or (len(waiting) < limit and now - min(m["visible_at"] for m in waiting) < window_s):
            return []
        count = sum(1 for _ in _fitting(waiting[:limit]))
        visibility_s = int(queue["attributes"].get("VisibilityTimeout", "30"))
        return cast("list[dict[str, Any]]", sqs._collect_msgs(queue, count, visibility_s))


def _batching_window_s(queue_arn: str) -> float:
    from ministack.services import lambda_svc

    mappings = (mapping for _, _, mapping in lambda_svc._iter_all_esms())
    windows = [m.get("MaximumBatchingWindowInSeconds") or 0 for m in mappings if m.get("EventSourceArn") == queue_arn]
    return max(windows, default=0)


def _fitting(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first messages that fit into one event; at least one."""
    size = 0
    for index, message in enumerate(messages):
        size += len(json.dumps(message["body"])) + 1024
        if index and size > _LAMBDA_EVENT_BYTES:
            return
        yield message
