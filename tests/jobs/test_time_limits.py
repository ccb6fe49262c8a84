"""Advice after a timeout names the setting that applied."""

from __future__ import annotations

import pytest

from gpupipe.jobs.advice import RETRY, advice
from gpupipe.jobs.time_limits import limit_in, time_advice


@pytest.mark.parametrize(
    ("message", "setting"),
    [
        ("decode took longer than 300 s; item_timeout_s raises the limit", "item_timeout_s"),
        ("took longer than 30 s; invocation_timeout_s raises the limit", "invocation_timeout_s"),
        ("tried 4 times, last: most of invocation_timeout_s was over", "invocation_timeout_s"),
        ("tried 4 times, last: Your invocation timed out while waiting for a response", "invocation_timeout_s"),
        ('tried 4 times, last: {"error": {"code": "time_is_up"}}', "invocation_timeout_s"),
    ],
)
@pytest.mark.parametrize("code", ["timeout", "not_processed"])
def test_the_setting_is_named_with_what_to_do(code: str, message: str, setting: str) -> None:
    told = advice(code, message)
    assert limit_in(message) == setting
    assert told.startswith(f"{setting} of the ")
    assert "raise it in gpupipe.toml and run `gpupipe up`" in told
    assert told.endswith(RETRY)


def test_what_names_none_is_advised_by_its_code() -> None:
    assert time_advice("it took too long") == ""
    assert advice("timeout", "it took too long") == advice("timeout")
    assert "gpupipe logs" in advice("not_processed", "its machine was lost 4 times")


def test_a_message_that_mentions_a_setting_changes_no_other_advice() -> None:
    assert advice("unreadable", "no PNG; item_timeout_s") == advice("unreadable")
