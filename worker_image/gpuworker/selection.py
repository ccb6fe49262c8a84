"""Which of the instances that an engine found in one image are its results."""

from __future__ import annotations

from collections.abc import Sequence

from gpuworker.masks import Instance
from gpuworker.segment_options import Options

COVERED = 0.5
"""The share of an instance that something unwanted may cover."""


def selected(found: Sequence[Instance], names: Sequence[str], options: Options) -> list[Instance]:
    """What passes its prompt's threshold and no negative prompt has claimed, the surest first.

    `names` are the categories of `options.searched()`: the negative prompts are the last of them.
    """
    wanted = len(names) - len(options.negative_prompts)
    sure = [one for one in found if one.score >= options.threshold_of(names[one.category_id - 1])]
    unwanted = [one for one in sure if one.category_id > wanted]
    kept = [one for one in sure if one.category_id <= wanted and not _is_claimed(one, unwanted)]
    return sorted(kept, key=lambda one: -one.score)[: options.max_instances]


def _is_claimed(one: Instance, unwanted: Sequence[Instance]) -> bool:
    return any(other.score >= one.score and one.shared_with(other) > COVERED * one.area for other in unwanted)
