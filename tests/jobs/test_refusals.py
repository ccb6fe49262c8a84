"""What a container says of a request, in plain words."""

from __future__ import annotations

import json

import pytest

from gpupipe.jobs.refusals import read_refusal

BODY = json.dumps({"error": {"code": "unreadable", "message": "it is no PNG."}})
ITEM_TIME = json.dumps(
    {"error": {"code": "timeout", "message": "decode took longer than 300 s; item_timeout_s raises the limit"}}
)
REQUEST_TIME = json.dumps({"error": {"code": "time_is_up", "message": "the invocation's time was over"}})
SAGEMAKERS = (
    'Received server error (0) from primary with message "Your invocation timed out while waiting for a response from '
    'container primary. Review the latency metrics." See https://console.aws/x for more.'
)
SENTENCE = f'Received client error (400) from primary with message "{BODY}". See https://console.aws/x for more.'


@pytest.mark.parametrize(
    ("text", "status", "words", "known"),
    [
        (BODY, 400, "it is no PNG (unreadable)", 400),
        (SENTENCE, 0, "it is no PNG (unreadable)", 400),
        (json.dumps(SENTENCE), 0, "it is no PNG (unreadable)", 400),
        (json.dumps({"message": SENTENCE}), 0, "it is no PNG (unreadable)", 400),
        (
            json.dumps({"error": {"code": "unreadable"}}),
            415,
            "it is not of a type that the model takes (unreadable)",
            415,
        ),
        ("Worker died.\nTraceback", 500, "Worker died", 500),
        ("", 503, "the container is not ready", 503),
        ("", 0, "it gave no reason", 0),
        ("[1]", 500, "[1]", 0),
    ],
)
def test_the_reason_is_found_in_whatever_comes(text: str, status: int, words: str, known: int) -> None:
    refusal = read_refusal(text, status)
    assert (refusal.words, refusal.status) == (words, known)


@pytest.mark.parametrize(
    ("text", "status", "hint"),
    [
        (BODY, 400, "export it again"),
        (json.dumps({"error": {"code": "unsupported_media_type", "message": "text/plain"}}), 415, "Convert it"),
        (json.dumps({"error": {"code": "draining", "message": "ending"}}), 503, "again in a minute"),
        ("boom", 500, "gpupipe logs --pipeline rooms"),
        (ITEM_TIME, 500, "item_timeout_s of the pipeline, its seconds for an image, was over: raise it in gpupipe"),
        (REQUEST_TIME, 503, "invocation_timeout_s of the endpoint, its seconds for a request, was over"),
        (SAGEMAKERS, 0, 'realtime has 60, and mode = "async" more): raise it in gpupipe.toml and run `gpupipe up`'),
    ],
)
def test_the_hint_says_what_to_do(text: str, status: int, hint: str) -> None:
    assert hint in read_refusal(text, status).hint("rooms")
