import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.imds import Service
from tests.gpuworker.station import Station, until

from gpuworker.contract import Message, Shard
from gpuworker.entries.poll import choose_device
from gpuworker.ledger import JobState, ShardState

ROOT = Path(__file__).parents[3]


class Machine:
    """Starts worker processes on one disk, and ends them."""

    def __init__(self, station: Station, imds: Service) -> None:
        self.station, self.imds = station, imds
        self.processes: list[subprocess.Popen[bytes]] = []
        station.folder.mkdir(exist_ok=True)
        station.client("logs").create_log_group(logGroupName=station.settings().log_group)

    def start(self, module: str = "tests.gpuworker.fake_worker", **settings: Any) -> "subprocess.Popen[bytes]":
        config = self.station.folder / "worker.json"
        config.write_text(self.station.settings(**{"idle_minutes": 0.05, **settings}).to_json())
        environment = {
            **self.station.local.environment,
            "GPUPIPE_WORKER_CONFIG": str(config),
            "GPUPIPE_WORK_DIR": str(self.station.folder),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.imds.metadata.endpoint,
            "PYTHONPATH": str(ROOT),
        }
        with (self.station.folder / "stdout").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, cwd=ROOT, stdout=out, stderr=out
            )
        self.processes.append(process)
        return process

    def finish(self, shard: Shard, *, starts_at_most: int, **settings: Any) -> int:
        """Start the worker, again whenever it fails as systemd does, until the job is over; how many starts it took.

        It never ends for being idle: what a killed worker held comes back only when nobody has told of it for a while.
        """
        for starts in range(1, starts_at_most + 1):
            process = self.start(idle_minutes=10, **settings)
            until(lambda process=process: self._is_over(shard) or process.poll() is not None, within_s=60)
            process.terminate()
            if process.wait(15) == 0:
                return starts
        raise AssertionError(f"failed {starts_at_most} times: {self.said[-2000:]}")

    def _is_over(self, shard: Shard) -> bool:
        job = self.station.ledger.job(shard.job)
        return job is not None and job.is_over

    @property
    def said(self) -> str:
        return (self.station.folder / "stdout").read_text()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def machine(station: Station) -> Iterator[Machine]:
    imds = Service()
    machine = Machine(station, imds)
    yield machine
    machine.close()
    imds.close()


def outputs(station: Station, shards: list[Shard]) -> tuple[list[str], dict[str, str]]:
    """Outputs of what the commits hold, and output -> code of what failed."""
    done: list[str] = []
    failed: dict[str, str] = {}
    for shard in shards:
        commit = station.commit(shard)
        assert commit is not None, f"shard {shard.number} was not committed"
        done += [item.output for item in commit.items]
        failed |= {failure.output: failure.code for failure in commit.failures}
    return done, failed


def records(station: Station, shards: list[Shard]) -> int:
    """How many items have their record."""
    prefix = f"processed/field7/{shards[0].job}/"
    listed = station.client("s3").list_objects_v2(Bucket=station.name, Prefix=prefix).get("Contents", [])
    return sum(entry["Key"].endswith("annotations.json") for entry in listed)


def test_worker_does_its_job_tells_of_it_everywhere_and_ends(station: Station, machine: Machine) -> None:
    # given
    shards = station.job(["tree", "bad", "house"], shard_items=2)
    # when
    assert machine.start().wait(60) == 0
    # then
    assert outputs(station, shards) == (["000", "002"], {"001": "unreadable"})
    job = station.ledger.job(shards[0].job)
    assert job is not None
    assert job.state is JobState.FINISHED
    told = [event["event"] for event in machine.events()]
    for event in ("worker_starts", "task_loaded", "worker_ready", "shard_started", "shard_done", "worker_ends"):
        assert event in told
    assert {event["machine"] for event in machine.events()} == {"i-0abc"}
    # and the same lines are in CloudWatch Logs and in the bucket
    group = station.settings().log_group
    streams = station.client("logs").filter_log_events(logGroupName=group)["events"]
    assert [json.loads(event["message"])["event"] for event in streams] == told
    date = machine.events()[0]["at"][:10]
    file = station.storage.read(f"logs/{date}/i-0abc.log")
    assert file is not None
    assert [json.loads(line)["event"] for line in file.data.splitlines()] == told


def test_told_to_end_it_gives_its_shard_back_quickly(station: Station, machine: Machine) -> None:
    station.visibility_timeout_s = 9  # a sixth of it is how often progress is told
    [shard] = station.job(["tree"] * 8, halts_after=4)
    process = machine.start(idle_minutes=10)
    until(lambda: station.row(shard).progress > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(12) == 0
    row = station.row(shard)
    assert (row.state, row.started) == (ShardState.PENDING, 0)
    assert station.messages() == {"waiting": 1, "held": 0}


@pytest.mark.exhaustive  # in one process: test_metadata.py; test_worker.py, test_spot_notice_is_written_on_the_machine
def test_spot_notice_makes_it_give_back_and_end(station: Station, machine: Machine) -> None:
    [shard] = station.job(["tree"] * 8, halts_after=4)
    process = machine.start(idle_minutes=10)
    until(lambda: station.row(shard).state is ShardState.RUNNING)
    machine.imds.values["spot/instance-action"] = '{"action": "terminate"}'
    assert process.wait(20) == 0
    assert station.row(shard).state is ShardState.PENDING
    assert any(event["event"] == "worker_ends" and event["reason"] == "spot" for event in machine.events())


@pytest.mark.exhaustive  # in one process: test_runner.py, test_redelivered_shard_skips_what_is_finished
def test_killed_in_the_middle_nothing_is_lost_and_nothing_counted_twice(station: Station, machine: Machine) -> None:
    # given a job of 60 images in three shards
    station.visibility_timeout_s = 3  # a receive under way when its worker is killed may take a message along
    shards = station.job(["tree"] * 60, shard_items=20, sleep_s=0.02)
    # when the worker is killed twice in the middle of it
    for finished in (5, 30):
        process = machine.start(idle_minutes=10)
        until(lambda finished=finished: records(station, shards) >= finished)
        process.kill()
        process.wait()
    machine.finish(shards[0], starts_at_most=1)
    # then all of it is there once
    done, failed = outputs(station, shards)
    assert (sorted(done), failed) == ([f"{i:03d}" for i in range(60)], {})
    totals = station.ledger.totals(shards[0].job)
    assert (totals.done, totals.failed, totals.counts) == (60, 0, {"annotations": 60})
    # and no message asks for more: one that a killed worker's receive took along comes back when all is done
    while (delivery := station.queue().receive(wait_s=0)) is not None:
        number = Message.from_json(delivery.body).number
        assert station.row(shards[number]).state is ShardState.DONE
        delivery.delete()
    # and what was finished before was not done again
    again = next(event for event in machine.events() if event["event"] == "shard_continued" and event["finished"])
    assert again["finished"] > 0


@pytest.mark.exhaustive  # a container that an item kills: test_serve.py; in one process: test_runner.py, test_stream.py
@pytest.mark.parametrize("deed", ["crash", "lose-gpu"])
def test_image_that_kills_every_process_is_the_only_failure(station: Station, machine: Machine, deed: str) -> None:
    # given a shard with one item that kills whatever process decodes it, or takes its GPU away
    station.visibility_timeout_s = 3
    [shard] = station.job(["tree"] * 12 + [deed] + ["tree"] * 12)
    # when the worker is started again after its crash, as systemd does
    starts = machine.finish(shard, starts_at_most=3)
    # then the neighbours are done, and the culprit is known
    done, failed = outputs(station, [shard])
    assert failed == {"012": "killed_worker"}
    assert len(done) == 24
    assert starts == 2
    alone = next(event for event in machine.events() if event["event"] == "suspects_run_alone")
    assert alone["items"] < 25, "only what was in its hands ran alone"


def test_model_that_cannot_be_loaded_ends_the_worker_with_an_error(machine: Machine) -> None:
    assert machine.start(task_options={"cannot_load": True}).wait(60) == 1
    failed = next(event for event in machine.events() if event["event"] == "worker_failed")
    assert "there is no such model" in failed["error"]


def test_machine_without_settings_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "GPUPIPE_WORKER_CONFIG": str(tmp_path / "none.json")}
    done = subprocess.run(
        [sys.executable, "-m", "gpuworker.entries.poll"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "none.json" in done.stderr


def test_machine_without_credentials_waits_and_then_says_so(station: Station, machine: Machine) -> None:
    hidden = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    config = station.folder / "worker.json"
    config.write_text(station.settings(idle_minutes=0.03).to_json())
    environment = {
        **{name: value for name, value in station.local.environment.items() if name not in hidden},
        "GPUPIPE_WORKER_CONFIG": str(config),
        "GPUPIPE_WORK_DIR": str(station.folder),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpuworker.fake_worker"], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "there are no AWS credentials" in done.stdout


def test_device_is_what_was_asked_for_and_never_a_gpu_that_is_not_there() -> None:
    assert choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"
    if not Path("/dev/nvidiactl").exists():
        assert choose_device("auto") == "cpu"


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="torch is asked where there is a GPU")
def test_torch_stays_unread_where_there_is_no_gpu() -> None:
    code = (
        "import sys; from gpuworker.entries.poll import choose_device; choose_device('auto'); print('torch' in "
        "sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
