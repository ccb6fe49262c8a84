"""What it costs to have a task behind HTTP: cold start, overhead at one client, throughput at sixteen, beside a peer.

    python -m benchmarks.serve [--task segment] [--image FILE] [--seconds 6] [--rounds 3] [--clients 16]

The server is the real one (`python -m gpuworker.entries.serve`, a process of its own) and so is the task. "Bare" is a
loop over decode, run, encode and JSON of the same image and options: in one thread for the overhead, in as many as
there are cores for the throughput. The clients are threads of this process and take their CPU from the same cores.

The peer is litserve (`pip install litserve`, which brings torch) serving the same task with a worker process a core. It
is left out with a word where it is not installed. Rounds of everything alternate; medians count. On a busy machine wall
time says little: look at the CPU time a request, which bounds the throughput (the clients' own is not in it).

Bars: first 200 on /ping 1.5 s after the process was started; overhead 5 ms a request; throughput 0.95 of the bare loop;
ratio to the peer 1.0.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from benchmarks.report import Report, parsed

from gpuworker.contract import WorkerSettings
from gpuworker.contract.items import Source
from gpuworker.process.thread_priority import share_interpreter_finely
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Task

COLD_BAR_S, OVERHEAD_BAR_MS, THROUGHPUT_BAR, PEER_BAR = 1.5, 5.0, 0.95, 1.0
EXAMPLES = Path(__file__).parents[1] / "src/gpupipe/examples"
IMAGES = {"segment": EXAMPLES / "photos/cat.jpg", "detect-rooms": EXAMPLES / "plans"}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "segment": {"masks": "none", "overlays": False, "thumbnails": False},
    "detect-rooms": {"overlays": False, "thumbnails": False, "labels": "off"},
}
"""Only the record is sent back, so that no loop and no server makes the other files."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task and one image."""

    task: str
    image: Path


def options_of(task: str) -> Mapping[str, Any]:
    """With which every loop and server runs it."""
    return OPTIONS.get(task, {})


def once(name: str, task: Task, data: bytes) -> bytes:
    """What every loop does with one image."""
    options = options_of(name)
    decoded = task.decode(data, Source(output="image", file_name="image"), options)
    [result] = task.run([decoded], options)
    return json.dumps(dict(task.encode(decoded, result, options).record)).encode()


# --- servers ---


@dataclass(kw_only=True)
class Server:
    """A process that serves the case's task."""

    port: int
    process: subprocess.Popen[bytes]
    body: bytes
    content_type: str
    path: str
    ready_s: float = 0.0

    def wait(self, health: str, *, within_s: float) -> None:
        """Until it answers 200."""
        started = time.perf_counter()
        while self._status(health) != 200:
            if self.process.poll() is not None or time.perf_counter() - started > within_s:
                raise RuntimeError(f"the server on port {self.port} did not get ready")
            time.sleep(0.002)
        self.ready_s = time.perf_counter() - started

    def _status(self, path: str) -> int:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """CPU seconds that it and its workers took so far."""
        root = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
        return sum(time.user + time.system for time in times)

    def client(self) -> Callable[[], bytes]:
        """One client with a connection of its own: each call is a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": self.content_type}

        def asked() -> http.client.HTTPResponse:
            connection.request("POST", self.path, body=self.body, headers=headers)
            return connection.getresponse()

        def call() -> bytes:
            try:
                answer = asked()
            except (ConnectionError, http.client.RemoteDisconnected):  # it was idle for longer than the server keeps it
                connection.close()
                answer = asked()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"answered {answer.status}: {body[:300]!r}")
            return body

        return call


@contextlib.contextmanager
def ours(case: Case) -> Iterator[Server]:
    """`python -m gpuworker.entries.serve`."""
    settings = WorkerSettings(
        stack="bench",
        pipeline="bench",
        region="us-east-1",
        account="",
        bucket="bench",
        queue_url="",
        table="bench",
        log_group="",
        task=case.task,
        task_options=options_of(case.task),
    )
    media = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}.get(case.image.suffix, "image/tiff")
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **settings.to_environment(),
            "GPUPIPE_BIND_HOST": "127.0.0.1",
            "GPUPIPE_WORK_DIR": folder,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }
        with _started(lambda _: ["-m", "gpuworker.entries.serve", "serve"], environment) as (port, process):
            body = case.image.read_bytes()
            server = Server(port=port, process=process, body=body, content_type=media, path="/invocations")
            server.wait("/ping", within_s=60)
            yield server


@contextlib.contextmanager
def litserve(case: Case) -> Iterator[Server]:
    """The peer."""
    body = json.dumps({"image": base64.b64encode(case.image.read_bytes()).decode()}).encode()
    with _started(lambda port: ["-m", "benchmarks.peer_litserve", case.task, str(port)], {}) as (port, process):
        server = Server(port=port, process=process, body=body, content_type="application/json", path="/predict")
        server.wait("/health", within_s=120)
        yield server


@contextlib.contextmanager
def _started(
    command: Callable[[int], list[str]], environment: Mapping[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, *command(port)],
        env={**os.environ, **environment, "SAGEMAKER_BIND_TO_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port, process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: litserve's own workers outlive it."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for one in family:  # psutil knows by the time it was started that a number is still the same process's
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


# --- measuring ---


def latency_ms(call: Callable[[], object], seconds: float) -> float:
    """Median of single calls, one after the other."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def pace(calls: list[Callable[[], object]], seconds: float, cpu_s: Callable[[], float]) -> tuple[float, float]:
    """Calls a second of all together, each in a thread of its own, and the CPU milliseconds of one."""
    begin, cpu = time.perf_counter(), cpu_s()

    def loop(call: Callable[[], object]) -> int:
        count = 0
        while time.perf_counter() < begin + seconds:
            call()
            count += 1
        return count

    with ThreadPoolExecutor(len(calls)) as threads:
        count = sum(threads.map(loop, calls))
    return count / (time.perf_counter() - begin), (cpu_s() - cpu) / count * 1e3


def cold_starts(case: Case, rounds: int) -> list[float]:
    """Seconds from the process's start to its first 200 on /ping."""
    seconds = []
    for _ in range(rounds):
        with ours(case) as server:
            seconds.append(server.ready_s)
    return seconds


def compare(report: Report, case: Case, given: argparse.Namespace) -> None:
    """Measure and print."""
    cold = cold_starts(case, given.cold_starts - 1)  # one more is the server's that is measured
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(ours(case))
        has_peer = importlib.util.find_spec("litserve") is not None
        peers = {"litserve": servers.enter_context(litserve(case))} if has_peer else {}
        figures = measure(case, {"ours": server, **peers}, given)
    cold_s = statistics.median([*cold, server.ready_s])
    middle = {name: statistics.median(values) for name, values in figures.items()}
    print(f"{'':<12}{'1 client, ms':>14}{f'{given.clients} clients, /s':>18}{'CPU ms a request':>20}")
    for name in dict.fromkeys(key.partition(" ")[0] for key in middle):
        print(f"{name:<12}{middle[name + ' ms']:>14.2f}{middle[name + ' /s']:>18.1f}{middle[name + ' cpu']:>20.2f}")
    report.bar("cold start to the first 200 on /ping", cold_s, COLD_BAR_S, "s")
    report.bar("overhead at one client", middle["ours ms"] - middle["bare ms"], OVERHEAD_BAR_MS, "ms")
    report.ratio("throughput", "the bare loop", ratio(figures, "bare"), bar=THROUGHPUT_BAR)
    if has_peer:
        report.ratio("throughput", "litserve", ratio(figures, "litserve"), bar=PEER_BAR)
    else:
        report.peer_missing("litserve")


def measure(case: Case, servers: Mapping[str, Server], given: argparse.Namespace) -> dict[str, list[float]]:
    """ "<who> <what>" -> a figure a round, of the bare loop and of each server."""
    task, data, cores = make_task(case.task), case.image.read_bytes(), os.cpu_count() or 1
    task.load("cpu", options_of(case.task))

    def bare() -> bytes:
        return once(case.task, task, data)

    figures: dict[str, list[float]] = defaultdict(list)
    for warm in (bare, *(server.client() for server in servers.values())):
        warm()
    for _ in range(given.rounds):
        many = pace([bare] * cores, given.seconds, time.process_time)
        note(figures, "bare", latency_ms(bare, given.seconds / 2), many)
        for name, server in servers.items():
            many = pace([server.client() for _ in range(given.clients)], given.seconds, server.cpu_s)
            note(figures, name, latency_ms(server.client(), given.seconds / 2), many)
    return figures


def note(figures: dict[str, list[float]], name: str, one_ms: float, many: tuple[float, float]) -> None:
    """Keep what one round gave."""
    for what, value in (("ms", one_ms), ("/s", many[0]), ("cpu", many[1])):
        figures[f"{name} {what}"].append(value)


def ratio(figures: Mapping[str, list[float]], other: str) -> float:
    """The median of the rounds' ratios of our throughput to the other's."""
    both = zip(figures["ours /s"], figures[f"{other} /s"], strict=True)
    return statistics.median(mine / theirs for mine, theirs in both)


def main() -> None:
    """Print the figures of one task."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", default="segment", choices=sorted(IMAGES))
    parser.add_argument("--image", type=Path, help="default: an example that fits the task")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16, help="for the throughput")
    parser.add_argument("--cold-starts", type=int, default=5)
    # The task that loads no model.
    smoke = {"task": "detect-rooms", "seconds": 0.05, "rounds": 1, "clients": 2, "cold_starts": 1}
    given = parsed(parser, smoke=smoke)
    image: Path = given.image or IMAGES[given.task]
    if image.is_dir():
        image = min(path for path in image.iterdir() if path.suffix in (".jpg", ".png", ".tif"))
    case = Case(task=given.task, image=image)
    share_interpreter_finely()
    print(f"{case.task}, {image.name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    compare(Report(is_smoke=given.smoke), case, given)


if __name__ == "__main__":
    main()
