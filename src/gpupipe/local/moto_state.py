"""Keeps what moto remembers, so that a killed one comes back as it was: with the machines that still run.

moto keeps everything in its memory. `gpupipe up` makes again what it made, but not what others have made since: the
guard's machines above all, and the counts that autoscaling has set. A machine that EC2 knows nothing of is ended by the
EC2 runner, and the guard waits three minutes (`DESCRIBE_LAG_S`) before it starts another.

So whatever a request has changed is on the disk before the request is answered: what somebody was told of is there
after a kill. The supervisor throws it away when the target is stopped in order, for the machines are off then.
"""

import asyncio
import importlib
import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gpupipe.local.gate import App, Message, Receive, Scope, Send

FILE = "moto.pickle"
"""In moto's own folder, which holds nothing but what this user's processes write (`ownership`)."""
SERVICES = ("ec2", "iam", "sagemaker", "applicationautoscaling", "autoscaling", "ecs", "elbv2")
"""moto's names of those that it serves (`emulators.MOTO_SERVICES`), without sagemaker-runtime, which only asks."""
_READS = ("Describe", "List", "Get", "Search", "Simulate")
_ACTION_WITHIN_BYTES = 4096
"""botocore writes the action first, so the beginning of a body is enough to know it."""
_ATTEMPTS = 5

log = logging.getLogger(__name__)


class SavesBeforeAnswering:
    """moto's application; all is saved before a request that may have changed something is answered.

    5 ms a change were measured with a stack of each kind (IAM's own policies left out).
    """

    def __init__(self, app: App, save: Callable[[], None]) -> None:
        """`save` is called in a thread of its own, never twice at once.

        The loop's threads are the requests', which wait until their answers have left: a save that waited for one of
        them would wait for ever once there are as many changes under way as threads.
        """
        self._app = app
        self._save = save
        self._saving = ThreadPoolExecutor(1, thread_name_prefix="save")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        asked = _Asked(scope, receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and asked.changes:
                await asyncio.get_running_loop().run_in_executor(self._saving, self._save)
            await send(message)

        await self._app(scope, asked.receive, answer)


class _Asked:
    """A request, whose beginning is remembered while moto reads it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._target = dict(scope["headers"]).get(b"x-amz-target", b"").decode("latin-1")
        self._receive = receive
        self._body = b""

    async def receive(self) -> Message:
        message = await self._receive()
        missing = _ACTION_WITHIN_BYTES - len(self._body)
        self._body += message.get("body", b"")[: max(0, missing)]
        return message

    @property
    def changes(self) -> bool:
        """May it have changed something? Where the action cannot be told, it may."""
        form = parse_qs(self._body.decode("latin-1"))
        action = self._target.rpartition(".")[2] or form.get("Action", [""])[0]
        return not action.startswith(_READS)


# --- on the disk ----------------------------------------------------------------------------------------------------


def save(file: Path) -> None:
    """Write what moto holds, whole or not at all. A failure is told in the log: moto itself goes on."""
    draft = file.with_suffix(".draft")
    try:
        draft.write_bytes(_pickled())
        draft.replace(file)
    except Exception:
        log.exception("what moto holds could not be saved: it will be lost if moto is killed now")


def load(file: Path) -> None:
    """Give moto back what it held. What cannot be read, as after an update of moto, is told in the log and left out:
    `gpupipe up` makes its part again."""
    if not file.exists():
        return
    try:
        held = pickle.loads(file.read_bytes())
        for (service, account, region), backend in held.items():
            _put_back(service, account, region, backend)
    except Exception:
        log.exception("what moto held cannot be read; it begins with nothing")
        file.unlink()


def forget(state: Path) -> None:
    """Throw away what moto held, in the folder of its state."""
    (state / FILE).unlink(missing_ok=True)


def _put_back(service: str, account: str, region: str, backend: Any) -> None:
    backends = _backends(service)
    if service == "iam":
        new = backends[account][region]
        backend.aws_managed_policies = new.aws_managed_policies
        backend.managed_policies = {**new.managed_policies, **backend.managed_policies}
    backends[account][region] = backend


def _backends(service: str) -> Any:
    return importlib.import_module("moto.backends").get_backend(service)


def _all() -> Iterator[tuple[tuple[str, str, str], Any]]:
    """Everything in one piece, for the parts refer to one another: a scaling group to its machines."""
    from moto.core.base_backend import BackendDict

    for backends in list(BackendDict._instances):
        service = backends.backend.__module__.split(".")[1]
        for account, region, backend in backends.iter_backends():
            if service in SERVICES and (service != "iam" or _is_used(backend)):
                yield (service, account, region), backend


def _is_used(iam: Any) -> bool:
    """moto makes one for each partition of AWS."""
    return any((iam.roles, iam.users, iam.groups, iam.instance_profiles))


def _pickled() -> bytes:
    """Requests in other threads may change it while it is written: then again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            stream = BytesIO()
            _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(dict(_all()))
            return stream.getvalue()
        except RuntimeError:  # dictionary changed size during iteration
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


class _Pickler(pickle.Pickler):
    """Leaves AWS's own policies out where nobody uses them: four megabytes, the same in every moto."""

    def reducer_override(self, thing: Any) -> Any:
        if type(thing).__name__ != "IAMBackend":
            return NotImplemented
        theirs = {policy.arn for policy in thing.aws_managed_policies if not policy.attachment_count}
        own = {arn: policy for arn, policy in thing.managed_policies.items() if arn not in theirs}
        return object.__new__, (type(thing),), {**vars(thing), "aws_managed_policies": [], "managed_policies": own}
