import threading
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.contract import Failure
from gpuworker.contract.items import ItemError
from gpuworker.pipeline.budget import BudgetClosed
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.pipeline.spool import Spool


class FileTask(FakeTask):
    """Takes files; keeps how its inputs came, and where those that came as files were."""

    takes_files = True

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, type] = {}
        self.paths: list[Path] = []

    def decode(self, data: Any, source: Any, options: Any) -> Any:
        self.came[source.output] = type(data)
        if isinstance(data, Path):
            self.paths.append(data)
            data = data.read_bytes()
        return super().decode(data, source, options)


def went(shard_run: ShardRun) -> list[str]:
    assert shard_run.wait(20)
    return [outcome.code if isinstance(outcome, Failure) else "" for outcome in shard_run.outcomes()]


def files(spool_folder: Path) -> list[Path]:
    return list(spool_folder.iterdir())


class TestSpool:
    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool" / "1.spooled").write_bytes(b"left behind")
        Spool(tmp_path / "spool")
        assert files(tmp_path / "spool") == []

    def test_files_have_names_of_their_own_and_go_once(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        one, other = spool.reserve(5), spool.reserve(5)
        assert one.path != other.path
        one.path.write_bytes(b"x")
        one.remove()
        one.remove()
        assert files(tmp_path) == []

    def test_who_comes_when_the_disk_is_full_waits_for_room(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path, limit_bytes=10)
        first = spool.reserve(6)
        second: list[Any] = []
        waiting = threading.Thread(target=lambda: second.append(spool.reserve(6)))
        waiting.start()
        waiting.join(0.2)
        assert second == []
        first.remove()
        waiting.join(10)
        assert len(second) == 1

    def test_a_file_larger_than_the_disk_is_too_large(self, tmp_path: Path) -> None:
        with pytest.raises(ItemError) as caught:
            Spool(tmp_path, limit_bytes=10).reserve(11)
        assert caught.value.code == "too_large"
        assert "compute.volume_gb" in caught.value.message

    def test_nobody_waits_for_a_closed_one(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        spool.close()
        with pytest.raises(BudgetClosed):
            spool.reserve(1)


class TestInTheStream:
    def test_large_inputs_come_as_files_which_are_gone_afterwards(self, station: Station, tmp_path: Path) -> None:
        # given a large item, a small one and two large ones that fail
        task, spool = FileTask(), Spool(tmp_path / "spool", from_bytes=20)
        [shard] = station.job(["tree " + "x" * 50, "tree", "bad " + "x" * 50, "refuse " + "x" * 50], send=False)
        shard_run = ShardRun(shard)
        # when
        stream = station.stream(task, station.journal(), spool=spool)
        stream.add(shard_run, range(4))
        # then
        assert went(shard_run) == ["", "", "unreadable", "unsupported"]
        assert [issubclass(task.came[f"{i:03d}"], Path) for i in range(4)] == [True, False, True, True]
        assert {path.parent for path in task.paths} == {tmp_path / "spool"}
        assert files(tmp_path / "spool") == []
        until(lambda: stream.budget.used_bytes == 0)

    def test_an_input_that_is_not_there_leaves_no_file(self, station: Station, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool", from_bytes=20)
        [shard] = station.job(["tree " + "x" * 50], send=False)
        item = shard.items[0]
        station.client("s3").delete_object(Bucket=station.name, Key=item.key, VersionId=item.version_id)
        shard_run = ShardRun(shard)
        station.stream(FileTask(), station.journal(), spool=spool).add(shard_run, [0])
        assert went(shard_run) == ["not_found"]
        assert files(tmp_path / "spool") == []

    def test_a_cancelled_shard_leaves_no_file(self, station: Station, tmp_path: Path) -> None:
        task, spool = FileTask(), Spool(tmp_path / "spool", from_bytes=20)
        [shard] = station.job(["hang-in-model " + "x" * 50], send=False)
        shard_run = ShardRun(shard)
        station.stream(task, station.journal(), spool=spool).add(shard_run, [0])
        until(lambda: task.batches)
        shard_run.cancel()
        FakeTask.let_go.set()
        until(lambda: not files(tmp_path / "spool"))

    def test_a_task_that_takes_bytes_gets_bytes(self, station: Station, tmp_path: Path) -> None:
        [shard] = station.job(["tree " + "x" * 50], send=False)
        shard_run = ShardRun(shard)
        station.stream(FakeTask(), station.journal(), spool=Spool(tmp_path, from_bytes=20)).add(shard_run, [0])
        assert went(shard_run) == [""]

    def test_a_feed_that_has_the_bytes_already_gives_bytes(self, station: Station, tmp_path: Path) -> None:
        class Having(ShardRun):
            gives_files = False

        task = FileTask()
        [shard] = station.job(["tree " + "x" * 50], send=False)
        shard_run = Having(shard)
        station.stream(task, station.journal(), spool=Spool(tmp_path, from_bytes=20)).add(shard_run, [0])
        assert went(shard_run) == [""]
        assert task.came == {"000": bytes}

    def test_a_suspect_s_process_is_given_the_file(self, station: Station, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool", from_bytes=20)
        [shard] = station.job(["large 99 " + "x" * 50], send=False)
        shard_run = ShardRun(shard)
        stream = station.stream(
            FileTask(), station.journal(), spool=spool, isolated="tests.gpuworker.pipeline.test_spool:FileTask"
        )
        stream.add(shard_run, [0], alone=[0])
        assert went(shard_run) == [""]
        assert files(tmp_path / "spool") == []
