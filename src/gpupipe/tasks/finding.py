"""Which engine finds what a prompt names, told where the engine that was asked does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_PLANTS = """
    bamboo barley beet birch bush cabbage canola canopy cedar clover conifer corn cotton crop crown cypress
    eucalyptus fern fir foliage forest grass greenery hedge hemp herb ivy kale lawn leaf leaves lettuce maize mangrove
    maple meadow moss oak olive orchard palm pasture pine plant plantation poplar potato rapeseed reed rice rye sapling
    seedling shrub soy soybean spinach spruce sprout sugarcane sunflower sward thistle tomato tree turf undergrowth
    vegetation vine vineyard weed wheat willow wood
"""
PLANTS = frozenset(_PLANTS.split())
"""Words for what is green and grows, in the singular: enough to guess by, and never taken for a prompt."""
GREEN_IN_COCO = frozenset({"apple", "banana", "broccoli", "carrot", "orange", "potted plant"})
"""Of the 80 everyday things those that a field may be full of."""
ROOMS = frozenset({"apartment", "bathroom", "bedroom", "corridor", "floorplan", "hallway", "kitchen", "room"})


def finders(prompt: str, *, everyday: Collection[str], without: str = "") -> str:
    """`engine "vegetation" finds green plants, and engine "sam3" …`: all that may find it but the engine `without`.

    `everyday` are the things that nanodet knows.
    """
    words = _words(prompt)
    found = [f'engine "nanodet" knows {prompt!r}'] if prompt in everyday else []
    if words & PLANTS:
        found.append('engine "vegetation" finds green plants by their colour')
    if words & ROOMS:
        found.append('task "detect-rooms" finds the rooms of floor plans')
    found.append('engine "sam3" finds whatever a prompt names (with weights under [pipelines.<name>.model])')
    return ", and ".join(one for one in found if f'"{without}"' not in one)


def is_no_plant(prompt: str, *, everyday: Collection[str]) -> bool:
    """Is it surely none: an everyday thing, or a room?"""
    words = _words(prompt)
    return not words & PLANTS and (prompt in {*everyday} - GREEN_IN_COCO or bool(words & ROOMS))


def others_find(prompts: Sequence[str], *, everyday: Collection[str], without: str) -> str:
    """The same of several prompts, each once; "" where no other engine finds any."""
    told = [finders(prompt, everyday=everyday, without=without) for prompt in prompts]
    return "; ".join(dict.fromkeys(one for one in told if one))


def _words(prompt: str) -> set[str]:
    """Each as it is and without the ending of a plural."""
    words = prompt.casefold().replace("_", " ").replace("-", " ").split()
    return {spelled for word in words for spelled in (word, word.removesuffix("s"), word.removesuffix("es"))}
