"""What the worker costs around SAM3's model on a CPU: milliseconds an image by stage, beside the tiny model's loop.

    python -m benchmarks.sam3_overhead [--images 24] [--kept 0,20,200] [--megapixels 1,12]

A tiny SAM3 with random weights, its answers forced to a number of blobs; the real task, engine and stream; images and
results in memory. CPU seconds count, not the clock: stages overlap, and the machine has other work. `decode` is reading
the JPEG and squeezing it to 1008×1008; `encode` is full-size masks, COCO, label image, overlay and thumbnail; `stream`
is what is left of the process's CPU: threads, queues, hashes, JSON. The full-size model takes a hundred times longer
than the tiny one and has the same stages around it.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import torch
from benchmarks.report import Report, parsed

from benchmarks import sam3_rig as rig
from gpuworker.contract.items import Source
from gpuworker.tasks.base import Decoded
from gpuworker.tasks.segment.task import Segment

SIZES: Mapping[str, tuple[int, int]] = {"0.02": (120, 160), "1": (866, 1155), "12": (3000, 4000)}
"""Megapixels -> height and width."""
SOURCE = Source(output="image", file_name="image.jpg")


def cpu_s() -> float:
    """CPU seconds of this process so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_ms(call: Callable[[], object], rounds: int) -> float:
    """The median of some rounds: CPU milliseconds of a call."""
    spent = []
    for _ in range(rounds):
        started = cpu_s()
        call()
        spent.append(1000 * (cpu_s() - started))
    return sorted(spent)[rounds // 2]


def stages_ms(task: Segment, picture: bytes, kept: int, rounds: int) -> dict[str, float]:
    """CPU an image of each step by itself."""
    decoded: Decoded = task.decode(picture, SOURCE, rig.OPTIONS)
    [found] = task.run([decoded], rig.OPTIONS)
    encoded = task.encode(decoded, found, rig.OPTIONS)
    if encoded.counts["annotations"] != kept:
        raise SystemExit(f"{encoded.counts['annotations']} annotations came back, and {kept} were forced")
    plain = {**rig.OPTIONS, "overlays": False, "thumbnails": False}
    return {
        "decode": cpu_ms(lambda: task.decode(picture, SOURCE, rig.OPTIONS), rounds),
        "infer": cpu_ms(lambda: task.run([decoded], rig.OPTIONS), rounds),
        "encode": cpu_ms(lambda: task.encode(decoded, found, rig.OPTIONS), rounds),
        "encode without overlay": cpu_ms(lambda: task.encode(decoded, found, plain), rounds),
    }


def whole_ms(task: Segment, pictures: Sequence[bytes], images: int) -> float:
    """CPU an image of the process while all of them go through the stream."""
    with tempfile.TemporaryDirectory() as folder:
        started = cpu_s()
        rig.streamed(task, pictures, images, Path(folder), device="cpu", options=rig.OPTIONS)
        return 1000 * (cpu_s() - started) / images


def measure(task: Segment, engine: rig.ForcedSam3, size: str, kept: int, given: argparse.Namespace) -> None:
    """Print the figures of one kind of image."""
    engine.force(kept)
    pictures = [rig.jpeg(*SIZES[size], seed) for seed in range(3)]
    stages = stages_ms(task, pictures[0], kept, given.rounds)
    whole = whole_ms(task, pictures, given.images)
    model, plain = stages.pop("infer"), stages.pop("encode without overlay")
    around = {**stages, "stream": max(0.0, whole - model - sum(stages.values()))}
    what = f"CPU around the model, {size} MP, {kept} kept"
    Report(is_smoke=given.smoke).ratio(what, "the tiny model's loop", sum(around.values()) / model)
    parts = "  ".join(f"{stage} {ms:.1f} ms ({ms / model:.0%})" for stage, ms in around.items())
    print(f"    {sum(around.values()):.1f} ms around {model:.1f} ms: {parts}")
    print(f"    encode without overlay and thumbnail {plain:.1f} ms", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=24, help="through the stream, a measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of each stage by itself")
    parser.add_argument("--kept", default="0,20,200", help="instances found in each image, separated by commas")
    parser.add_argument("--megapixels", default="1,12", help=f"of {', '.join(SIZES)}, separated by commas")
    given = parsed(parser, smoke={"images": 1, "rounds": 1, "kept": "5", "megapixels": "0.02"})
    torch.set_num_threads(1)  # threads that wait for each other would count as work
    cv2.setNumThreads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        task, engine, _ = rig.loaded_task(rig.write_weights(Path(folder) / "weights", tiny=True), "cpu")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}", *rig.STAND_INS)
        for size in given.megapixels.split(","):
            for kept in map(int, given.kept.split(",")):
                measure(task, engine, size, kept, given)
    print(f"in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
