"""submit: nothing starts with wrong bytes, nothing is uploaded twice, and every job starts exactly once."""

from __future__ import annotations

import os
import re
import sys
import time
import zipfile
from pathlib import Path

import pytest
from tests.committed import a_result
from tests.jobs.desk import Desk, a_desk, a_photo

from gpupipe.errors import InputError, NotDeployedError, StoppedError, UploadError, UsageError
from gpupipe.jobs import draft as drafts
from gpupipe.jobs import events
from gpupipe.jobs.inputs import collect
from gpupipe.jobs.listing import undispatched
from gpupipe.jobs.present import Present
from gpupipe.jobs.submit import SubmitProgress, SubmittedJob, submit
from gpupipe.jobs.transfer import PART_BYTES
from gpupipe.local.emulators import Emulators
from gpuworker.contract import manifest_key
from gpuworker.ledger import JobRecord, JobState, ShardRecord


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six files, two of which share a stem."""
    for name in ("a.jpg", "a.png", "b c.jpg", "deep/d+e.jpg", "deep/ä.jpg", "notes.txt", "z.jpg"):
        a_photo(tmp_path / "images" / name)
    (tmp_path / "images/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "images"


def sent(desk: Desk, *places: Path | str, project: str = "field7", **more: object) -> SubmittedJob:
    return submit(desk.ctx, [str(place) for place in places], project=project, **more)  # type: ignore[arg-type]


def test_a_folder_becomes_a_job_with_everything_a_worker_needs(desk: Desk, images: Path) -> None:
    started = time.time()
    job = sent(desk, images, prompts=["Dogs"], assignments=["score_threshold=0.25"])
    # the job's name sorts by time and tells the project
    assert re.fullmatch(r"\d{8}-\d{6}-field7-[0-9a-f]{4}", job.job)
    assert (job.items, job.uploaded, job.unchanged, job.skipped) == (6, 6, 0, {"sidecar file": 1})
    assert job.bytes == job.uploaded_bytes == sum(p.stat().st_size for p in images.rglob("*.*g"))
    assert "80 everyday things" in job.notice
    # the specification holds canonical options
    spec = desk.spec(job.job)
    assert (spec.pipeline, spec.project, spec.task, spec.kind, spec.hold) == (
        "segment",
        "field7",
        "segment",
        "submitted",
        False,
    )
    assert (spec.options["prompts"], spec.options["score_threshold"]) == (["dog"], 0.25)
    assert started - 1 <= spec.created_at <= time.time()
    # each item pins what was uploaded, under a name of its own
    (shard,) = desk.shards(job.job)
    assert [item.output for item in shard.items] == ["a.jpg", "a.png", "b c", "deep/d+e", "deep/ä", "z"]
    assert shard.options == spec.options
    for item in shard.items:
        content = (images / item.file_name).read_bytes()
        assert desk.get(item.key, item.version_id) == content
        assert (item.size, '"' in item.etag) == (len(content), False)
    assert desk.manifest(job.job).shards == {"0": 6}
    # its marker stays, and the claim on its content
    assert desk.keys("jobs/drafts/")[0] == f"jobs/drafts/{spec.fingerprint}.json"
    assert len(desk.keys("jobs/drafts/started/")) == 1


def test_large_jobs_are_cut_into_shards_by_the_time_an_item_takes(desk: Desk, tmp_path: Path) -> None:
    for number in range(230):
        a_photo(tmp_path / f"{number:03}.jpg", b"x")
    job = sent(desk, tmp_path)
    # 90 s of 0.4 s each
    assert desk.manifest(job.job).shards == {"0": 225, "1": 5}
    names = [item.file_name for shard in desk.shards(job.job) for item in shard.items]
    assert names == [f"{number:03}.jpg" for number in range(230)]


def test_large_maps_are_shared_out_by_their_size(desk: Desk, tmp_path: Path) -> None:
    # given four maps of a hundred tiles each, which one machine would be busy with for minutes
    for number in range(4):
        path = tmp_path / "maps" / f"{number:02}.tif"
        a_photo(path)
        os.truncate(path, 1_000_000)
    # when
    job = sent(desk, tmp_path / "maps", hold=True, assignments=["tile_size=64"])
    # then
    assert job.shards == 4


def test_measured_times_of_an_earlier_job_size_the_shards(desk: Desk, tmp_path: Path) -> None:
    a_photo(tmp_path / "a.jpg")
    first = sent(desk, tmp_path)
    ledger = desk.ctx.ledger
    record = JobRecord(
        job=first.job,
        pipeline="segment",
        project="field7",
        task="segment",
        kind="submitted",
        state=JobState.PENDING,
        created_at=1.0,
        items=40,
        shards=1,
    )
    ledger.open_job(record, [ShardRecord(job=first.job, number=0, items=40)])
    ledger.count_result(a_result(first.job, 0, done=40, seconds={"wall": 1200.0}, machine="i"))
    assert ledger.finish_if_complete(first.job)
    for number in range(7):
        a_photo(tmp_path / f"{number}.jpg")
    # 30 s an item: three a shard
    assert desk.manifest(sent(desk, tmp_path).job).shards == {"0": 3, "1": 3, "2": 2}


def test_a_second_job_of_the_same_uploads_nothing(desk: Desk, images: Path) -> None:
    first = sent(desk, images)
    second = sent(desk, images, again=True)
    assert (second.uploaded, second.unchanged, second.uploaded_bytes, second.attached) == (0, 6, 0, False)
    assert second.job != first.job
    assert set(desk.versions("inputs/").values()) == {1}
    assert desk.shards(second.job)[0].items == desk.shards(first.job)[0].items


def test_only_what_changed_is_uploaded_again(desk: Desk, images: Path) -> None:
    sent(desk, images)
    os.utime(images / "z.jpg")
    (images / "b c.jpg").write_bytes((images / "b c.jpg").read_bytes()[:-1] + b"?")
    a_photo(images / "new.jpg")
    second = sent(desk, images)
    assert (second.uploaded, second.unchanged) == (2, 5)
    assert {key for key, count in desk.versions("inputs/").items() if count == 2} == {"inputs/field7/b c.jpg"}


def test_large_files_are_known_again_too(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "big.tif").write_bytes(b"II*\0" + os.urandom(PART_BYTES))
    assert sent(desk, tmp_path).uploaded == 1
    assert sent(desk, tmp_path).unchanged == 1


def test_an_archive_and_a_folder_in_one_job(desk: Desk, images: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("from zip/1.jpg", b"\xff\xd8\xff 1")
        archive.writestr("from zip/2.jpg", b"\xff\xd8\xff" + bytes(PART_BYTES))
    job = sent(desk, images, tmp_path / "more.zip")
    assert job.items == 8
    assert desk.get("inputs/field7/from zip/1.jpg") == b"\xff\xd8\xff 1"
    assert len(desk.get("inputs/field7/from zip/2.jpg")) == PART_BYTES + 3
    assert sent(desk, images, tmp_path / "more.zip", again=True).unchanged == 8


def test_hold_is_written_down(desk: Desk, images: Path) -> None:
    job = sent(desk, images, hold=True)
    assert job.is_held
    assert desk.spec(job.job).hold


def test_progress_tells_every_step_and_ends_complete(desk: Desk, images: Path) -> None:
    told: list[SubmitProgress] = []
    job = sent(desk, images, on_progress=told.append)
    assert list(dict.fromkeys(progress.step for progress in told)) == ["find", "compare", "upload", "start"]
    last = told[-1]
    assert (last.files, last.files_total, last.bytes, last.bytes_total) == (6, 6, job.bytes, job.bytes)


# --- refusals before anything is uploaded ---


def test_mistakes_are_refused_before_anything_is_written(desk: Desk, images: Path) -> None:
    with pytest.raises(InputError, match=r"does not know 'unicorn'"):
        sent(desk, images, prompts=["unicorn"])
    with pytest.raises(UsageError, match="no option 'speed'"):
        sent(desk, images, assignments=["speed=9"])
    with pytest.raises(InputError, match="cannot be a project's name"):
        sent(desk, images, project="a/b")
    with pytest.raises(InputError, match=r"notes\.txt is not an image"):
        sent(desk, images, images / "notes.txt")
    assert desk.keys() == []


def test_heic_for_a_local_worker_without_pillow_heif_uploads_nothing(
    desk: Desk, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (images / "IMG_1.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf")
    with pytest.raises(InputError, match=r"IMG_1\.heic") as refused:
        sent(desk, images)
    assert "pip install 'gpupipe-aws[heif]'" in refused.value.hint
    assert desk.keys() == []


def test_without_a_stack_it_says_what_to_do(desk: Desk, images: Path) -> None:
    desk.s3.delete_bucket(Bucket=desk.ctx.bucket)
    with pytest.raises(NotDeployedError, match="gpupipe up"):
        sent(desk, images)


# --- changes and stops in the middle ---


def test_files_that_change_meanwhile_start_no_job_and_the_rest_is_kept(desk: Desk, images: Path) -> None:
    def meddle(progress: SubmitProgress) -> None:
        if progress.step == "compare":
            (images / "z.jpg").write_bytes(b"\xff\xd8\xff something else")
            (images / "a.png").unlink()

    with pytest.raises(InputError) as caught:
        sent(desk, images, on_progress=meddle)
    for part in ("2 of 6 files", "no job was started", "z.jpg was changed", "a.png is not there any more"):
        assert part in str(caught.value)
    assert not [key for key in desk.keys("jobs/") if key.endswith("manifest.json")]
    # submitted again as the folder is now
    job = sent(desk, images)
    assert (job.items, job.uploaded, job.unchanged) == (5, 1, 4)
    assert desk.get("inputs/field7/z.jpg") == b"\xff\xd8\xff something else"


def test_a_damaged_member_of_an_archive_is_named_and_leaves_no_job_behind(desk: Desk, tmp_path: Path) -> None:
    # given an archive whose directory is whole, and one member of which does not have the checksum it says
    place = tmp_path / "photos.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.writestr(name, b"\xff\xd8\xff" + name.encode() * 50)
    place.write_bytes(place.read_bytes().replace(b"b.jpgb.jpg", b"b.jpgB.jpg", 1))
    # when it is submitted, then it fails with the member's name, as work that has failed and not as a wrong word
    with pytest.raises(UploadError, match=r"photos\.zip:b\.jpg.*CRC") as caught:
        sent(desk, place)
    assert caught.value.exit_code == 1
    # and what was begun is over: nobody waits for it, and nothing goes on with it
    [job] = undispatched(desk.ctx)
    assert job.state == JobState.CANCELLED
    with pytest.raises(UploadError):
        sent(desk, place)
    assert {one.state for one in undispatched(desk.ctx)} == {JobState.CANCELLED}
    assert len(undispatched(desk.ctx)) == 2


@pytest.mark.parametrize(("step", "files"), [("compare", 0), ("upload", 1), ("upload", 3), ("upload", 6), ("start", 6)])
def test_stopped_anywhere_the_same_command_goes_on_with_the_same_job(
    desk: Desk, images: Path, step: str, files: int
) -> None:
    def stop(progress: SubmitProgress) -> None:
        if (progress.step, progress.files) == (step, files):
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match=rf"stopped: {files} of 6 files are uploaded.*goes on with job") as caught:
        sent(desk, images, on_progress=stop)
    assert caught.value.exit_code == 130
    job = sent(desk, images)
    assert job.job in str(caught.value)
    assert (job.is_resumed, job.attached, job.items) == (True, False, 6)
    assert job.unchanged >= files
    assert set(desk.versions("inputs/").values()) == {1}
    assert len([key for key in desk.keys("jobs/") if key.endswith("manifest.json")]) == 1
    assert len(desk.shards(job.job)[0].items) == 6


def test_two_machines_that_submit_the_same_start_one_job(desk: Desk, images: Path) -> None:
    rivals: list[SubmittedJob] = []

    def rival(progress: SubmitProgress) -> None:
        if progress.step == "start" and not rivals:
            rivals.append(sent(desk, images))

    job = sent(desk, images, on_progress=rival)
    assert (rivals[0].job, rivals[0].attached, rivals[0].is_resumed) == (job.job, False, True)
    assert job.attached
    assert desk.versions("jobs/")[manifest_key(job.job)] == 1


def test_another_option_or_project_is_another_job(desk: Desk, images: Path) -> None:
    def stop(progress: SubmitProgress) -> None:
        if progress.step == "start":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError) as caught:
        sent(desk, images, on_progress=stop)
    for job in (sent(desk, images, prompts=["dog"]), sent(desk, images, project="field8")):
        assert job.job not in str(caught.value)
        assert not job.is_resumed


def test_an_old_or_unreadable_draft_is_left_alone(desk: Desk) -> None:
    first = drafts.open_draft(desk.ctx, "f1", project="p", shard_items=5, now=1_000_000.0)
    same = drafts.open_draft(desk.ctx, "f1", project="p", shard_items=9, now=1_000_100.0)
    assert (same.job, same.shard_items, same.is_resumed) == (first.job, 5, True)
    later = drafts.open_draft(desk.ctx, "f1", project="p", shard_items=9, now=1_000_000.0 + 8 * 86_400)
    assert (later.job != first.job, later.shard_items, later.is_resumed) == (True, 9, False)
    desk.put("jobs/drafts/f2.json", b"not json")
    assert drafts.open_draft(desk.ctx, "f2", project="p", shard_items=5, now=1.0).is_resumed is False


# --- what is there already ---


@pytest.mark.parametrize(("spare_keys", "page_keys"), [(2_000, 1_000), (2_000, 2), (-27, 2)])
def test_what_is_there_is_found_by_listing_and_among_very_many_by_asking(
    desk: Desk, tmp_path: Path, spare_keys: int, page_keys: int
) -> None:
    for number in range(12):
        desk.put(f"inputs/p/{number:02}.jpg", b"old")
    desk.put("inputs/p/11.jpg", b"newer")
    desk.put("inputs/p/13.jpg")
    desk.s3.delete_object(Bucket=desk.ctx.bucket, Key="inputs/p/13.jpg")
    for name in ("00.jpg", "11.jpg", "12.jpg", "13.jpg"):
        a_photo(tmp_path / name)
    files = collect([str(tmp_path)], suffixes=frozenset({".jpg"}), project="p").files
    present = Present(desk.ctx, "p", files, spare_keys=spare_keys, page_keys=page_keys)
    found = [present.find(f"inputs/p/{file.path}") for file in files]
    assert [one and one.size for one in found] == [3, 5, None, None]
    assert found[1] is not None
    assert desk.get("inputs/p/11.jpg", found[1].version_id) == b"newer"


# --- requests to dispatch ---


def test_requests_are_as_dispatch_reads_them(desk: Desk) -> None:
    events.announce_manifest(desk.ctx, "j1", 2)
    objects = [{"key": f"incoming/p/{'x' * 900}{number}.jpg", "etag": "e", "size": 5} for number in range(500)]
    assert events.announce_objects(desk.ctx, objects) == 500
    first, *rest = desk.received(desk.ctx.event_queue_url)
    assert first == {"gpupipe": "manifest", "job": "j1", "generation": 2}
    assert len(rest) > 1
    assert [one for body in rest for one in body["objects"]] == objects
    assert {body["gpupipe"] for body in rest} == {"rescan"}


def test_a_job_for_a_realtime_endpoint_cannot_be_held(emulated: Emulators, images: Path) -> None:
    """The endpoint always runs and would begin at once; told before anything is uploaded."""
    realtime = a_desk(emulated, "held", kind="endpoint", mode="realtime")
    with pytest.raises(UsageError, match="cannot be held"):
        sent(realtime, images, hold=True)
    assert realtime.keys("") == []
    assert sent(realtime, images).items == 6
