"""A local target's folder that says it runs: emulators that a test has anyway, and a process that is no supervisor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpupipe.aws import Aws
from gpupipe.local import control, processes
from gpupipe.local.emulators import Emulators
from gpupipe.local.state import Folder, Record, Target


@contextmanager
def running_target(config: Path, stack_name: str, emulated: Emulators) -> Iterator[Aws]:
    """The target of the stack `<stack_name>-dev`, which `config` describes; yields its account."""
    folder = Folder.of(config, f"{stack_name}-dev")
    folder.create()
    account = emulated.account
    target = Target(
        account_id=account.account_id,
        region=account.region,
        access_key=account.access_key,
        secret_key=account.secret_key,
        endpoints=emulated.endpoints,
        generation=1,
        supervisor_pid=0,
        started_at=0.0,
    )
    asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = processes.spawn(asleep, environment={}, folder=config.parent, log=config.parent / "asleep.log")
    try:
        folder.write_target(target)
        folder.write_record(Record(phase="ready", generation=1, supervisor=process))
        yield control.connect(target, name=stack_name, environment="dev")
    finally:
        processes.end(process, grace_s=0.0)
