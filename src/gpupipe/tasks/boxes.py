"""Boxes that a person has drawn as examples, in a JSON file beside an image: `tree.jpg.prompts.json`.

    {"boxes": [{"box": [x, y, width, height]},
               {"box": [x, y, width, height], "positive": false, "prompt": "tree"}]}

Pixels of the image as it is looked at (turned upright), from its left upper corner. A positive box shows what to look
for, a negative one what not to take for it; `prompt` says which prompt it goes with, and none: with all of them, but
never with a negative prompt.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

SUFFIX = ".prompts.json"
BOXES_MAX = 256

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Start = Annotated[_Number, Field(ge=0)]
_Length = Annotated[_Number, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Box(_Strict):
    box: tuple[_Start, _Start, _Length, _Length]
    positive: StrictBool = True
    prompt: str = ""


class _Sidecar(_Strict):
    boxes: tuple[_Box, ...] = Field(max_length=BOXES_MAX)


def read_boxes(data: bytes, prompts: Sequence[str]) -> Mapping[str, Any]:
    """`{"boxes": […]}` as the worker's `BoxPrompt` reads them, for a job with these prompts; {} where there is none.

    Raises ValueError, which names the field.
    """
    try:
        sidecar = _Sidecar.model_validate_json(data.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        raise ValueError(_first_mistake(error)) from error
    boxes = [_as_the_worker_reads(number, box, prompts) for number, box in enumerate(sidecar.boxes)]
    return {"boxes": boxes} if boxes else {}


def has_example(sidecar: Mapping[str, Any]) -> bool:
    """Does it show anything to look for?"""
    return any(box["is_positive"] for box in sidecar.get("boxes", ()))


def _as_the_worker_reads(number: int, box: _Box, prompts: Sequence[str]) -> dict[str, Any]:
    x, y, width, height = box.box
    prompt = _among(prompts, box.prompt, f"boxes[{number}].prompt")
    return {"x": x, "y": y, "width": width, "height": height, "is_positive": box.positive, "prompt": prompt}


def _among(prompts: Sequence[str], text: str, field: str) -> str:
    """The job's own spelling."""
    word = " ".join(text.split())
    spelled = {prompt.casefold(): prompt for prompt in prompts}
    if word and word.casefold() not in spelled:
        there = f"they are {', '.join(prompts)}" if prompts else "it has none"
        raise ValueError(f"{field}: {text!r} is none of the job's prompts; {there}")
    return spelled.get(word.casefold(), "")


_FORM = '{"boxes": [{"box": [x, y, width, height], "positive": true, "prompt": ""}]}'
_MANY = f"has more than the {BOXES_MAX} boxes that are allowed"
_SAID = {"missing": "is missing", "extra_forbidden": "is no field of it", "tuple_type": "is no list of four numbers"}


def _first_mistake(error: ValidationError) -> str:
    detail = error.errors()[0]
    place, kind = detail["loc"], str(detail["type"])
    if kind in ("json_invalid", "model_type"):
        return f"it is not JSON of the form {_FORM}"
    if kind == "too_long" and place == ("boxes",):
        return f"boxes: {_MANY}"
    if kind in ("missing", "too_long") and "box" in place:
        return f"{_field(place[: place.index('box') + 1])}: {_SAID['tuple_type']}"
    return f"{_field(place)}: {_SAID.get(kind, detail['msg'][:1].lower() + detail['msg'][1:])}"


def _field(place: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
