"""How many examples a property test tries: few, and always the same, in `make test`; all in `make test-exhaustive`."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings

FEWEST = 5
UNTIMED = (HealthCheck.too_slow,)
"""A busy machine is no fault of a test."""


def register_profiles() -> None:
    """`--hypothesis-profile` chooses; `quick` where it is not given."""
    settings.register_profile(
        "quick", max_examples=20, derandomize=True, deadline=None, print_blob=True, suppress_health_check=UNTIMED
    )
    settings.register_profile(
        "exhaustive", max_examples=100, deadline=None, print_blob=True, suppress_health_check=UNTIMED
    )
    settings.load_profile("quick")


def examples(count: int, *, suppress_health_check: Sequence[HealthCheck] = ()) -> settings:
    """Like `@settings(max_examples=count)` for a profile of 100 examples; in another one its share of `count`."""
    share = count * settings.default.max_examples // 100
    return settings(max_examples=max(share, FEWEST), suppress_health_check=(*UNTIMED, *suppress_health_check))
