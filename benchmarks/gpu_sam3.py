"""SAM3 on a GPU: how much of the bare model's speed the worker keeps, where time goes, and what 1,000 images cost.

    PYTHONPATH=worker_image python3 benchmarks/gpu_sam3.py [--kept 0,20,200] [--megapixels 1,12] [--compile]

(`benchmarks/gpu_check.sh` runs it with what a bare machine lacks, after the tests marked `gpu`.)

Runs on any CUDA machine whose Python has torch, transformers (with SAM3), OpenCV and tifffile; it says what else is
missing and stood in for. The weights are random and of full size (the same arithmetic; made once, 1.7 GB); the answers
are forced to a number of blobs. The worker is the real one (task `segment` with overlays, thumbnails and masks, its
stream and engine); images and results stay in memory. `--tiny --device cpu` tries it out where there is no GPU, and
says nothing about speed.

bare      the model in a loop over a batch that lies on its device, measured in the same run
E         images a second through the worker over those of the bare model (bar 0.97)
GPU idle  by NVML: the share of the time in which no kernel ran
stages    seconds of their threads, which overlap; infer holds the wait for the batch before it, which another thread
          has given to the GPU
Bars: 30 ms an image for one prompt on an H200, aim 15; the first result at most 1 s after the model is loaded; at most
8 GB at batch 1 in float16.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import sam3_rig as rig  # noqa: I001 - first: it says what is missing on this machine

import torch

from gpuworker.engines.sam3.compiling import CompiledLater
from gpuworker.engines.sam3.memory import trial
from gpuworker.engines.sam3.network import Sam3Network
from gpuworker.process.gauge import gauge_of

SIZES: Mapping[str, tuple[int, int]] = {"1": (866, 1155), "12": (3000, 4000)}
"""Megapixels -> height and width."""
HOURLY_USD: Mapping[str, tuple[str, float]] = {
    "T4": ("g4dn.xlarge", 0.526),
    "A10G": ("g5.xlarge", 1.006),
    "L4": ("g6.xlarge", 0.8048),
    "L40S": ("g6e.xlarge", 1.861),
}
"""On-demand, us-east-1, by card; of others --usd-per-hour has to tell (an H100 or H200 is an eighth of a p5)."""
PLAIN_USD = 2.10
"""What 1,000 images cost by the plain script (one image at a time, float32) on a T4."""
BARS = {"efficiency": 0.97, "ms": 30.0, "first_s": 1.0, "batch_1_gb": 8.0}
BATCHES_AT_LEAST = 4


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One kind of image through the worker."""

    megapixels: str
    kept: int
    images: int
    images_a_second: float
    bare_images_a_second: float
    stage_ms: Mapping[str, float]
    gpu_idle: float | None
    peak_gb: float
    written_kb: float

    @property
    def ms(self) -> float:
        return 1000 / self.images_a_second

    @property
    def efficiency(self) -> float:
        return self.images_a_second / self.bare_images_a_second


def measure(task: Any, engine: rig.ForcedSam3, given: argparse.Namespace, size: str, kept: int) -> Measured:
    """The bare model, and at once images through the worker for about `given.seconds`."""
    engine.force(None)
    bare = rig.bare_images_a_second(
        engine.network, engine.batch_size, prompts=given.prompts, seconds=min(3.0, given.seconds)
    )
    engine.force(kept)
    height, width = SIZES[size]
    pictures = [rig.jpeg(height, width, seed) for seed in range(given.pictures)]
    device, options = given.device, options_of(given)
    with tempfile.TemporaryDirectory() as folder:
        warm = rig.streamed(task, pictures, 2 * engine.batch_size, Path(folder), device=device, options=options)
        rate = min(bare, warm.images_a_second * 2)
        images = max(BATCHES_AT_LEAST * engine.batch_size, int(rate * given.seconds))
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        gauge = gauge_of(device).start()
        with gauge.share() as gpu:
            done = rig.streamed(task, pictures, images, Path(folder), device=device, options=options)
        gauge.close()
    expected = kept * images * given.prompts
    if done.annotations != expected:
        raise SystemExit(f"{done.annotations} annotations came back, and {expected} were forced")
    return Measured(
        megapixels=size,
        kept=kept,
        images=images,
        images_a_second=done.images_a_second,
        bare_images_a_second=bare,
        stage_ms={stage: 1000 * spent / images for stage, spent in done.seconds.items()},
        gpu_idle=1 - gpu.busy_s / gpu.observed_s if gpu.observed_s else None,
        peak_gb=peak_gb(device),
        written_kb=done.written_bytes / images / 1000,
    )


def options_of(given: argparse.Namespace) -> Mapping[str, Any]:
    """As a job would say it; prompts of one token each."""
    prompts = ["tree", *(f"tree {i}" for i in range(2, given.prompts + 1))]
    return {**rig.OPTIONS, "prompts": prompts, "overlays": not given.no_overlays, "thumbnails": not given.no_overlays}


def peak_gb(device: str) -> float:
    """The most that torch has held since it was last reset."""
    return 0.0 if device == "cpu" else torch.cuda.max_memory_reserved(device) / 1e9


def first_result_s(task: Any, given: argparse.Namespace) -> float:
    """One image of one megapixel, the first that this process sees."""
    with tempfile.TemporaryDirectory() as folder:
        picture = rig.jpeg(*SIZES["1"], seed=99)
        return rig.streamed(task, [picture], 1, Path(folder), device=given.device, options=options_of(given)).wall_s


def batch_1_gb(weights: Path, device: str) -> float:
    """The most memory, weights included, for one picture and one prompt in float16. Call it with no other model."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    network = Sam3Network(weights, device=device, dtype=torch.float16)
    with torch.inference_mode():
        trial(network.try_out, 1, device)
    return peak_gb(device)


def compiled(engine: rig.ForcedSam3, timeout_s: float) -> str:
    """Have the vision encoder compiled now, whatever it is worth; what came of it, and how long it took."""
    later = engine.network.encoder
    if not isinstance(later, CompiledLater):
        return "not compiled: only on CUDA"
    started = time.perf_counter()
    later.expect(10**9)
    return f"{later.wait(max(0.0, timeout_s))} after {time.perf_counter() - started:.0f} s"


# --- the report ---


def about(device: str) -> str:
    """The machine, as figures need it beside them."""
    name = "no GPU" if device == "cpu" else torch.cuda.get_device_name(device)
    return f"{name}, {os.cpu_count()} cores for decoding and encoding, torch {torch.__version__}"


def cost_text(seconds_each: float, device: str, usd_per_hour: float | None) -> str:
    """Dollars for 1,000 images on the instance that has this card."""
    card = "" if device == "cpu" else torch.cuda.get_device_name(device).removeprefix("NVIDIA ").removeprefix("Tesla ")
    instance, price = HOURLY_USD.get(card, ("this machine", None))
    price = usd_per_hour or price
    if price is None:
        return f"dollars: no price is known for {card or 'a machine without a GPU'}; --usd-per-hour tells it"
    cost = seconds_each * 1000 * price / 3600
    return (
        f"${cost:.4f} for 1,000 images on {instance} (${price:g} an hour); the plain script on a T4: ${PLAIN_USD:.2f}"
    )


def shown(one: Measured) -> str:
    """A line of the table, and where an image's time goes."""
    idle = "not known" if one.gpu_idle is None else f"{one.gpu_idle:.1%}"
    total = sum(one.stage_ms.values())
    stages = "  ".join(f"{stage} {ms:.1f} ms {ms / total:.0%}" for stage, ms in one.stage_ms.items())
    return (
        f"{one.megapixels:>2} MP, {one.kept:>3} kept: {one.ms:7.1f} ms an image ({one.images} images), "
        f"E = {one.efficiency:.3f} of {1000 / one.bare_images_a_second:.1f} ms bare, "
        f"GPU idle {idle}, peak {one.peak_gb:.1f} GB, {one.written_kb:.0f} kB written\n     {stages}"
    )


def bar(name: str, value: float, limit: float, *, at_least: bool = False) -> str:
    is_met = value >= limit if at_least else value <= limit
    return f"{name}: {value:.3g} (bar {limit:g}: {'met' if is_met else 'MISSED'})"


def verdicts(found: Sequence[Measured], first_s: float, memory_gb: float | None) -> list[str]:
    """Each bar with the figure that counts for it."""
    worst, slowest = min(one.efficiency for one in found), max(one.ms for one in found)
    lines = [
        bar("worst E", worst, BARS["efficiency"], at_least=True),
        bar("slowest ms an image (H200)", slowest, BARS["ms"]),
        bar("seconds from loaded to the first result", first_s, BARS["first_s"]),
    ]
    return lines + ([] if memory_gb is None else [bar("GB at batch 1 in float16", memory_gb, BARS["batch_1_gb"])])


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the benchmark out")
    parser.add_argument("--kept", default="0,20,200", help="instances found in each image, separated by commas")
    parser.add_argument("--megapixels", default="1,12", help="1, 12 or both, separated by a comma")
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="about how long each measurement is")
    parser.add_argument("--pictures", type=int, default=4, help="different inputs")
    parser.add_argument("--no-overlays", action="store_true", help="neither overlays nor thumbnails")
    parser.add_argument("--compile", action="store_true", help="measure again with the vision encoder compiled")
    parser.add_argument("--usd-per-hour", type=float, help="of the machine, where its card is not a known instance's")
    parser.add_argument("--weights", type=Path, help="where the random weights are kept")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no measurement after so many")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print, the figures as one JSON line last; exit status 1 where there is no such device."""
    given = parsed(words)
    given.ends_at = time.monotonic() + 60 * given.minutes
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here; --tiny --device cpu tries the benchmark out", file=sys.stderr)
        return 1
    folder = given.weights or Path(tempfile.gettempdir()) / f"sam3-random-{'tiny' if given.tiny else 'full'}"
    print(about(given.device), *rig.STAND_INS, sep="\n", flush=True)
    rig.write_weights(folder, tiny=given.tiny)
    figures = measured_here(folder, given)
    memory_gb = None if given.device == "cpu" else batch_1_gb(folder, given.device)
    if given.tiny:
        print("a tiny model: these figures show that the benchmark runs, and nothing about speed")
    else:
        report(figures, memory_gb, given)
    text = json.dumps({"about": about(given.device), **figures, "batch_1_gb": memory_gb}, default=asdict)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    return 0


def measured_here(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Every figure that needs the loaded task; nothing of it is in memory afterwards."""
    task, engine, load_s = rig.loaded_task(folder, given.device)
    first_s = first_result_s(task, given)
    size, numbers = "tiny" if given.tiny else "full-size", str(engine.network.dtype).removeprefix("torch.")
    print(f"{size} SAM3 in {numbers}, batch {engine.batch_size}, {given.prompts} prompt(s)")
    print(f"loaded in {load_s:.1f} s; the first result {first_s:.2f} s later", flush=True)
    figures: dict[str, Any] = {"numbers": numbers, "batch": engine.batch_size, "load_s": load_s, "first_s": first_s}
    figures["eager"] = measure_all(task, engine, given)
    if given.compile:
        figures["compiling"] = compiled(engine, given.ends_at - time.monotonic())
        print(f"vision encoder: {figures['compiling']}", flush=True)
        figures["compiled"] = measure_all(task, engine, given) if figures["compiling"].startswith("compiled") else []
    rig.ForcedSam3.made.clear()
    return figures


def measure_all(task: Any, engine: rig.ForcedSam3, given: argparse.Namespace) -> list[Measured]:
    """Every size and count that there is time for, each printed at once."""
    found = []
    for size in given.megapixels.split(","):
        for kept in map(int, given.kept.split(",")):
            if time.monotonic() > given.ends_at:
                print(f"{size:>2} MP, {kept:>3} kept: left out, the {given.minutes:g} minutes are over", flush=True)
                continue
            found.append(measure(task, engine, given, size, kept))
            print(shown(found[-1]), flush=True)
    return found


def report(figures: Mapping[str, Any], memory_gb: float | None, given: argparse.Namespace) -> None:
    """Each bar, by the faster kind of encoder, and what 1,000 images cost."""
    last = figures.get("compiled") or figures["eager"]
    if last:
        print(*verdicts(last, figures["first_s"], memory_gb), sep="\n")
        print(cost_text(max(one.ms for one in last) / 1000, given.device, given.usd_per_hour))


if __name__ == "__main__":
    sys.exit(main())
