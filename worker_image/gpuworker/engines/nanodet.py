"""NanoDet: a small detector of 80 everyday things, run by cv2.dnn, with masks cut out by grabCut; needs no GPU."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.engines.base import Engine
from gpuworker.engines.grabcut import cut_out
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.masks.instances import Instance

_MODEL = Path(__file__).with_name("nanodet_g_coco80.onnx")
_SIDE_PX = 416
_MEAN_BGR = (103.53, 116.28, 123.675)
_STD_BGR = (57.375, 57.12, 58.395)
_STRIDES = (8, 16, 32)
_OUTPUTS = tuple(f"{kind}{stride}" for kind in "cr" for stride in _STRIDES)
_DISTANCES = np.arange(11, dtype=np.float32)
_CANDIDATES_AT_MOST = 1000


@cache
def coco_names() -> tuple[str, ...]:
    """The 80 names, in the model's order."""
    return tuple(Path(__file__).with_name("coco80.txt").read_text("utf-8").split("\n")[:80])


@dataclass(frozen=True, kw_only=True)
class Box:
    """A detection: corners in pixels of the picture it was found in, cut to its edges."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    name_index: int


class NanoDet(Engine, own={"boxes"}):
    """One net a thread: a cv2.dnn net keeps its buffers inside, and two threads in one would mix up their images."""

    max_decode_px = 1600
    suppresses_overlaps = True

    def __init__(self) -> None:
        self.infer_threads = _cpus()
        self._own = threading.local()

    def load(self, device: str) -> None:
        """Read the model (on the CPU, whatever `device` is), so that a broken installation shows at once."""
        self._net()

    @cached_property
    def info(self) -> Mapping[str, Any]:
        digest = hashlib.sha256(_MODEL.read_bytes()).hexdigest()[:12]
        return {
            "name": "nanodet",
            "version": f"nanodet-g coco80 {digest}",
            "notes": "knows 80 everyday things (the classes of COCO) and nothing else; masks are cut out by colour",
        }

    def categories(self, options: Options) -> Sequence[str]:
        unknown = [name for name in options.prompts if name not in coco_names()]
        if unknown:
            raise ValueError(
                f"nanodet knows 80 everyday things, and {', '.join(map(repr, unknown))} is not among them; "
                'engine "sam3" finds whatever a prompt names, and engine "vegetation" green plants'
            )
        return options.prompts or coco_names()

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[list[Instance]]:
        return [self._detect(image, options) for image in prepared]

    def _detect(self, image: Image, options: Options) -> list[Instance]:
        ids = {coco_names().index(name): i for i, name in enumerate(self.categories(options), 1)}
        boxes = self.boxes(image.rgb, score_threshold=options.lowest_threshold, nms_iou=options.nms_iou)
        # Prompts choose among what there is. Were the other classes left out earlier, a bowl would become a poor cup.
        return [_instance(image, box, ids[box.name_index]) for box in boxes if box.name_index in ids]

    def boxes(self, rgb: NDArray[np.uint8], *, score_threshold: float, nms_iou: float) -> list[Box]:
        """Detections of all 80 classes in H×W×3 uint8 `rgb`, the surest first, after class-agnostic suppression."""
        net = self._net()
        net.setInput(_blob(rgb))
        corners, scores, names = _candidates(dict(zip(_OUTPUTS, net.forward(_OUTPUTS), strict=True)), score_threshold)
        height, width = rgb.shape[:2]
        corners = np.clip(corners / np.float32(_SIDE_PX), 0, 1) * np.array([width, height, width, height], np.float32)
        sizes = corners[:, 2:] - corners[:, :2]
        fits = (sizes >= 2).all(1)
        corners, sizes, scores, names = corners[fits], sizes[fits], scores[fits], names[fits]
        kept = cv2.dnn.NMSBoxes(np.hstack([corners[:, :2], sizes]).tolist(), scores.tolist(), score_threshold, nms_iou)
        return [
            Box(
                left=float(corners[i, 0]),
                top=float(corners[i, 1]),
                right=float(corners[i, 2]),
                bottom=float(corners[i, 3]),
                score=float(scores[i]),
                name_index=int(names[i]),
            )
            for i in np.asarray(kept, int).ravel()
        ]

    def _net(self) -> Any:
        if not hasattr(self._own, "net"):
            self._own.net = cv2.dnn.readNetFromONNX(str(_MODEL))
        return self._own.net


def _cpus() -> int:
    """Cores this process may use; macOS cannot tell, so there all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blob(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's input, 1×3×416×416: BGR, resized without keeping the aspect, normalised."""
    shrinks_much = max(rgb.shape) > 2 * _SIDE_PX
    smooth = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (_SIDE_PX, _SIDE_PX), interpolation=smooth)
    bgr = (small[:, :, ::-1].astype(np.float32) - np.array(_MEAN_BGR, np.float32)) / np.array(_STD_BGR, np.float32)
    return np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])


def _candidates(
    outputs: Mapping[str, NDArray[np.float32]], score_threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """(corners n×4 in the model's input, scores n, classes n) of the cells above the threshold, the surest first."""
    corners, scores, names = [], [], []
    for stride in _STRIDES:
        cells = outputs[f"c{stride}"][0]
        score = cells.max(1)
        at = np.flatnonzero(score >= score_threshold)
        corners.append(_corners(outputs[f"r{stride}"][0][at], at, stride))
        scores.append(score[at])
        names.append(cells[at].argmax(1))
    flat = np.concatenate(scores)
    best = np.argsort(-flat, kind="stable")[:_CANDIDATES_AT_MOST]
    return np.concatenate(corners)[best], flat[best], np.concatenate(names)[best]


def _corners(logits: NDArray[np.float32], at: NDArray[np.int64], stride: int) -> NDArray[np.float32]:
    """Each side's distance from the cell's centre is the expectation over 11 bins (generalised focal loss, Li 2020)."""
    bins = logits.reshape(-1, 4, 11)
    share = np.exp(bins - bins.max(2, keepdims=True))
    distance = (share @ _DISTANCES) / share.sum(2) * stride
    row, column = np.divmod(at, _SIDE_PX // stride)
    centre = (np.stack([column, row], 1) + 0.5) * stride
    return np.hstack([centre - distance[:, :2], centre + distance[:, 2:]]).astype(np.float32)


def _instance(image: Image, box: Box, category_id: int) -> Instance:
    """Cut the object out of its box, in coordinates of the full image."""
    cut = cut_out(image.rgb, left=box.left, top=box.top, right=box.right, bottom=box.bottom)
    # The picture may be a reduced one; its crop's corners go to the full image's nearest pixels.
    across, down = image.width / image.rgb.shape[1], image.height / image.rgb.shape[0]
    left, right = round(cut.left * across), round((cut.left + cut.soft.shape[1]) * across)
    top, bottom = round(cut.top * down), round((cut.top + cut.soft.shape[0]) * down)
    size = (max(1, right - left), max(1, bottom - top))
    soft = cut.soft if size == cut.soft.shape[::-1] else cv2.resize(cut.soft, size, interpolation=cv2.INTER_LINEAR)
    whole = Instance(x=left, y=top, mask=soft > 127, score=box.score, category_id=category_id, source=cut.source)
    return whole.tight() or whole
