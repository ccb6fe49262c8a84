"""Text in rooms: an OCR package that carries its own models, where it is installed; and which text is a room's name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.contract import install_command

_LEAST_SCORE = 0.6
_OCR_SIDE_PX = 1600
"""Long side at which text is read; names of rooms are written large enough."""
_LABEL_AT_MOST = 80
_MEASURE = re.compile(
    r"^[\d\s.,'\"x×X*+/:()²³-]*(m2|m²|m|mm|cm|ft|sq\.?\s*ft|sqm|qm)?[\d\s.,'\"x×X*()²³-]*(m2|m²|m|mm|cm|ft|sqm|qm)?\.?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A line of text with its middle and height, in pixels of the picture it was read from."""

    text: str
    x: float
    y: float
    height: float


class Reader(Protocol):
    """What reads text."""

    @property
    def notes(self) -> str:
        """A sentence for results: what read the text."""

    def load(self) -> None:
        """Load its model. Raises ValueError, with the remedy, where it is not installed."""

    def read(self, rgb: NDArray[np.uint8]) -> list[Text]:
        """Lines of text in an H×W×3 uint8 picture."""


def make_reader(labels: str) -> Reader:
    """The reader for the option `labels`: "on", "off", or "auto" (on where the package is installed)."""
    installed = importlib.util.find_spec("rapidocr") is not None and importlib.util.find_spec("onnxruntime") is not None
    return RapidOcr() if labels == "on" or (labels == "auto" and installed) else Blind()


class Blind:
    """Reads nothing."""

    notes = "Text was not read."

    def load(self) -> None:
        pass

    def read(self, rgb: NDArray[np.uint8]) -> list[Text]:
        """None, whatever the picture (H×W×3 uint8) holds."""
        return []


class RapidOcr:
    """PP-OCR by way of rapidocr and onnxruntime; its wheel carries the models."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._loading = threading.Lock()

    @property
    def notes(self) -> str:
        return f"Text was read by rapidocr {importlib.metadata.version('rapidocr')}."

    def load(self) -> None:
        with self._loading:
            if self._engine is None:
                self._engine = _engine()

    def read(self, rgb: NDArray[np.uint8]) -> list[Text]:
        """Lines of text in an H×W×3 uint8 picture, in its pixels."""
        self.load()
        scale = min(1.0, _OCR_SIDE_PX / max(rgb.shape[:2]))
        size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
        if min(small.shape[:2]) < 32:
            return []
        found = self._engine(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), use_cls=False)
        if found.boxes is None:
            return []
        return [
            _text(words, np.asarray(box, np.float64) / scale)
            for box, words, score in zip(found.boxes, found.txts, found.scores, strict=True)
            if score >= _LEAST_SCORE
        ]


def _engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise ValueError(
            f'labels = "on" needs the OCR package: {install_command("ocr")}, or set labels = "auto" or "off"'
        ) from error
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _text(words: str, box: NDArray[np.float64]) -> Text:
    x, y = box.mean(0)
    return Text(text=" ".join(words.split()), x=float(x), y=float(y), height=float(np.linalg.norm(box[3] - box[0])))


def label_of(corners: NDArray[np.float64], texts: Sequence[Text]) -> str:
    """The words whose middle lies in a room (corners: n×2 float64), from top to bottom; areas and lengths are no
    names."""
    outline = corners.astype(np.float32)
    inside = [one for one in texts if is_name(one.text) and cv2.pointPolygonTest(outline, (one.x, one.y), False) >= 0]
    inside.sort(key=lambda one: (round(one.y / max(1.0, one.height)), one.x))
    return " ".join(one.text for one in inside)[:_LABEL_AT_MOST].strip(" .,:;-_|")


def is_name(text: str) -> bool:
    """Whether it is more than a number, a length or an area."""
    return sum(character.isalpha() for character in text) >= 2 and not _MEASURE.match(text)
