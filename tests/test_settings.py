"""Descriptions of settings stand alone: an editor shows each from the JSON schema without what stands beside it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gpupipe.config import schema

LEANS_ON_A_NEIGHBOUR = re.compile(
    r"^(…|(Of|Over|Nor|Its|Their|It|They|Where not|Or|And|Both|Extra)\b)|…$|\bso (long|much)\b|\bthe two\b"
)
"""Beginnings, endings and words that mean something said of another key."""
LEAST_WORDS = 4
"""`AWS region.` says no more than the key does."""


def descriptions(node: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Where each key's description is, and what it says."""
    if isinstance(node, Mapping):
        for key, below in node.get("properties", {}).items():
            yield f"{where}.{key}", below.get("description", "")
        for key, below in node.items():
            yield from descriptions(below, f"{where}.{key}")
    elif isinstance(node, list):
        for number, below in enumerate(node):
            yield from descriptions(below, f"{where}[{number}]")


def is_table(where: str, text: str) -> bool:
    """Tables have their model's docstring, or none: what they are for stands in their keys."""
    return not text or text.startswith("`")


def test_every_setting_says_by_itself_what_it_is() -> None:
    """given the schema of every kind and task, then no description leans on that of another key"""
    found = {text: where for where, text in descriptions(schema()) if not is_table(where, text)}
    assert len(found) > 60
    leaning = {where: text for text, where in found.items() if LEANS_ON_A_NEIGHBOUR.search(text)}
    short = {where: text for text, where in found.items() if len(text.split()) < LEAST_WORDS}
    assert (leaning, short) == ({}, {})


@pytest.mark.parametrize(
    "text",
    ["… or the oldest has waited so long.", "Its subnets.", 'Of both, e.g. "Europe/Berlin".', "Where not compute's."],
)
def test_what_leans_on_a_neighbour_is_seen(text: str) -> None:
    """given descriptions as they were, then the rule above refuses them"""
    assert LEANS_ON_A_NEIGHBOUR.search(text)
