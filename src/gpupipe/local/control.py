"""What the commands do with the local target: have it running, see how it is, interrupt a machine, stop it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpupipe.aws import Attendant, Aws
from gpupipe.errors import NotDeployedError, TargetError
from gpupipe.local import emulators, moto_state, ownership, processes
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners import runner_classes
from gpupipe.local.runners.ec2.host import announce_interruption, running_machines
from gpupipe.local.state import Folder, Record, Target
from gpupipe.names import Stack

START_TIMEOUT_S = 120.0
START_TRIES = 3
"""Of a supervisor that is killed while it starts."""
SAID_AFTER_S = 5.0
"""A start takes three to four seconds on two idle cores."""
PACKAGE = "gpupipe.local."
SUPERVISOR = "gpupipe.local.supervisor"
STOP_TIMEOUT_S = 75.0  # thirty seconds for a worker to give its work back, twice ten for the emulators, and some air


def ensure_running(
    config_path: Path,
    *,
    stack_id: str,
    region: str,
    timeout_s: float = START_TIMEOUT_S,
    only_resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Target:
    """The stack's local target, started or resumed if it does not run; with `only_resume` one that another command has
    just stopped or removed stays so. Raises TargetError.

    Any number of commands may call this at once: one starts it, the others wait. `Target.notices` holds what happened
    since the last command; each notice is handed out once. `say` is told what is waited for, if that takes long.
    """
    folder = Folder.of(config_path, stack_id)
    target = _ready(folder, folder.read_record())
    if target is None:
        emulators.require_installed()
        told = f"The local target is being started; its log is {folder.supervisor_log}."
        with slow(say, told), folder.starting(patience_s=timeout_s):
            if only_resume:
                _require_unstopped(folder)
            target = _started(folder, config_path, timeout_s, say=say)
    if target.region != region:
        raise TargetError(
            f"The local target of {stack_id} runs in {target.region}, gpupipe.toml says {region}.",
            hint="`gpupipe down` it first, with the old region.",
        )
    return replace(target, notices=folder.notices(take=True))


def running(config_path: Path, *, stack_id: str) -> Target:
    """The stack's local target if it runs; starts nothing and hands out no notice. Raises NotDeployedError."""
    folder = Folder.of(config_path, stack_id)
    target = _ready(folder, folder.read_record())
    if target is None:
        raise NotDeployedError(f"the local target of {stack_id} does not run.", hint="Start it with `gpupipe up`.")
    return target


def resume(config_path: Path, *, stack_id: str, timeout_s: float = START_TIMEOUT_S) -> Target:
    """The stack's local target, started again if it ended unexpectedly; one that was stopped or removed stays so.

    Raises TargetError. Notices are handed out as by `ensure_running`.
    """
    folder = Folder.of(config_path, stack_id)
    with folder.starting(patience_s=timeout_s):
        _require_unstopped(folder)
        return replace(_started(folder, config_path, timeout_s), notices=folder.notices(take=True))


def _require_unstopped(folder: Folder) -> None:
    """Raise TargetError where nothing runs and nothing crashed. The start lock is held."""
    phase = folder.read_record().phase
    if phase in ("starting", "ready"):
        return
    if all(map(ownership.says_nothing, folder.path.iterdir())):
        folder.remove()  # the lock has made it anew
    raise TargetError(f"The local target is not there any more: it is {phase}.", hint="`gpupipe up` starts it.")


def connect(target: Target, *, name: str, environment: str, attendant: Attendant | None = None) -> Aws:
    """An `Aws` whose clients talk to the local target, which `attendant` looks after."""
    stack = Stack(name=name, environment=environment, account=target.account_id, region=target.region)
    return Aws(stack=stack, endpoints=target.endpoints, credentials=target.credentials, attendant=attendant)


def shell_environment(target: Target) -> dict[str, str]:
    """What the AWS CLI, or any SDK, needs in its environment to talk to the local target."""
    account = emulators.Account(account_id=target.account_id, secret_key=target.secret_key, region=target.region)
    return emulators.client_environment(account, target.endpoints)


def status(config_path: Path, *, stack_id: str) -> dict[str, Any]:
    """How the local target is, as plain JSON values; starts nothing."""
    folder = Folder.of(config_path, stack_id)
    record = folder.read_record()
    target = _ready(folder, record)
    return {
        "stack": stack_id,
        "folder": str(folder.path),
        "ready": target is not None,
        "phase": _phase(record),
        "problem": record.problem,
        "generation": record.generation,
        "started_at": datetime.fromtimestamp(record.started_at, UTC).isoformat() if target else "",
        "region": target.region if target else "",
        "account_id": target.account_id if target else "",
        "endpoints": dict(target.endpoints) if target else {},
        "environment": shell_environment(target) if target else {},
        "processes": [_described(name, process, record.ports) for name, process in _processes(record)],
        **{runner.section: runner.status(folder) for runner in runner_classes()},
        "logs": str(folder.logs),
        "notices": list(folder.notices(take=False)),
    }


def interrupt(
    config_path: Path, *, stack_id: str, instance_id: str | None = None, notice_s: float = 120.0
) -> dict[str, Any]:
    """Rehearse a spot loss: announce it to a running machine now, take the machine away `notice_s` later.

    Without `instance_id` the only running machine is meant. Raises TargetError.
    """
    folder = Folder.of(config_path, stack_id)
    running = {disk.name: disk for disk in running_machines(folder)}
    if instance_id is None and len(running) == 1:
        instance_id = next(iter(running))
    if instance_id not in running:
        known = f"Running: {', '.join(running)}." if running else "No machine is running."
        wanted = f"{instance_id} is not running" if instance_id else "it is not clear which machine to interrupt"
        raise TargetError(f"{wanted}.", hint=known)
    interruption = announce_interruption(running[instance_id], notice_s=notice_s)
    taken_at = datetime.fromtimestamp(interruption.taken_at, UTC).isoformat()
    return {"instance_id": instance_id, "notice_s": notice_s, "taken_at": taken_at}


def stop(config_path: Path, *, stack_id: str, remove: bool) -> None:
    """End every process of the target and make sure that none is left; with `remove` its folder goes too.

    Stopping what does not run succeeds. Raises TargetError if something would not end.
    """
    folder = Folder.of(config_path, stack_id)
    if not folder.path.exists():
        return
    with folder.starting(patience_s=STOP_TIMEOUT_S):
        processes.end(*processes.running_modules(SUPERVISOR, folder.path), grace_s=STOP_TIMEOUT_S)
        _end_orphans(folder)
        folder.endpoint_file.unlink(missing_ok=True)
        if remove:
            folder.remove()
        else:
            moto_state.forget(folder.path / "moto")  # the machines are off
            folder.write_record(replace(folder.read_record(), phase="stopped", emulators={}))


def _ready(folder: Folder, record: Record) -> Target | None:
    return folder.read_target() if record.phase == "ready" and record.supervised else None


@contextlib.contextmanager
def slow(say: Callable[[str], None], text: str, *, after_s: float = SAID_AFTER_S) -> Iterator[None]:
    """Says `text` if what is inside takes longer than a person waits without a word."""
    timer = threading.Timer(after_s, say, args=(text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _started(
    folder: Folder, config_path: Path, timeout_s: float, *, say: Callable[[str], None] = lambda _: None
) -> Target:
    """Start a supervisor unless one is at work, and wait until it reports ready; one that is killed while it starts is
    started again. The start lock is held."""
    deadline = time.monotonic() + timeout_s
    for attempt in range(1, START_TRIES + 1):
        record = folder.read_record()
        supervisor = record.supervisor if record.supervisor and record.supervised else _spawned(folder, config_path)
        if target := _awaited(folder, supervisor, deadline):
            return target
        record = folder.read_record()
        if supervisor.alive or record.phase == "failed" or attempt == START_TRIES:
            break
        say("The local target's supervisor ended while starting; it is started again.")
    raise _start_error(folder, record, supervisor, timeout_s)


def _spawned(folder: Folder, config_path: Path) -> ProcessName:
    folder.create()
    return processes.spawn(
        processes.python_module(SUPERVISOR, "--config", str(config_path.absolute()), "--folder", str(folder.path)),
        environment=emulators.clean_environment(),
        folder=config_path.absolute().parent,
        log=folder.supervisor_log,
    )


def _awaited(folder: Folder, supervisor: ProcessName, deadline: float) -> Target | None:
    """The target once it is ready; None where its supervisor ends before, or time does."""
    while time.monotonic() < deadline:
        is_alive = supervisor.alive  # asked first: it may become ready and another's between two questions
        if target := _ready(folder, folder.read_record()):
            return target
        if not is_alive:
            break
        time.sleep(0.03)
    return None


def _start_error(folder: Folder, record: Record, supervisor: ProcessName, timeout_s: float) -> TargetError:
    if record.phase == "failed" and record.problem:
        return TargetError(f"The local target could not start: {record.problem}")
    how = f"was not ready within {timeout_s:.0f} s" if supervisor.alive else "ended while starting"
    log = folder.supervisor_log
    return TargetError(f"The local target {how}. Its log {log} ends:\n{processes.last_lines(log)}")


def _end_orphans(folder: Folder) -> None:
    """End what a crashed supervisor left behind, what runners have started first."""
    for runner in runner_classes():
        runner.end_left(folder)
    processes.end(*processes.running_modules(PACKAGE, folder.path), grace_s=emulators.STOP_GRACE_S)
    if stubborn := processes.running_modules(PACKAGE, folder.path):
        pids = ", ".join(str(process.pid) for process in stubborn)
        raise TargetError(f"Processes {pids} of the local target would not end.", hint="Kill them by hand.")


def _phase(record: Record) -> str:
    """The phase as a person should see it: a supervisor that is gone without having said so has crashed."""
    return "crashed" if record.phase in ("starting", "ready") and not record.supervised else record.phase


def _processes(record: Record) -> Iterator[tuple[str, ProcessName]]:
    if record.supervisor:
        yield "supervisor", record.supervisor
    yield from record.emulators.items()


def _described(name: str, process: ProcessName, ports: Mapping[str, int]) -> dict[str, Any]:
    url = f"http://127.0.0.1:{ports[name]}" if name in ports else ""
    return {"name": name, "pid": process.pid, "alive": process.alive, "url": url}
