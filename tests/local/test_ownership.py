"""Whose a stack's folder is: one's own through everything that happens to it, and nobody's who only has a copy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from gpupipe.errors import ForeignFolderError, TargetError
from gpupipe.local import ownership
from gpupipe.local.state import Folder

STACK = "demo-dev"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a target of its own, made by this user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    project = tmp_path / "project"
    project.mkdir()
    filled(project)
    return project


def filled(project: Path) -> Folder:
    folder = Folder.of(project / "gpupipe.toml", STACK)
    folder.create()
    folder.account("us-east-1")
    return folder


def of(project: Path) -> Folder:
    return Folder.of(project / "gpupipe.toml", STACK)


def why(project: Path) -> str:
    with pytest.raises(ForeignFolderError) as refused:
        of(project)
    assert "Nothing of it is started, asked or ended" in refused.value.message
    assert "--adopt" in refused.value.hint
    assert "--forget" in refused.value.hint
    return refused.value.message


def test_ones_own_is_ones_own_again_and_again(project: Path) -> None:
    for _ in range(2):
        of(project).create()
    assert of(project).path.stat().st_mode & 0o777 == 0o700
    assert (of(project).path / ownership.OWNER_FILE).stat().st_mode & 0o777 == 0o600
    [note] = (project.parent / "state" / "gpupipe" / "stacks").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    assert note.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_moved_is_ones_own(project: Path) -> None:
    moved = project.rename(project.with_name("elsewhere"))
    of(moved)
    # also where another was made in its place
    project.mkdir()
    filled(project)
    of(moved)
    of(project)
    moved.rename(project.with_name("again"))
    of(project.with_name("again"))


def test_a_copy_is_not(project: Path) -> None:
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    assert f"it is a copy of {project}/.gpupipe/{STACK}" in why(copy)
    of(project)


def test_what_came_with_a_repository_is_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(project.parent / "another"))
    assert f"{project.parent}/another/gpupipe does not know it" in why(project)
    (of_any(project) / ownership.OWNER_FILE).unlink()
    assert "nothing in it says that you made it" in why(project)


def of_any(project: Path) -> Path:
    return Folder.at(project / "gpupipe.toml", STACK).path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"token": 7}',
        '{"token": "../../x"}',
        json.dumps({"token": "0" * 64}),
        '{"a":' * 100_000,
        "\x00",
        "9" * 100_000,
    ],
)
def test_a_sign_that_others_made_up_is_none(project: Path, text: str) -> None:
    (of_any(project) / ownership.OWNER_FILE).write_text(text)
    why(project)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_sign_that_is_no_file_is_none_and_is_not_waited_for(project: Path, kind: str) -> None:
    file = of_any(project) / ownership.OWNER_FILE
    moved = file.rename(project.parent / "token.json")
    {"link": lambda: file.symlink_to(moved), "fifo": lambda: os.mkfifo(file), "folder": file.mkdir}[kind]()
    why(project)


@pytest.mark.parametrize("level", ["", ".gpupipe"])
def test_a_link_to_ones_own_is_not(project: Path, level: str) -> None:
    other = project.with_name("other")
    other.mkdir()
    at = of_any(project) if level == "" else of_any(project).parent
    place = of_any(other) if level == "" else of_any(other).parent
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(at)
    assert f"{place} is a link" in why(other)


def test_another_users_is_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    assert f"it belongs to the user with the number {mine}" in why(project)


def test_a_folder_with_nothing_in_it_is_taken_up(project: Path) -> None:
    shutil.rmtree(of_any(project))
    of_any(project).mkdir()
    (of_any(project) / "start.lock").touch()
    filled(project)
    of(project)


@pytest.mark.parametrize("name", ["start.lock", "supervisor.lock", "owner.json", "x.draft"])
def test_a_folder_with_a_link_in_it_is_not_nothing(tmp_path: Path, name: str) -> None:
    folder = of_any(tmp_path)
    folder.mkdir(parents=True)
    (folder / name).symlink_to(tmp_path / "outside")
    why(tmp_path)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", [".gitignore", f"{STACK}/start.lock", f"{STACK}/supervisor.lock"])
def test_no_link_is_written_through(project: Path, name: str) -> None:
    link = project / ".gpupipe" / name
    link.unlink(missing_ok=True)
    link.symlink_to(project / "outside")
    folder = of(project)
    folder.create()
    with contextlib.suppress(OSError), folder.starting(patience_s=0.1):
        folder.supervisor_lock()
    assert not (project / "outside").exists()


def test_removing_it_forgets_it_and_a_removal_that_was_killed_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = project.parent / "state" / "gpupipe" / "stacks"

    # given a removal that ends before the last file
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ownership, "release", killed)
        with pytest.raises(KeyboardInterrupt):
            of(project).remove()
    # then it is still one's own
    of(project).remove()
    assert list(notes.iterdir()) == []
    assert not (project / ".gpupipe").exists()


def test_the_last_stack_takes_the_folder_along_and_no_other_does(project: Path) -> None:
    second = Folder.of(project / "gpupipe.toml", "second-dev")
    second.create()
    of(project).remove()
    assert (project / ".gpupipe" / ".gitignore").read_text() == "*\n"
    second.remove()
    assert not (project / ".gpupipe").exists()


def test_where_nothing_can_be_noted_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(TargetError, match=f"in {tmp_path}/file/gpupipe/stacks .* cannot be written") as refused:
        filled(tmp_path)
    assert refused.value.hint == "Set XDG_STATE_HOME to a folder of your own."


def test_it_is_noted_where_programs_keep_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("", "relative/is/ignored"):
        monkeypatch.setenv("XDG_STATE_HOME", given)
        monkeypatch.setenv("HOME", "/home/me")
        assert ownership.state_home() == Path("/home/me/.local/state")
