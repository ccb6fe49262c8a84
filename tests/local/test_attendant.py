"""What a command says and does while its local target dies: time ticks, and processes are only noted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.local.test_state import TARGET
from tests.local.waiting import until
from tests.ticking import TickingClock

from gpupipe.errors import TargetError
from gpupipe.local import processes
from gpupipe.local.attendant import BACK_WITHIN_S, Attendant
from gpupipe.local.processes import ProcessName
from gpupipe.local.state import Folder, Record, Target

DEAD = ProcessName(pid=2**22 + 1, boot="another", started_at=0.0, since_boot_s=0.0, token="t")


@dataclass
class Scene:
    """A target as its folder notes it, and what is said of it."""

    folder: Folder
    config_file: Path
    alive: ProcessName
    clock: TickingClock = field(default_factory=TickingClock)
    said: list[str] = field(default_factory=list)
    resumed: int = 0

    def note(self, phase: str = "ready", *, target: Target = TARGET, **changes: Any) -> None:
        """Write down what a supervisor that works on it would."""
        emulators = {"moto": self.alive, "ministack": self.alive}
        record = Record(phase=phase, generation=1, supervisor=self.alive, emulators=emulators)
        self.folder.write_record(replace(record, **changes))
        self.folder.write_target(target)

    def resume(self, config_path: Path, *, stack_id: str) -> Target:
        assert (config_path, stack_id) == (self.config_file, "demo-dev")
        self.resumed += 1
        self.note()
        return replace(TARGET, notices=("It was started again.",))

    def attendant(self, say: Callable[[str], None] | None = None) -> Attendant:
        return Attendant(
            self.config_file,
            stack_id="demo-dev",
            target=TARGET,
            say=say or self.said.append,
            resume=self.resume,
            clock=self.clock,
        )

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    config_file = tmp_path / "gpupipe.toml"
    folder = Folder.of(config_file, "demo-dev")
    folder.create()
    sleeper = processes.spawn(["sleep", "60"], environment=os.environ, folder=tmp_path, log=tmp_path / "log")
    scene = Scene(folder, config_file, sleeper)
    scene.note()
    yield scene
    processes.end(sleeper, grace_s=0.0)


def test_of_a_target_that_is_well_nothing_is_said(scene: Scene) -> None:
    attendant = scene.attendant()
    attendant.require()
    attendant.restore()
    assert (scene.said, scene.resumed, scene.clock.pauses) == ([], 0, [])


def test_a_dead_supervisor_is_told_of_and_replaced(scene: Scene) -> None:
    # given emulators that answer, and nobody who looks after them and the machines
    scene.note(supervisor=DEAD)
    # when a look comes
    scene.attendant().restore()
    # then another is started, and what happens is said before and after
    assert scene.resumed == 1
    assert scene.said == [
        "note: The local target has ended unexpectedly; it is started again.",
        "note: It was started again.",
        "note: The local target runs again; the command goes on.",
    ]


@pytest.mark.parametrize(
    ("dead", "words"),
    [(["moto"], "moto ended"), (["ministack"], "ministack ended"), (["moto", "ministack"], "moto and ministack ended")],
)
def test_dead_emulators_are_told_of_at_once_and_waited_for(scene: Scene, dead: list[str], words: str) -> None:
    # given emulators that have died, and a supervisor that has them back after a while
    emulators = {name: DEAD if name in dead else scene.alive for name in ("moto", "ministack")}
    scene.note(emulators=emulators)
    scene.clock.meanwhile = lambda: scene.note() if scene.clock.now > 6 else None
    # when a call got no answer
    scene.attendant().restore()
    # then it may be made again once they are back, and nobody but the supervisor has started anything
    assert scene.clock.now == pytest.approx(6, abs=0.5)
    assert f"The local target's {words} unexpectedly; its supervisor starts it again." in scene.said[0]
    assert "runs again" in scene.said[-1]
    assert scene.resumed == 0


def test_what_takes_long_is_said_again_and_given_up_after_two_minutes(scene: Scene) -> None:
    scene.note("starting")
    attendant = scene.attendant()
    with pytest.raises(TargetError, match="did not come back within 120 s"):
        attendant.restore()
    assert scene.clock.now == pytest.approx(BACK_WITHIN_S, abs=1.0)
    assert len(scene.said) == pytest.approx(BACK_WITHIN_S / 10, abs=1)
    # and whoever asks next is told at once
    with pytest.raises(TargetError, match="did not come back"):
        attendant.require()


def test_a_target_that_is_gone_ends_the_command_and_says_what_to_do(scene: Scene) -> None:
    def removed() -> None:
        (scene.folder.path / "record.json").unlink()

    endings: dict[str, Callable[[], None]] = {
        "was stopped by another command": lambda: scene.note("stopped"),
        "has ended: no memory": lambda: scene.note("failed", problem="no memory"),
        "folder .* was removed, and its jobs with it": removed,
        "was removed, and": lambda: scene.note(target=replace(TARGET, secret_key="of another")),
        "at other ports": lambda: scene.note(target=replace(TARGET, endpoints={"default": "http://127.0.0.1:2"})),
    }
    for words, happen in endings.items():
        scene.note()
        attendant = scene.attendant()
        happen()
        with pytest.raises(TargetError, match=words) as error:
            attendant.restore()
        assert error.value.hint
        with pytest.raises(TargetError, match=words):
            attendant.require()
    assert scene.resumed == 0


def test_its_thread_notices_what_no_call_runs_into(scene: Scene) -> None:
    # given a command that makes no call
    scene.clock = TickingClock()
    attendant = scene.attendant().start()
    # when the target is stopped
    scene.note("stopped")
    # then that is said, and the next call fails
    until(lambda: "stopped by another command" in scene.text, within_s=20)
    with pytest.raises(TargetError):
        attendant.require()


def test_every_command_at_work_is_told_the_news_and_none_that_comes_later(scene: Scene) -> None:
    # given two commands at work
    others: list[str] = []
    one, other = scene.attendant(), scene.attendant(others.append)
    # when something happens
    scene.folder.add_notice("A worker ended.")
    for _ in range(2):
        one.restore()
        other.restore()
    # then both say so, once, and nobody else
    assert scene.said == others == ["note: A worker ended."]
    assert scene.folder.notices(take=True) == ()
    scene.attendant().restore()
    assert scene.said == ["note: A worker ended."]


def test_after_its_end_it_neither_speaks_nor_starts_anything(scene: Scene) -> None:
    attendant = scene.attendant().start()
    attendant.end()
    scene.note(supervisor=DEAD)
    attendant.restore()
    attendant.require()
    assert (scene.said, scene.resumed) == ([], 0)
