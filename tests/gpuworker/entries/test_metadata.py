import threading
from collections.abc import Iterator

import pytest
from tests.gpuworker.imds import Service

from gpuworker.entries.metadata import Metadata, machine_name, watch_for_notice

ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def test_instance_tells_its_id(service: Service) -> None:
    assert service.metadata.instance_id() == "i-0abc"
    assert machine_name(service.metadata) == "i-0abc"


def test_no_notice_until_there_is_one(service: Service) -> None:
    assert service.metadata.notice() is None
    service.values[REBALANCE] = '{"noticeTime": "2026-11-21T10:00:00Z"}'
    assert service.metadata.notice() == "rebalance"
    service.values[ACTION] = '{"action": "terminate", "time": "2026-11-21T10:02:00Z"}'
    assert service.metadata.notice() == "spot"


@pytest.mark.parametrize("answer", ["", "not json", "[]", '{"action": "none"}'])
def test_an_action_that_names_no_end_is_none(service: Service, answer: str) -> None:
    service.values[ACTION] = answer
    assert service.metadata.notice() is None


def test_token_is_asked_for_once_and_again_when_it_is_not_known_any_more(service: Service) -> None:
    service.metadata.instance_id()
    service.metadata.instance_id()
    assert service.tokens_given == 1
    service.token = "second"
    assert service.metadata.instance_id() == ""
    assert service.metadata.instance_id() == "i-0abc"


def test_machine_without_the_service_has_its_host_name() -> None:
    nobody = Metadata(endpoint="http://127.0.0.1:9")
    assert nobody.instance_id() == ""
    assert nobody.notice() is None
    assert machine_name(nobody) == machine_name(None) != ""


def test_switched_off_service_is_not_asked_unless_an_endpoint_is_named() -> None:
    off = {"AWS_EC2_METADATA_DISABLED": "true"}
    assert Metadata.of(off) is None
    named = Metadata.of({**off, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9/i-1/"})
    assert named is not None
    assert named.endpoint == "http://127.0.0.1:9/i-1"
    default = Metadata.of({})
    assert default is not None
    assert default.endpoint == "http://169.254.169.254"


def test_watching_tells_the_first_notice_and_ends(service: Service) -> None:
    service.values[ACTION] = '{"action": "stop"}'
    told: list[str] = []
    watch_for_notice(service.metadata, told.append, threading.Event(), pause_s=0.01)
    assert told == ["spot"]


def test_watching_ends_when_told_to(service: Service) -> None:
    stop = threading.Event()
    stop.set()
    told: list[str] = []
    watch_for_notice(service.metadata, told.append, stop, pause_s=0.01)
    assert told == []
