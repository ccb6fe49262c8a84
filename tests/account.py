"""An emulated account as one stack sees it, with a record of every call and a way to die in the middle."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import botocore.session

from gpupipe.aws import Aws, is_mutation
from gpupipe.local import emulators
from gpupipe.local.emulators import Emulators
from gpupipe.names import Stack
from tests import moto_in_process
from tests.ticking import TickingClock


def new_session(account: emulators.Account) -> Any:
    """A session of boto3 with that account's keys."""
    core = botocore.session.Session()
    core.register_component("data_loader", moto_in_process.LOADER)
    keys: dict[str, Any] = {"aws_access_key_id": account.access_key, "aws_secret_access_key": account.secret_key}
    return boto3.Session(botocore_session=core, region_name=account.region, **keys)


shared_session = cache(new_session)
"""For clients that register no events of their own at their session: it makes one in a tenth of the time."""


class KilledError(Exception):
    """The process is dead: whatever it still tries to call does not happen."""


@dataclass
class Calls:
    """Every API call, in order; from the `die_after`-th change on, no call gets through."""

    made: list[tuple[str, str]] = field(default_factory=list)
    die_after: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, service: str, operation: str) -> None:
        with self._lock:
            if self.die_after is not None and len(self.changes) >= self.die_after:
                raise KilledError(f"{service} {operation}")
            self.made.append((service, operation))

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The calls that change something."""
        return [(service, operation) for service, operation in self.made if is_mutation(operation)]

    def forget(self) -> None:
        """Begin anew, alive."""
        self.made.clear()
        self.die_after = None


@dataclass
class Account:
    """One stack in the emulators."""

    aws: Aws
    calls: Calls

    @classmethod
    def in_emulators(cls, emulated: Emulators, name: str) -> Account:
        return cls.at(emulated.account, name, endpoints=emulated.endpoints)

    @classmethod
    def in_process(cls, name: str) -> Account:
        """For within `moto_in_process.mocked()`, where nothing needs waiting for."""
        account = cls.at(moto_in_process.ACCOUNT, name, clock=TickingClock())
        account.aws.session.events.register("provide-client-params.ssm.GetParameter", moto_in_process.with_known_image)
        return account

    @classmethod
    def at(cls, account: emulators.Account, name: str, **settings: Any) -> Account:
        """One with these keys; `settings` are further ones of `Aws`."""
        calls, session = Calls(), new_session(account)
        session.events.register("before-call", lambda model, **_: calls(model.service_model.service_name, model.name))
        stack = Stack(name=name, environment="test", account=account.account_id, region=account.region)
        return cls(aws=Aws(stack=stack, session=session, **settings), calls=calls)

    def again(self) -> Account:
        """The same stack from another machine: same account, nothing remembered."""
        return Account(aws=self.aws.gated(None), calls=self.calls)

    def object_keys(self) -> list[str]:
        """What is in the state bucket."""
        answer: Any = self.aws.client("s3").list_objects_v2(Bucket=self.aws.stack.state_bucket)
        return [one["Key"] for one in answer.get("Contents", [])]

    def expire_lock(self) -> None:
        """What 90 seconds do to the lock of a process that died."""
        self.aws.client("s3").delete_object(Bucket=self.aws.stack.state_bucket, Key="lock.json")
