"""What `evaluate` says of names: by which rule images were matched, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpupipe.cli.screen import Screen, plural, printable

if TYPE_CHECKING:
    from gpupipe.evaluation.matching import Ambiguity, Match
    from gpupipe.evaluation.pairing import Pairing

NAMED_AT_MOST = 5
EXAMPLES_AT_MOST = 3
_BY_RULE = {
    "spelling": "by another spelling of the same path",
    "folder": "by their names without folders",
    "label_studio": "by the name without Label Studio's eight digits",
    "roboflow": "by the name that Roboflow made another of",
    "stem": "by the name without its suffix",
}
_SAME_PIXELS = {"roboflow": " That is right only of a data set that was exported without Resize and augmentations."}


def matching_document(pairing: Pairing) -> Mapping[str, Any]:
    """How many images each rule matched, a few of them, and what is not plain."""
    return {
        "matched_by": {
            rule: {
                "images": len(matches),
                "examples": [{"truth": one.truth, "result": one.result} for one in matches[:EXAMPLES_AT_MOST]],
            }
            for rule, matches in _by_rule(pairing).items()
        },
        "ambiguous": [{"truth": list(one.truth), "results": list(one.results)} for one in pairing.ambiguities],
        "crowds": _crowds(pairing),
    }


def _crowds(pairing: Pairing) -> int:
    return sum(thing.is_crowd for thing in pairing.true)


def _by_rule(pairing: Pairing) -> dict[str, list[Match]]:
    rules: dict[str, list[Match]] = {}
    for match in pairing.matches:
        rules.setdefault(match.rule, []).append(match)
    return rules


def tell_matches(screen: Screen, pairing: Pairing) -> None:
    """Say which images were matched by more than the very same name."""
    for rule, matches in _by_rule(pairing).items():
        if rule in _BY_RULE:
            pairs = [f"{printable(one.truth)} is {printable(one.result)}" for one in matches[:EXAMPLES_AT_MOST]]
            screen.say(
                f"note: {plural(len(matches), 'image')} matched {_BY_RULE[rule]}: {_listed(pairs, len(matches))}."
                + _SAME_PIXELS.get(rule, "")
            )


def tell_what_is_left_out(screen: Screen, pairing: Pairing) -> None:
    """Nothing is left out in silence."""
    for one in pairing.ambiguities[:NAMED_AT_MOST]:
        screen.say(_ambiguity(one))
    if (more := len(pairing.ambiguities) - NAMED_AT_MOST) > 0:
        screen.say(f"note: {more:,} more such groups of names; --json names them all.")
    named = {name for one in pairing.ambiguities for name in (*one.truth, *one.results)}
    for all_names, where in (
        (pairing.images_only_in_truth, "truth, and have no result"),
        (pairing.images_only_in_results, "results"),
    ):
        if names := [name for name in all_names if name not in named]:
            screen.say(f"note: {plural(len(names), 'image')} only in the {where}: {_some(names)}. They do not count.")
    for name, count in pairing.categories_only_in_results.items():
        screen.say(
            f"note: {plural(count, 'instance')} of {printable(name)!r}, which the truth does not have, do not count."
        )
    if crowds := _crowds(pairing):
        screen.say(f"note: {plural(crowds, 'object')} of the truth marked as crowds (iscrowd 1) do not count.")


def tell_boxes(screen: Screen, pairing: Pairing) -> None:
    """Say why boxes are compared, where some objects have masks and some have not."""
    for things, where in ((pairing.true, "truth"), (pairing.found, "results")):
        without = sum(thing.segmentation is None for thing in things)
        if 0 < without < len(things):
            screen.say(f"note: {plural(without, 'object')} of the {where} without a mask: boxes are compared, of all.")


def _ambiguity(one: Ambiguity) -> str:
    return (
        f"note: not plain which is which: {_some(one.truth)} of the truth could be {_some(one.results)} of the results."
        " They do not count. Give them the same paths on both sides; of an augmented data set take the pictures as they"
        " were drawn."
    )


def _some(names: Sequence[str]) -> str:
    return _listed([printable(name) for name in names[:NAMED_AT_MOST]], len(names), names_all=True)


def _listed(told: Sequence[str], count: int, *, names_all: bool = False) -> str:
    more = count - len(told)
    return ", ".join(told) + (f" and {more:,} more{' (--json names them all)' if names_all else ''}" if more else "")
