"""fetch against the emulators: what lands in the folder, what travels, and how it goes on after a stop."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.finished_work import NOW, Work, a_fragment

from gpupipe.errors import GpupipeError, IntegrityError, JobError, UsageError
from gpupipe.jobs.beneath import Beneath
from gpupipe.jobs.fetch import FetchProgress, FetchReport, fetch
from gpuworker.contract import output_prefix, result_key
from gpuworker.ledger import JobState

JOB, LATER = "20261121-113052-field7-1f3a", "20261122-080000-field7-77aa"
FILES = {"overlay.jpg": b"a picture", "masks/x_masks.tif": b"labels", "thumb.jpg": b"small"}


def files_in(folder: Path) -> dict[str, bytes]:
    """Content by path, without gpupipe's own corner and the page."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith(".gpupipe/") and name != "report.html"
    }


def merged(report: FetchReport) -> Any:
    return json.loads(report.merged.read_text())


@pytest.fixture
def finished(work: Work) -> Work:
    """A finished job of two shards: three images done, one failed."""
    work.submit(JOB, ["b.jpg", "deep/a.jpg"], ["c.png", "bad.jpg"])
    work.commit(JOB, 1, ["c.png"], {"bad.jpg": "unreadable"}, files=FILES)
    work.commit(JOB, 0, ["b.jpg", "deep/a.jpg"], files=FILES)
    return work


def test_a_finished_job_lies_in_its_folder(finished: Work, tmp_path: Path) -> None:
    report = fetch(finished.aws, job=JOB, folder=tmp_path / "out")
    assert sorted(files_in(tmp_path / "out")) == sorted(
        [
            "annotations.json",
            "failures.json",
            *(
                f"items/{image}/{name}"
                for image in ("b", "c", "deep/a")
                for name in ("annotations.json", "masks/x_masks.tif", "overlay.jpg")
            ),
        ]
    )
    assert (report.done, report.failed, report.items, report.outstanding) == (3, 1, 4, 0)
    assert report.is_complete
    assert report.files_fetched == 9
    assert [image["file_name"] for image in merged(report)["images"]] == ["b.jpg", "deep/a.jpg", "c.png"]
    assert [(one["file_name"], one["code"]) for one in json.loads(report.failures.read_text())] == [
        ("bad.jpg", "unreadable")
    ]
    assert report.report.read_text().startswith("<!doctype html>")


def test_the_page_tells_which_engine_auto_was_and_what_that_means(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"], engine="auto")
    work.commit(JOB, 0, ["a.jpg"], engine={"name": "nanodet", "version": "1", "chosen": "there is no GPU"})
    fetch(work.aws, job=JOB, folder=tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "Engine auto was nanodet, because there is no GPU. Engine nanodet is a small detector" in page
    assert "Why this engine</dt><dd>there is no GPU" in page


def test_the_page_of_a_drop_in_job_tells_what_it_was_asked_for(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"], kind="drop-in", prompts=["a tree of its own"])
    work.commit(JOB, 0, ["a.jpg"])
    fetch(work.aws, job=JOB, folder=tmp_path / "out")
    assert "a tree of its own" in (tmp_path / "out/report.html").read_text()


def test_a_second_fetch_downloads_nothing_and_changes_nothing(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    before = files_in(tmp_path)
    again = fetch(finished.aws, job=JOB, folder=tmp_path)
    assert (again.files_fetched, again.files_kept, again.bytes_fetched) == (0, 9, 0)
    assert files_in(tmp_path) == before


def test_deleted_and_damaged_files_come_back(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    before = files_in(tmp_path)
    (tmp_path / "items/b/overlay.jpg").unlink()
    (tmp_path / "items/c/overlay.jpg").write_bytes(b"a pictore")
    (tmp_path / "annotations.json").unlink()
    assert fetch(finished.aws, job=JOB, folder=tmp_path).files_fetched == 2
    assert files_in(tmp_path) == before


def test_a_copied_folder_is_recognised(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path)
    assert fetch(finished.aws, job=JOB, folder=tmp_path).files_fetched == 0


def test_the_pinned_version_is_fetched_though_the_object_was_replaced(finished: Work, tmp_path: Path) -> None:
    finished.put(output_prefix("field7", JOB, "b") + "overlay.jpg", b"something newer")
    fetch(finished.aws, job=JOB, folder=tmp_path)
    assert (tmp_path / "items/b/overlay.jpg").read_bytes() == b"a picture"


def test_an_unfinished_job_gives_what_there_is_and_the_rest_later(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"], ["b.jpg", "c.jpg"])
    work.commit(JOB, 0, ["a.jpg"])
    first = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (first.is_complete, first.done, first.outstanding, first.items) == (False, 1, 2, 3)
    assert "The job is not finished" in first.report.read_text()
    work.commit(JOB, 1, ["b.jpg", "c.jpg"])
    rest = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (rest.is_complete, rest.done, rest.files_fetched, rest.files_kept) == (True, 3, 2, 1)


def test_a_job_without_a_single_result_gives_empty_documents(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert merged(report)["images"] == merged(report)["annotations"] == []
    assert json.loads(report.failures.read_text()) == []
    assert "There is no result yet" in report.report.read_text()


def test_a_cancelled_job_says_how_many_were_cancelled(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"], ["b.jpg", "c.jpg"])
    work.commit(JOB, 0, ["a.jpg"])
    work.ledger.cancel_job(JOB, "a person said so")
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (report.is_complete, report.done, report.cancelled, report.outstanding) == (True, 1, 2, 0)


def test_a_retry_mends_the_folder(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    finished.retry(JOB, 1, 1, ["bad.jpg"])
    finished.commit(JOB, 1, ["bad.jpg"], generation=1, files=FILES)
    report = fetch(finished.aws, job=JOB, folder=tmp_path)
    assert (report.done, report.failed, report.files_fetched) == (4, 0, 3)
    assert json.loads(report.failures.read_text()) == []


# --- drop-ins and projects ---


def test_an_image_that_was_dropped_in_twice_counts_once_with_its_newest_result(
    work: Work,
    tmp_path: Path,
) -> None:
    work.submit(JOB, ["a.jpg", "b.jpg"], ["a.jpg"], kind="drop-in")
    work.commit(JOB, 0, ["a.jpg", "b.jpg"], files={**FILES, "old.txt": b"only the old one has this"})
    assert fetch(work.aws, job=JOB, folder=tmp_path).done == 2
    work.commit(JOB, 1, {"a.jpg": a_fragment("a.jpg", scores=[0.7, 0.6])}, files={"overlay.jpg": b"newer"})
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (report.done, report.annotations) == (2, 3)
    assert sorted(path.name for path in (tmp_path / "items/a").rglob("*.*")) == ["annotations.json", "overlay.jpg"]
    assert (tmp_path / "items/a/overlay.jpg").read_bytes() == b"newer"
    assert (tmp_path / "items/b/old.txt").exists()
    assert fetch(work.aws, job=JOB, folder=tmp_path).files_fetched == 0


def test_a_project_is_the_newest_result_of_each_image_over_its_jobs(finished: Work, tmp_path: Path) -> None:
    finished.submit(LATER, ["c.png", "d.jpg", "b.jpg"], at=NOW + 50_000)
    finished.commit(
        LATER, 0, {"c.png": a_fragment("c.png", category=2), "d.jpg": a_fragment("d.jpg")}, {"b.jpg": "timeout"},
        header={"categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "boat"}]}, files=FILES, at=NOW + 50_100,
    )  # fmt: skip
    finished.submit("20261123-000000-other-0001", ["z.jpg"], project="other")
    finished.commit("20261123-000000-other-0001", 0, ["z.jpg"])
    report = fetch(finished.aws, project="field7", folder=tmp_path)
    assert report.jobs == (JOB, LATER)
    assert (report.done, report.failed) == (4, 1)
    document = merged(report)
    names = {image["id"]: image["file_name"] for image in document["images"]}
    assert list(names.values()) == ["b.jpg", "deep/a.jpg", "c.png", "d.jpg"], "b.jpg keeps its result: same input"
    categories = {category["id"]: category["name"] for category in document["categories"]}
    assert categories == {1: "tree", 2: "car", 3: "boat"}
    assert {names[one["image_id"]]: categories[one["category_id"]] for one in document["annotations"]} == {
        "b.jpg": "tree",
        "deep/a.jpg": "tree",
        "c.png": "boat",
        "d.jpg": "car",
    }
    assert json.loads((tmp_path / "items/c.png/annotations.json").read_text()) == [LATER, 0, "c.png"]
    assert fetch(finished.aws, project="field7", folder=tmp_path).files_fetched == 0


def test_a_project_that_grows_replaces_what_is_stale(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, project="field7", folder=tmp_path)
    finished.submit(LATER, ["b.jpg"], at=NOW + 50_000)
    finished.commit(LATER, 0, ["b.jpg"], at=NOW + 50_100)
    (tmp_path / "items/b.jpg/notes.txt").write_text("mine")
    assert fetch(finished.aws, project="field7", folder=tmp_path).files_fetched == 1
    assert sorted(path.name for path in (tmp_path / "items/b.jpg").rglob("*.*")) == ["annotations.json", "notes.txt"]
    assert json.loads((tmp_path / "items/b.jpg/annotations.json").read_text()) == [LATER, 0, "b.jpg"]


# --- which job, which folder ---


def test_without_a_name_the_newest_job_is_meant(finished: Work, tmp_path: Path) -> None:
    finished.submit(LATER, ["z.jpg"], project="other")
    finished.commit(LATER, 0, ["z.jpg"])
    assert fetch(finished.aws, folder=tmp_path).jobs == (LATER,)


def test_the_default_folder_is_named_like_what_it_holds(
    finished: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch(finished.aws, job=JOB).folder == Path("results") / JOB
    assert fetch(finished.aws, project="field7").folder == Path("results/field7")


def test_unknown_jobs_and_projects_are_errors_that_say_what_to_do(work: Work, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no job nope.*gpupipe jobs"):
        fetch(work.aws, job="nope", folder=tmp_path)
    with pytest.raises(JobError, match=r"no job of project field7 yet.*gpupipe submit"):
        fetch(work.aws, project="field7", folder=tmp_path)


def test_one_folder_never_mixes_two_jobs(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    finished.submit(LATER, ["b.jpg"])
    with pytest.raises(UsageError, match=f"holds the results of job {JOB}"):
        fetch(finished.aws, job=LATER, folder=tmp_path)


def test_hostile_names_stay_inside(work: Work, tmp_path: Path) -> None:
    names = [
        "../../../outside.jpg",
        "/abs.jpg",
        "a//b.jpg",
        "CON.jpg",
        "x" * 300 + ".jpg",
        "w:t?.jpg",
        "tree.jpg/..jpg",
    ]
    work.submit(JOB, names)
    work.commit(JOB, 0, names)
    report = fetch(work.aws, job=JOB, folder=tmp_path / "deep/er/out")
    assert report.files_fetched == len(names)
    assert len(list((tmp_path / "deep/er/out/items").rglob("annotations.json"))) == len(names)
    assert {path.relative_to(tmp_path).parts[:3] for path in tmp_path.rglob("*") if path.is_file()} == {
        ("deep", "er", "out")
    }
    assert fetch(work.aws, job=JOB, folder=tmp_path / "deep/er/out").files_fetched == 0


# --- links ---


@pytest.mark.parametrize("place", ["items", "items/deep", "items/deep/a", "items/deep/a/masks"])
def test_a_link_in_the_way_to_an_item_is_not_followed(finished: Work, tmp_path: Path, place: str) -> None:
    # given a folder in which somebody has put a link to what is dear
    dear, out = tmp_path / "dear", tmp_path / "out"
    for name in ("overlay.jpg", "a/overlay.jpg", "deep/a/overlay.jpg", "x_masks.tif", "masks/x_masks.tif"):
        (dear / name).parent.mkdir(parents=True, exist_ok=True)
        (dear / name).write_bytes(b"dear")
    before = files_in(dear)
    (out / place).parent.mkdir(parents=True)
    (out / ".gpupipe").mkdir()
    (out / ".gpupipe/holds.json").write_text(json.dumps(holds(finished)))
    (out / place).symlink_to(dear)
    # when
    with pytest.raises(GpupipeError) as refused:
        fetch(finished.aws, job=JOB, folder=out)
    # then it is named, and nothing was written through it
    assert f"{out / place} is a link to {dear}" in refused.value.message
    assert files_in(dear) == before
    # and without it the fetch goes on
    (out / place).unlink()
    assert fetch(finished.aws, job=JOB, folder=out).done == 3


def holds(work: Work) -> dict[str, str]:
    """The note of a folder for the job, as anybody can write it."""
    return {"job": JOB, "stack": work.aws.stack.id, "account": work.aws.stack.account, "pipeline": "segment"}


def test_a_folder_that_becomes_a_link_while_it_is_written_to_is_not_followed(
    finished: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dear, out = tmp_path / "dear", tmp_path / "out"
    dear.mkdir()
    # given somebody who exchanges an item's folder between the look at it and the writing
    look = Beneath.require_real

    def exchanged(self: Beneath, folder: Path) -> None:
        look(self, folder)
        if folder == out / "items/deep/a" and not folder.is_symlink():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(dear)

    monkeypatch.setattr(Beneath, "require_real", exchanged)
    with pytest.raises(GpupipeError, match="is a link to"):
        fetch(finished.aws, job=JOB, folder=out)
    assert list(dear.iterdir()) == []


@pytest.mark.parametrize("place", [".gpupipe", ".gpupipe/parts", ".gpupipe/thumbs", ".gpupipe/jobs"])
def test_a_link_in_our_own_corner_is_not_followed(finished: Work, tmp_path: Path, place: str) -> None:
    dear, out = tmp_path / "dear", tmp_path / "out"
    dear.mkdir()
    (dear / "old.jpg").write_bytes(b"dear")  # `thumbs` is cleared of what it does not show
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(dear)
    with pytest.raises(GpupipeError, match=f"{place} is a link to {dear}"):
        fetch(finished.aws, job=JOB, folder=out)
    assert files_in(dear) == {"old.jpg": b"dear"}


def test_files_that_are_links_are_replaced_and_not_written_through(finished: Work, tmp_path: Path) -> None:
    dear, out = tmp_path / "dear", tmp_path / "out"
    dear.write_bytes(b"dear")
    fetch(finished.aws, job=JOB, folder=out)
    names = ("items/b/overlay.jpg", "annotations.json", "failures.json", "report.html", ".gpupipe/holds.json")
    for name in names:
        content = (out / name).read_bytes()
        (out / name).unlink()
        (out / name).symlink_to(dear)
        if name.endswith("holds.json"):
            (out / name).unlink()
            (out / name).write_bytes(content)
    assert fetch(finished.aws, job=JOB, folder=out).files_fetched == 1
    assert dear.read_bytes() == b"dear"
    assert not any((out / name).is_symlink() for name in names)


def test_the_folder_itself_may_be_a_link(finished: Work, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert fetch(finished.aws, job=JOB, folder=tmp_path / "out").done == 3
    assert (tmp_path / "disk/items/b/overlay.jpg").exists()


@pytest.mark.parametrize("note", ["[]", "7", '{"job": {"a": "\\u001b[2J"}}', '{"a":' * 100_000])
def test_a_note_that_makes_no_sense_is_somebody_elses(finished: Work, tmp_path: Path, note: str) -> None:
    (tmp_path / ".gpupipe").mkdir()
    (tmp_path / ".gpupipe/holds.json").write_text(note)
    if note.startswith('{"a"'):
        assert fetch(finished.aws, job=JOB, folder=tmp_path).done == 3
        return
    with pytest.raises(UsageError, match="holds the results of") as refused:
        fetch(finished.aws, job=JOB, folder=tmp_path)
    assert "\x1b" not in refused.value.message


@pytest.mark.parametrize("place", ["results", f"results/{JOB}"])
def test_a_folder_that_nobody_named_is_no_link(
    finished: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dear").mkdir()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(tmp_path / "dear")
    with pytest.raises(GpupipeError, match=f"{place} is a link to"):
        fetch(finished.aws, job=JOB)
    assert list((tmp_path / "dear").iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_note_that_is_no_file_is_not_waited_for(finished: Work, tmp_path: Path, kind: str) -> None:
    note = tmp_path / ".gpupipe/holds.json"
    note.parent.mkdir()
    make = {"pipe": lambda: os.mkfifo(note), "link": lambda: note.symlink_to("/dev/zero"), "folder": note.mkdir}
    make[kind]()
    with pytest.raises(GpupipeError, match="cannot write"):
        fetch(finished.aws, job=JOB, folder=tmp_path)


def test_what_it_keeps_for_itself_is_its_owners(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path / "out")
    assert (tmp_path / "out/.gpupipe").stat().st_mode & 0o777 == 0o700


# --- what can go wrong ---


def test_stopped_in_the_middle_it_goes_on_where_it_was(work: Work, tmp_path: Path) -> None:
    names = [f"{number:03}.jpg" for number in range(200)]
    work.submit(JOB, names)
    work.commit(JOB, 0, names)

    def stop(progress: FetchProgress) -> None:
        if progress.files == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(work.aws, job=JOB, folder=tmp_path, on_progress=stop)
    assert not (tmp_path / "annotations.json").exists(), "a merge of half the results would look whole"
    assert not list(tmp_path.rglob("*.gpupipe-part"))
    here = len(list((tmp_path / "items").rglob("annotations.json")))
    assert 20 <= here < 200
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (report.files_kept, report.files_fetched) == (here, 200 - here)
    assert len(merged(report)["images"]) == 200


def test_an_older_merge_survives_a_stopped_fetch(finished: Work, tmp_path: Path) -> None:
    fetch(finished.aws, job=JOB, folder=tmp_path)
    before = (tmp_path / "annotations.json").read_bytes()
    (tmp_path / "items/b/overlay.jpg").unlink()

    def stop(progress: FetchProgress) -> None:
        if progress.files:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(finished.aws, job=JOB, folder=tmp_path, on_progress=stop)
    assert (tmp_path / "annotations.json").read_bytes() == before


def test_lost_and_damaged_objects_are_told_after_all_the_others_came(finished: Work, tmp_path: Path) -> None:
    lost = output_prefix("field7", JOB, "b") + "overlay.jpg"
    for version in finished.s3.list_object_versions(Bucket=finished.bucket, Prefix=lost)["Versions"]:
        finished.s3.delete_object(Bucket=finished.bucket, Key=lost, VersionId=version["VersionId"])
    with pytest.raises(IntegrityError, match=r"1 file\(s\) .* lost or damaged.*b/overlay\.jpg"):
        fetch(finished.aws, job=JOB, folder=tmp_path)
    here = files_in(tmp_path)
    assert len([name for name in here if name.startswith("items/")]) == 8
    assert len(json.loads(here["annotations.json"])["images"]) == 3


def test_bytes_that_are_not_what_the_commit_says_are_never_left_behind(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    result = work.commit(JOB, 0, ["a.jpg"])
    artifact = result.items[0].artifacts["annotations.json"]
    forged = {**vars(artifact), "sha256": "0" * 64}
    text = result.to_gzip()

    from gpuworker.contract import Artifact, ShardResult

    wrong = replace(
        ShardResult.from_gzip(text),
        items=[replace(result.items[0], artifacts={"annotations.json": Artifact(**forged)})],
    )
    work.put(result_key(JOB, 0, 0), wrong.to_gzip())
    with pytest.raises(IntegrityError, match="SHA-256"):
        fetch(work.aws, job=JOB, folder=tmp_path)
    assert not list((tmp_path / "items").rglob("annotations.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE stands in for a full disk")
def test_a_full_disk_is_said_plainly_and_the_fetch_can_go_on(
    work: Work,
    tmp_path: Path,
) -> None:
    work.submit(JOB, ["a.jpg"])
    work.commit(JOB, 0, ["a.jpg"], files={"overlay.jpg": os.urandom(300_000)})
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from pathlib import Path; from gpupipe.aws import Aws; from gpupipe.names import Stack;"
        "from gpupipe.jobs.fetch import fetch; from gpupipe.errors import GpupipeError\n"
        f"aws = Aws(stack={work.aws.stack!r}, endpoints={dict(work.aws.endpoints)!r},"
        f" credentials={dict(work.aws.credentials)!r})\n"
        f"try: fetch(aws, job={JOB!r}, folder=Path({str(tmp_path)!r}))\n"
        "except GpupipeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert os.strerror(errno.EFBIG) in done.stdout
    assert "cannot write" in done.stdout
    assert not list(tmp_path.rglob("overlay.jpg"))
    assert fetch(work.aws, job=JOB, folder=tmp_path).done == 1


def test_a_folder_that_cannot_be_made_is_said_plainly(finished: Work, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GpupipeError, match=r"cannot write .*file/out: Not a directory"):
        fetch(finished.aws, job=JOB, folder=tmp_path / "file/out")


def test_progress_reaches_the_totals(finished: Work, tmp_path: Path) -> None:
    seen: list[FetchProgress] = []
    fetch(finished.aws, job=JOB, folder=tmp_path, on_progress=seen.append)
    assert [one.step for one in (seen[0], seen[-1])] == ["fetch", "report"]
    assert (seen[-1].items, seen[-1].items_total, seen[-1].files) == (4, 4, 9)
    assert seen[-1].bytes == sum(len(data) for name, data in files_in(tmp_path).items() if name.startswith("items/"))


def test_a_job_that_stalled_is_not_complete(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    work.ledger.set_job_state(JOB, JobState.STALLED, reason="hard limit")
    assert not fetch(work.aws, job=JOB, folder=tmp_path).is_complete
