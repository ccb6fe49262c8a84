"""What the benchmarks of SAM3 share: a model with random weights, answers forced to a count, inputs and S3 in memory.

Random weights of the full size are the same arithmetic as trained ones, but find nothing or everything: so the real
model runs, and its answers are then replaced by blobs, of which a given number passes the threshold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import time
import types
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "worker_image")]
NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "cv2", "tifffile", "pyproj")
STOOD_IN_FOR = {
    "obstore": "S3; inputs and results stay in memory here",
    "imagecodecs": "zlib takes its place: masks are compressed more slowly than in the image",
}


class _Absent(types.ModuleType):
    """A package that is not here: its names can be imported, and are never called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def check_packages() -> list[str]:
    """What is stood in for on this machine. Raises SystemExit where something is missing that has to be there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"this benchmark needs {', '.join(missing)}, which this Python ({sys.executable}) does not have"
        )
    if importlib.util.find_spec("transformers.models.sam3") is None:
        raise SystemExit("the transformers that is installed here does not know SAM3")
    import tifffile  # noqa: F401 - before its imagecodecs is stood in for

    absent = [name for name in STOOD_IN_FOR if importlib.util.find_spec(name) is None]
    for name in absent:
        for part in (name, f"{name}.store", f"{name}.exceptions"):
            sys.modules[part] = _Absent(part)
    if "imagecodecs" in absent:
        vars(sys.modules["imagecodecs"])["zlibng_encode"] = lambda data, level=6: zlib.compress(data, level)
    return [f"{name} is not installed ({STOOD_IN_FOR[name]})" for name in absent]


STAND_INS = check_packages()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from tests.tiny_sam3 import _write_tokenizer, write_tiny_sam3  # noqa: E402

from gpuworker.contract import Artifact, Item, ItemResult, ModelSource, Shard  # noqa: E402
from gpuworker.engines.sam3.engine import Sam3  # noqa: E402
from gpuworker.engines.sam3.network import Sam3Network  # noqa: E402
from gpuworker.models import FolderModels  # noqa: E402
from gpuworker.pipeline.isolation import ChildSettings, Isolator  # noqa: E402
from gpuworker.pipeline.journal import Journal  # noqa: E402
from gpuworker.pipeline.shard_run import ShardRun  # noqa: E402
from gpuworker.pipeline.stream import Stream  # noqa: E402
from gpuworker.process.log import Log  # noqa: E402
from gpuworker.storage.objects import Object, Storage  # noqa: E402
from gpuworker.tasks.segment.task import Segment  # noqa: E402

QUERIES = 200
SMALL_PX = 288
SURE = 10.0
"""A logit whose sigmoid is nearly 1."""
OPTIONS: Mapping[str, Any] = {"engine": "sam3", "prompts": ["tree"]}


# --- the model ---


def write_weights(folder: Path, *, tiny: bool) -> Path:
    """A folder of random weights: SAM3 as `Sam3Config` makes it (1.7 GB), or a tiny one. Kept where it is there."""
    if (folder / "done").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    if tiny:
        write_tiny_sam3(folder, queries=QUERIES)
    else:
        from transformers.models.sam3.configuration_sam3 import Sam3Config
        from transformers.models.sam3.modeling_sam3 import Sam3Model

        folder.mkdir(parents=True)
        _write_tokenizer(folder)
        torch.manual_seed(0)
        Sam3Model(Sam3Config()).to(torch.bfloat16).save_pretrained(folder)
    (folder / "done").touch()
    return folder


class ForcedOutputs:
    """The model, run in full; of its answers `kept` blobs pass, each at a place of its own."""

    def __init__(self, model: Any, kept: int) -> None:
        self._model = model
        parameter = next(model.parameters())
        self._blobs = torch.from_numpy(blobs(kept)).to(parameter.device, parameter.dtype)
        self._logits = torch.full((QUERIES,), -SURE, device=parameter.device, dtype=parameter.dtype)
        self._logits[:kept] = SURE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **given: Any) -> Any:
        output = self._model(**given)
        questions = len(output.pred_logits)
        output.pred_logits = self._logits.expand(questions, -1)
        output.presence_logits = torch.full_like(output.presence_logits, SURE)
        output.pred_masks = self._blobs.expand(questions, -1, -1, -1)
        return output


def blobs(kept: int) -> Any:
    """QUERIES×288×288 float32 logits; the first `kept` are ragged discs side by side, as large as fit."""
    masks = np.full((QUERIES, SMALL_PX, SMALL_PX), -SURE, np.float32)
    across = max(1, int(np.ceil(np.sqrt(kept))))
    pitch = SMALL_PX / across
    rows, columns = np.mgrid[:SMALL_PX, :SMALL_PX]
    for i in range(kept):
        y, x = rows - pitch * (i // across + 0.5), columns - pitch * (i % across + 0.5)
        ragged = 0.42 * pitch * (0.9 + 0.1 * np.sin(7 * np.arctan2(y, x) + i))
        masks[i] = np.clip(ragged - np.hypot(x, y), -SURE, SURE)
    return masks


class ForcedSam3(Sam3, own={"kept", "made", "force"}):
    """The engine `sam3` with forced answers; never saturated, or 200 of them would split every image."""

    kept: ClassVar[int | None] = None
    made: ClassVar[list[ForcedSam3]] = []

    def load(self, device: str) -> None:
        super().load(device)
        self.made.append(self)
        self.plain = self.network.model
        self.force(self.kept)

    def force(self, kept: int | None) -> None:
        """From now on so many blobs are found in every picture; None: what the random weights say."""
        self.network.model = self.plain if kept is None else ForcedOutputs(self.plain, kept)

    def is_saturated(self, found: Any, options: Any) -> bool:
        return False


def loaded_task(weights: Path, device: str) -> tuple[Segment, ForcedSam3, float]:
    """The real task with that engine, and how long `load` took."""
    task = Segment(engines={"sam3": f"{__name__}:ForcedSam3"})
    task.use_models(FolderModels(ModelSource(weights=str(weights), on_cpu=device == "cpu")))
    started = time.perf_counter()
    task.load(device, OPTIONS)
    return task, ForcedSam3.made[-1], time.perf_counter() - started


# --- inputs, and S3 in memory ---


def jpeg(height: int, width: int, seed: int) -> bytes:
    """A picture with detail, as a photograph has."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(smooth.astype(np.int16) + random.integers(-12, 12, smooth.shape), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


class MemoryStorage(Storage):
    """Inputs that are there at once; results are hashed, as for S3, and forgotten."""

    def __init__(self, inputs: Mapping[str, bytes]) -> None:
        self._inputs = inputs
        self.written_bytes = 0

    def get(
        self, key: str, *, etag: str = "", version_id: str = "", size: int = 0, at_most: int | None = None
    ) -> Object:
        return Object(data=self._inputs[key], etag=etag, version_id="")

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> Artifact:
        self.written_bytes += len(data)
        return Artifact(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """What came of some images that went through the stream."""

    images: int
    wall_s: float
    seconds: Mapping[str, float]
    """By stage, summed over images."""
    model_idle_s: float
    """What the model's threads waited for images; with two of them, one computes while the other waits."""
    written_bytes: int
    annotations: int

    @property
    def images_a_second(self) -> float:
        return self.images / self.wall_s


def streamed(
    task: Segment, pictures: Sequence[bytes], images: int, folder: Path, *, device: str, options: Mapping[str, Any]
) -> Streamed:
    """Send `images` through the worker's own stream, from bytes to written results. Raises where one failed."""
    inputs = {f"inputs/bench/{i}.jpg": data for i, data in enumerate(pictures)}
    keys = list(inputs)
    items = [
        Item(key=(key := keys[i % len(keys)]), etag="e", size=len(inputs[key]), output=f"{i:06d}")
        for i in range(images)
    ]
    shard = Shard(job="bench", pipeline="p", project="bench", number=0, task="segment", options=options, items=items)
    storage, log, journal = MemoryStorage(inputs), Log([]), Journal(folder / f"journal-{time.time_ns()}")
    child = ChildSettings(task="", device=device, options={}, memory_limit_bytes=0, item_timeout_s=600)
    stream = Stream(
        task, storage, journal=journal, isolator=Isolator(child, log), log=log, item_timeout_s=600, cores=os.cpu_count()
    )
    shard_run = ShardRun(shard)
    started = time.perf_counter()
    stream.add(shard_run, range(images))
    shard_run.wait()
    wall_s = time.perf_counter() - started
    stream.close(5.0)
    journal.close()
    results = [outcome for outcome in shard_run.outcomes() if isinstance(outcome, ItemResult)]
    if len(results) != images:
        failed = next(outcome for outcome in shard_run.outcomes() if not isinstance(outcome, ItemResult))
        raise SystemExit(f"an image failed: {failed.code}: {failed.message}")
    seconds: dict[str, float] = {}
    for result in results:
        for stage, spent in result.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return Streamed(
        images=images,
        wall_s=wall_s,
        seconds=seconds,
        model_idle_s=stream.inference.idle_s,
        written_bytes=storage.written_bytes,
        annotations=sum(result.counts.get("annotations", 0) for result in results),
    )


# --- the bare model ---


def bare_images_a_second(network: Sam3Network, batch: int, *, prompts: int, seconds: float) -> float:
    """The model alone in a loop over a batch that lies on its device: nothing is decoded, copied or kept."""
    from gpuworker.engines.sam3.network import Prompt

    device = network.device
    pixels = torch.randint(0, 256, (batch, 3, 1008, 1008), dtype=torch.uint8, device=device)
    asked = [
        Prompt(picture=i, category_id=prompt + 1, text="tree", boxes=(), threshold=0.4)
        for i in range(batch)
        for prompt in range(prompts)
    ]
    chunks = [asked[start : start + batch] for start in range(0, len(asked), batch)]

    def once() -> None:
        seen = network.encode(pixels)
        for chunk in chunks:
            network.decode(seen, chunk)

    with torch.inference_mode():
        rounds, spent = 1, 0.0
        once()
        while True:
            wait_for(device)
            started = time.perf_counter()
            for _ in range(rounds):
                once()
            wait_for(device)
            spent = time.perf_counter() - started
            if spent >= seconds:
                return rounds * batch / spent
            rounds = max(rounds + 1, int(rounds * min(10.0, 1.2 * seconds / spent)))


def wait_for(device: str) -> None:
    """Until the device has done all it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
