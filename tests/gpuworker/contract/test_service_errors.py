"""What a service said: the same words and codes for CLI, functions and worker, whatever kind of exception it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gpupipe import aws
from gpuworker.contract import NO_OBJECT, OVERTAKEN, OVERTAKEN_OR_GONE, error_code, error_message, http_status


def test_a_refusal_is_read_by_code_message_and_status() -> None:
    answer = {"Error": {"Code": "NoSuchKey", "Message": "not there"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    error = ClientError(answer, "GetObject")
    assert (error_code(error), error_message(error), http_status(error)) == ("NoSuchKey", "not there", 404)


class ForeignError(Exception):
    """Another library's, with something of its own under botocore's name."""

    def __init__(self, response: Any) -> None:
        super().__init__("as it says")
        self.response = response


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ValueError("as it says"),
        ForeignError(None),
        ForeignError(SimpleNamespace(status_code=404)),
        ForeignError({}),
        ForeignError({"Error": None, "ResponseMetadata": None}),
        ForeignError({"Error": {}, "ResponseMetadata": {}}),
    ],
    ids=["no answer", "no service", "none", "of another library", "empty", "without parts", "without a code"],
)
def test_what_no_service_said_has_no_code_and_its_own_words(error: Exception) -> None:
    assert (error_code(error), error_message(error), http_status(error)) == ("", str(error), 0)


def test_the_cli_reads_errors_as_functions_and_worker_do() -> None:
    assert aws.error_code is error_code
    assert aws.ABSENT_BY_SERVICE["s3"] > NO_OBJECT


def test_who_lost_a_race_over_an_object_is_told_by_every_code_of_it() -> None:
    assert {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"} == OVERTAKEN
    assert {"404", "NoSuchKey", "NotFound"} == NO_OBJECT
    assert OVERTAKEN | NO_OBJECT == OVERTAKEN_OR_GONE
