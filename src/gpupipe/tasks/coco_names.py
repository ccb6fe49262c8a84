"""The 80 everyday things that engine nanodet knows, and which of them a person's word means."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources

from gpupipe.tasks.finding import finders

NEAR = 0.75
"""How alike a misspelling is: "hors" and horse are by 0.89, "brd" and bird by 0.86; tree and remote by 0.6, as lamp and
laptop, which are no misspellings."""

IRREGULAR = {"people": "person", "mice": "mouse"}
# Words that a person may try and no spelling leads to: shown as near names, never taken for them.
RELATED = {
    "sofa": "couch",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "plane": "airplane",
    "aeroplane": "airplane",
    "television": "tv",
    "monitor": "tv",
    "smartphone": "cell phone",
    "mobile": "cell phone",
    "notebook": "laptop",
    "man": "person",
    "woman": "person",
    "child": "person",
    "human": "person",
    "pedestrian": "person",
    "table": "dining table",
    "plant": "potted plant",
    "fridge": "refrigerator",
    "lorry": "truck",
    "van": "truck",
    "ship": "boat",
    "mug": "cup",
    "flower": "potted plant",
}


@cache
def coco_names() -> tuple[str, ...]:
    """The 80 COCO category names in class order; one file, which the engine reads as well."""
    text = resources.files("gpuworker").joinpath("engines/coco80.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:80])


def match_category(prompt: str) -> str:
    """The COCO name that `prompt` means: case, spaces and plural forgiven.

    Raises ValueError with near names, and with what finds it instead.
    """
    word = " ".join(prompt.casefold().replace("_", " ").replace("-", " ").split())
    names = coco_names()
    for guess in _spellings(word):
        if guess in names:
            return guess
    near = _near(word, names)
    raise ValueError(
        f"engine nanodet does not know {prompt!r}; it knows the 80 everyday things of COCO"
        + (f"; near: {', '.join(near)}" if near else f", such as {', '.join(names[:6])}")
        + f"; {finders(word, everyday=names)}"
    )


def _spellings(word: str) -> list[str]:
    """The word as it is, then what it may be the plural (or, as of "skis" and "scissors", the singular) of."""
    endings = (("ies", "y"), ("ves", "fe"), ("es", ""), ("s", ""), ("", "s"))
    regular = [word.removesuffix(old) + new for old, new in endings if word.endswith(old)]
    return [word, *([IRREGULAR[word]] if word in IRREGULAR else []), *regular]


def _near(word: str, names: tuple[str, ...]) -> list[str]:
    related = [RELATED[guess] for guess in _spellings(word) if guess in RELATED]
    within = [name for name in names if word and word in name.split()]
    return list(dict.fromkeys([*related, *within, *difflib.get_close_matches(word, names, n=4, cutoff=NEAR)]))[:4]
