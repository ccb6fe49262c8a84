"""Fetched results are found again: by job, by project, from wherever they were fetched, and never the wrong ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gpupipe.errors import JobError, UsageError
from gpupipe.jobs.folder import ResultFolder
from gpupipe.jobs.places import Places, place_at

OLD, NEW = "20261121-113052-field7-1f3a", "20261122-080000-field7-77aa"
NOON = 1_795_000_000.0


def fetched(folder: Path, *, at: float = NOON, is_whole: bool = True, **holds: str) -> Path:
    """A folder as `fetch` leaves it."""
    ResultFolder(folder).claim({**holds, "stack": "field-dev", "account": "1", "pipeline": "segment"})
    if is_whole:
        (folder / "report.html").write_text("<!doctype html>")
        os.utime(folder / "report.html", (at, at))
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where the person works."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def known(tmp_path: Path, here: Path) -> Places:
    return Places(notes=tmp_path / "notes", here=here)


def test_the_newest_is_found_in_the_usual_folder(known: Places, here: Path) -> None:
    fetched(here / "results" / OLD, job=OLD, at=NOON)
    new = fetched(here / "results" / NEW, job=NEW, at=NOON + 1)
    assert known.find().folder == new
    assert known.find(job=OLD).holds["job"] == OLD


def test_a_folder_of_any_name_is_found_where_the_person_works(known: Places, here: Path) -> None:
    folder = fetched(here / "field7-results", project="field7")
    assert known.find().folder == known.find(project="field7").folder == folder


def test_the_folder_itself_is_found_from_within(tmp_path: Path) -> None:
    folder = fetched(tmp_path / "out", job=OLD)
    assert Places(notes=None, here=folder).find().folder == folder


def test_what_went_elsewhere_was_noted(known: Places, tmp_path: Path) -> None:
    folder = fetched(tmp_path / "disk" / "out", job=OLD)
    known.note(folder)
    found = known.find(job=OLD[:8])
    assert (found.folder, found.is_here) == (folder, True)


def test_from_another_folder_it_is_found_too_and_said_to_be_from_elsewhere(known: Places, tmp_path: Path) -> None:
    known.note(fetched(tmp_path / "disk" / "out", job=OLD))
    found = Places(notes=known.notes, here=tmp_path / "other").find()
    assert (found.holds["job"], found.is_here) == (OLD, False)


def test_what_is_here_comes_before_newer_results_of_another_stack(known: Places, here: Path, tmp_path: Path) -> None:
    mine = fetched(here / "mine", project="field7", at=NOON)
    theirs = fetched(tmp_path / "theirs", project="field7", at=NOON + 100)
    Places(notes=known.notes, here=tmp_path).note(theirs)
    assert known.find(project="field7").folder == known.find().folder == mine


def test_a_note_of_what_is_gone_or_holds_something_else_now_misleads_nobody(known: Places, tmp_path: Path) -> None:
    known.note(tmp_path / "gone")
    folder = fetched(tmp_path / "reused", job=NEW)
    known.note(folder)
    with pytest.raises(JobError, match=f"no results of job {OLD}"):
        known.find(job=OLD)
    assert known.find().holds["job"] == NEW


def test_a_job_is_found_in_its_projects_folder_unless_it_has_its_own(known: Places, here: Path) -> None:
    project = fetched(here / "field7", project="field7", at=NOON + 9)
    (project / ".gpupipe" / "jobs" / OLD).mkdir(parents=True)
    assert known.find(job=OLD).folder == project
    own = fetched(here / "results" / OLD, job=OLD)
    assert known.find(job=OLD).folder == own
    assert known.find().folder == project


def test_a_beginning_that_several_jobs_share_is_not_guessed(known: Places, here: Path) -> None:
    for job in (OLD, NEW):
        fetched(here / "results" / job, job=job)
    with pytest.raises(JobError, match=f"2 fetched jobs begin with 2026112: {OLD}, {NEW}"):
        known.find(job="2026112")


def test_a_fetch_that_was_not_finished_names_the_command_that_goes_on(known: Places, here: Path) -> None:
    fetched(here / "my out", job=OLD, is_whole=False)
    with pytest.raises(JobError, match="was not finished") as caught:
        known.find()
    assert caught.value.hint == f"Go on with `gpupipe fetch {OLD} -o '{here}/my out'`."


def test_where_nothing_was_fetched_it_says_how_to(known: Places, here: Path) -> None:
    with pytest.raises(JobError, match="no results on this machine") as caught:
        known.find()
    assert "`gpupipe fetch --open`" in caught.value.hint
    with pytest.raises(JobError) as caught:
        known.find(project="field7")
    assert "`gpupipe fetch --project field7 --open`" in caught.value.hint
    (here / "pictures").mkdir()
    with pytest.raises(JobError) as caught:
        known.find(job="pictures")
    assert "`gpupipe open -o pictures`" in caught.value.hint


def test_notes_and_folders_that_others_wrote_are_no_results(known: Places, here: Path, tmp_path: Path) -> None:
    for number, text in enumerate(("", "[]", "{", json.dumps({"job": 7}), json.dumps({"job": ""}), "[" * 9999)):
        hidden = here / f"odd{number}" / ".gpupipe"
        hidden.mkdir(parents=True)
        (hidden / "holds.json").write_text(text)
        assert known.notes is not None
        known.notes.mkdir(exist_ok=True)
        (known.notes / f"{number}.json").write_text(text)
    linked = fetched(here / "linked", job=OLD, is_whole=False)
    (linked / "report.html").symlink_to("/etc/hostname")
    os.mkfifo(known.notes / "pipe.json")
    with pytest.raises(JobError, match="was not finished"):
        known.find(job=OLD)
    with pytest.raises(JobError, match="no results of job 8"):
        known.find(job="8")


def test_a_note_that_cannot_be_written_costs_nothing(tmp_path: Path, here: Path) -> None:
    (tmp_path / "file").touch()
    folder = fetched(here / "out", job=OLD)
    for notes in (tmp_path / "file" / "notes", None):
        known = Places(notes=notes, here=here)
        known.note(folder)
        assert known.find().folder == folder


def test_the_oldest_notes_are_forgotten(tmp_path: Path, here: Path) -> None:
    known = Places(notes=tmp_path / "notes", here=here, notes_max=2)
    assert known.notes is not None
    for number in range(3):
        known.note(fetched(tmp_path / f"out{number}", job=f"{OLD}{number}"))
        for file in known.notes.iterdir():
            os.utime(file, (file.stat().st_mtime - 10,) * 2)
    assert len(list(known.notes.iterdir())) == 2
    assert known.find(job=f"{OLD}2").folder == tmp_path / "out2"


# --- a folder that is named ---


def test_a_folder_that_is_named_needs_no_note(tmp_path: Path) -> None:
    folder = fetched(tmp_path / "out", job=OLD)
    assert place_at(folder).report == folder / "report.html"
    assert place_at(folder, job=OLD[:9]).holds["job"] == OLD


def test_a_report_that_was_sent_around_alone_is_shown(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<!doctype html>")
    assert place_at(tmp_path).report == tmp_path / "report.html"
    with pytest.raises(UsageError):
        place_at(tmp_path, job=OLD)


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("out", {"job": NEW}, f"holds the results of job {OLD}, not of job {NEW}"),
        ("out", {"project": "p"}, f"holds the results of job {OLD}, not of project p"),
        (".", {}, "holds nothing that gpupipe fetched"),
        ("nowhere", {}, "there is no folder"),
    ],
)
def test_a_folder_with_something_else_is_not_shown(tmp_path: Path, name: str, asked: dict[str, str], told: str) -> None:
    fetched(tmp_path / "out", job=OLD)
    with pytest.raises(UsageError, match=told):
        place_at(tmp_path / name, **asked)
