"""The toys by name; imports nothing, because every Python process of a local target reads it."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    "upper": "tests.toy_tasks.upper_options:UpperOptions",
    "upper-all": "tests.toy_tasks.upper_options:UpperAllOptions",
}
WORKERS: Mapping[str, str] = {
    "upper": "tests.toy_tasks.upper:Upper",
    "upper-all": "tests.toy_tasks.upper:UpperAll",
}
