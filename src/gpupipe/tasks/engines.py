"""What a person should know of each engine of `segment`, and how each reads what it is asked to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpupipe.tasks import Place
from gpupipe.tasks.coco_names import coco_names, match_category
from gpupipe.tasks.finding import finders, is_no_plant, others_find

EngineName = Literal["auto", "nanodet", "sam3", "vegetation"]
PROMPT_CHARACTERS_MAX = 120
"""SAM3 reads 32 tokens, about a short sentence, and would silently leave out what follows."""


@dataclass(frozen=True, kw_only=True)
class About:
    """One engine, as the person's side knows it; the worker has the engine itself."""

    canonical: Callable[[str], str]
    """How one prompt is written in the job and its results. Raises ValueError."""
    prompts_max: int | None = None
    takes_boxes: bool = False
    takes_negative_prompts: bool = True
    item_s: float
    """Seconds for an image on the default machine, before there is a measurement."""
    prompt_s: float = 0.0
    """And for each prompt beyond the first."""
    notice: str = ""
    """What everybody who sees its results should know."""


def phrase(prompt: str) -> str:
    """Any short text, with its spaces evened out. Raises ValueError."""
    text = " ".join(prompt.split())
    if not text:
        raise ValueError("a prompt is empty")
    if not text.isprintable():
        raise ValueError(f"the prompt {prompt!r} holds characters that cannot be printed")
    if len(text) > PROMPT_CHARACTERS_MAX:
        raise ValueError(
            f"the prompt {text[:40]!r}… has {len(text)} characters, and {PROMPT_CHARACTERS_MAX} are allowed: "
            "a prompt names one kind of thing in a few words"
        )
    return text


def _category_or_phrase(prompt: str) -> str:
    """As nanodet calls it where it knows it, so that either engine that `auto` may choose understands it."""
    try:
        return match_category(prompt)
    except ValueError:
        return phrase(prompt)


ENGINES: Mapping[str, About] = {
    "auto": About(canonical=_category_or_phrase, takes_boxes=True, item_s=0.6, prompt_s=0.1),
    "nanodet": About(
        canonical=match_category,
        item_s=0.4,  # on two CPU cores, with a few instances an image
        notice="Engine nanodet is a small detector that knows 80 everyday things (people, cars, cups, …), "
        "nothing else.",
    ),
    "sam3": About(canonical=phrase, takes_boxes=True, item_s=0.6, prompt_s=0.1),
    "vegetation": About(
        canonical=phrase,
        prompts_max=1,
        takes_negative_prompts=False,
        item_s=0.5,
        notice="Engine vegetation finds green plants by colour alone; it knows no species and takes all that is green.",
    ),
}
"""A new engine is one entry here, one in `EngineName`, and one file in `gpuworker.engines`."""


def canonical(engine: str, prompts: Sequence[str]) -> tuple[str, ...]:
    """Prompts as this engine reads them, each once, however it was spelled. Raises ValueError."""
    distinct: dict[str, str] = {}
    for prompt in prompts:
        text = ENGINES[engine].canonical(prompt)
        distinct.setdefault(text.casefold(), text)
    return tuple(distinct.values())


def instead_of_sam3(prompts: Sequence[str]) -> str:
    """Which engine that carries its model finds these prompts; "" where none does."""
    named = [_category_or_phrase(prompt) for prompt in prompts]
    return others_find(named, everyday=coco_names(), without="sam3")


def notice(engine: str, prompts: Sequence[str]) -> str:
    """What everybody who sees results of this engine should know; also that the name they get fits no plants."""
    about = ENGINES[engine].notice
    for named in map(_category_or_phrase, prompts if engine == "vegetation" else ()):
        if is_no_plant(named, everyday=coco_names()):
            other = finders(named, everyday=coco_names(), without=engine)
            return f"{about} What it finds is called {named!r} here, and is plants; {other}."
    return about


def require_few(engine: str, prompts: Sequence[str]) -> None:
    """Raises ValueError for more prompts than the engine takes."""
    most = ENGINES[engine].prompts_max
    if most is not None and len(prompts) > most:
        raise ValueError(
            f"engine {engine} takes {most} prompt, the name of what it finds, and not {len(prompts)}: "
            f"{', '.join(prompts)}"
        )


def fallback(*, weights: str, has_prompts: bool) -> str:
    """Why `auto` will surely be nanodet; "" where that depends on the machine (`gpuworker.engines.auto` decides)."""
    if not weights:
        return "no weights of sam3 are named"
    return "" if has_prompts else "sam3 looks for what a prompt names, and there is none"


def foretold(place: Place, *, has_prompts: bool) -> str:
    """What people should know of a job there that leaves the choice to `auto`."""
    why = fallback(weights=place.weights, has_prompts=has_prompts)
    if why:
        return f"Engine auto is nanodet here, because {why}. {ENGINES['nanodet'].notice}"
    if place.on_cpu:
        return "Engine auto is sam3 here, on a GPU or else on the CPU (minutes an image)."
    return "Engine auto is sam3 on a machine with a GPU and nanodet on one without; every result says which and why."


def made(made_by: Sequence[str]) -> str:
    """What people should know of results for which `auto` chose these engines (`name: why`)."""
    told = []
    for one in made_by:
        name, _, why = one.partition(": ")
        told += [f"Engine auto was {name}{f', because {why}' if why else ''}."]
        told += [ENGINES[name].notice] if name in ENGINES else []
    return (
        " ".join(part for part in told if part) or "Engine auto: every result names the engine that made it, and why."
    )
