import io
import json
import re
import threading

import pytest
from tests.gpuworker.station import Lines

from gpuworker.process.log import Log, Printed, redacted, to_line


def test_event_is_one_json_line_with_time_and_fields() -> None:
    lines = Lines()
    log = Log([lines], {"machine": "i-1"}, clock=lambda: 1_795_253_452.1234)
    log.bind(job="j", shard=3).info("shard_done", done=5, name="é\n")
    [line] = lines.lines
    assert "\n" not in line
    assert json.loads(line) == {
        "at": "2026-11-21T09:30:52.123Z",
        "level": "info",
        "event": "shard_done",
        "machine": "i-1",
        "job": "j",
        "shard": 3,
        "done": 5,
        "name": "é\n",
    }


def test_error_carries_its_traceback() -> None:
    lines = Lines()
    try:
        raise ValueError("of some kind")
    except ValueError as error:
        Log([lines]).error("failed", error)
    told = json.loads(lines.lines[0])
    assert (told["level"], told["error"]) == ("error", "ValueError: of some kind")
    assert "test_log.py" in told["traceback"]


def test_what_json_cannot_say_is_told_in_words() -> None:
    lines = Lines()
    Log([lines]).warning("odd", thing={1, 2}, raw=b"\xff")
    assert "{1, 2}" in lines.lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIASECRET1&X-Amz-Signature=AKIASECRET2&x=1",
        "https://b/k?AWSAccessKeyId=AKIASECRET1&Signature=AKIASECRET2",
        "Authorization: Bearer AKIASECRET1",
        "{'authorization': 'AKIASECRET1'}",
        "hf_token=AKIASECRET1, api_key: AKIASECRET2",
        "the hub refused hf_SECRET1SECRET2SECRET3 for a/b",
        '{"secret_access_key": "AKIASECRET1", "password":"AKIASECRET2"}',
    ],
)
def test_secrets_are_cut_out(text: str) -> None:
    assert "SECRET" not in redacted(text)
    assert re.search(r"\*\*\*", redacted(text))


def test_ordinary_words_stay() -> None:
    text = "could not read inputs/field7/a b.jpg: tokens of 3 trees, signature tree"
    assert redacted(text) == text


def test_log_goes_on_when_its_reader_went_away() -> None:
    gone = io.StringIO()
    gone.close()
    Log([Printed(gone)]).info("nobody_reads_this")


def test_lines_are_printed_at_once() -> None:
    out = io.StringIO()
    Log([Printed(out)]).info("ready")
    assert json.loads(out.getvalue())["event"] == "ready"


def test_sink_that_hangs_takes_no_time_from_the_others() -> None:
    class Hanging(Lines):
        def close(self, timeout_s: float) -> None:
            threading.Event().wait(5)

    class Sending(Lines):
        def close(self, timeout_s: float) -> None:
            self.lines.append(f"sent within {timeout_s}")

    sending = Sending()
    Log([Hanging(), sending]).close(0.2)
    assert sending.lines == ["sent within 0.2"]


def test_half_a_character_can_be_sent_anywhere() -> None:
    line = to_line(0.0, "info", "named", {"key": "incoming/\ud800.jpg"})
    assert line.encode().decode() == line
    assert "\\ud800.jpg" in line
