"""Bodies of messages as anybody with the right to send could write them, for whatever reads messages.

None of them may stop another message: each fails, or is passed over, alone.
"""

from __future__ import annotations

import json
from typing import Any

DEEP = 100_000


def _s3(**thing: Any) -> str:
    """A notification that is right but for what is given."""
    ours = {"key": "incoming/field7/x.jpg", "size": 5, "eTag": "e", "sequencer": "0A", "versionId": "v1", **thing}
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "demo-dev-segment"}, "object": ours}}
    return json.dumps({"Records": [record]})


HOSTILE: dict[str, str] = {
    "nothing": "",
    "no JSON": "hello",
    "cut short": '{"Records": [{"eventName": "ObjectCr',
    "null": "null",
    "a number": "17",
    "a text": '"Records"',
    "a list": "[]",
    "nested lists": "[" * DEEP + "]" * DEEP,
    "nested lists, never closed": "[" * DEEP,
    "nested objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "nested inside what is right": '{"Records": ' + "[" * DEEP + "]" * DEEP + "}",
    "nested below gpupipe": '{"gpupipe": "rescan", "objects": ' + '[{"a":' * DEEP + "1" + "}]" * DEEP + "}",
    "larger than any message": '{"a": "' + "x" * (1 << 20) + '"}',
    "a number of many digits": '{"gpupipe": "manifest", "job": "j", "generation": ' + "9" * 5000 + "}",
    "an infinite number": '{"gpupipe": "manifest", "job": "j", "generation": 1e999}',
    "not a number": '{"gpupipe": "manifest", "job": "j", "generation": NaN}',
    "no records but a number": '{"Records": 17}',
    "records of texts": '{"Records": ["a", "b"]}',
    "records of nothing": '{"Records": [null]}',
    "a record without an object": '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
    "a key that is a list": _s3(key=["incoming/field7/x.jpg"]),
    "a key that is half a character": _s3(key="incoming/field7/\ud800.jpg"),
    "no input, by half a character": _s3(key="incoming/field7/\ud800.txt"),
    "a size that is a text": _s3(size="much"),
    "an infinite size": _s3().replace('"size": 5', '"size": 1e999'),
    "a tag that is an object": _s3(eTag={"a": 1}),
    "a sequencer that is a list": _s3(sequencer=[1]),
    "a job that is a list": '{"version": 1, "job": [], "number": 0, "generation": 0}',
    "a job in another folder": '{"version": 1, "job": "../../other", "number": 0, "generation": 0}',
    "a number below nothing": '{"version": 1, "job": "j1", "number": -1, "generation": 0}',
    "a number that is true": '{"version": 1, "job": "j1", "number": true, "generation": 0}',
    "a version of the future": '{"version": 99, "job": {}, "number": {}, "generation": {}}',
    "objects that are none": '{"gpupipe": "rescan", "objects": 17}',
    "an object without a key": '{"gpupipe": "rescan", "objects": [{}]}',
}
"""Of what, and the body."""
