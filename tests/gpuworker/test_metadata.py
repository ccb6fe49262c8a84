import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gpuworker.metadata import Metadata, machine_name, watch_for_notice

ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"


class Service:
    """Speaks IMDSv2 on 127.0.0.1: a token by PUT, values with it, 401 without."""

    def __init__(self) -> None:
        self.values = {"instance-id": "i-0abc"}
        self.token = "first"
        self.tokens_given = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                service.tokens_given += 1
                known = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") == "21600"
                self.answer(200 if known and self.path.endswith("/latest/api/token") else 400, service.token)

            def do_GET(self) -> None:
                value = service.values.get(self.path.partition("/latest/meta-data/")[2])
                if self.headers.get("X-aws-ec2-metadata-token") != service.token:
                    self.answer(401, "")
                else:
                    self.answer(404 if value is None else 200, value or "")

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.metadata = Metadata(endpoint=f"http://127.0.0.1:{self.server.server_port}/i-0abc")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


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
