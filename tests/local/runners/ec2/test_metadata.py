import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from botocore.utils import InstanceMetadataRegionFetcher

from gpupipe.local.emulators import bound_socket
from gpupipe.local.runners.ec2.metadata import InstanceFacts, Interruption, MetadataService

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
FACTS = InstanceFacts(
    instance_id="i-1",
    instance_type="g5.xlarge",
    availability_zone="eu-west-1b",
    life_cycle="spot",
    tags={"gpupipe:stack": "demo-dev"},
)


@pytest.fixture(scope="module")
def server() -> Iterator[MetadataService]:
    server = MetadataService(bound_socket(0), secret="a stack's own")
    yield server
    server.close()


@pytest.fixture
def service(server: MetadataService) -> MetadataService:
    server.machines = {"i-1": FACTS}
    return server


def ask(service: MetadataService, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def path_of(service: MetadataService, path: str, machine: str = "i-1") -> str:
    return urlsplit(service.url(machine)).path + path


def token(service: MetadataService) -> str:
    status, text = ask(service, path_of(service, "/latest/api/token"), "PUT", **{TTL: "60"})
    assert status == 200
    return text


def read(service: MetadataService, path: str) -> tuple[int, str]:
    return ask(service, path_of(service, f"/latest/meta-data/{path}"), **{TOKEN: token(service)})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("instance-id", "i-1"),
        ("instance-type", "g5.xlarge"),
        ("instance-life-cycle", "spot"),
        ("placement/region", "eu-west-1"),
        ("placement/availability-zone", "eu-west-1b"),
        ("tags/instance", "gpupipe:stack"),
        ("tags/instance/gpupipe:stack", "demo-dev"),
    ],
)
def test_machine_learns_about_itself(service: MetadataService, path: str, text: str) -> None:
    assert read(service, path) == (200, text)


@pytest.mark.parametrize("path", ["spot/instance-action", "events/recommendations/rebalance", "no-such-thing"])
def test_what_is_not_there_is_404(service: MetadataService, path: str) -> None:
    assert read(service, path)[0] == 404


def test_interruption_is_announced(service: MetadataService) -> None:
    # given a spot loss announced at 1,000 s for 1,120 s
    announced = Interruption(announced_at=1000.0, taken_at=1120.0)
    service.machines = {"i-1": InstanceFacts(**{**vars(FACTS), "interruption": announced})}
    # when the machine asks
    action = json.loads(read(service, "spot/instance-action")[1])
    rebalance = json.loads(read(service, "events/recommendations/rebalance")[1])
    # then
    assert action == {"action": "terminate", "time": "1970-01-01T00:18:40Z"}
    assert rebalance == {"noticeTime": "1970-01-01T00:16:40Z"}


def test_only_version_2_is_spoken(service: MetadataService) -> None:
    assert ask(service, path_of(service, "/latest/meta-data/instance-id"))[0] == 401
    assert ask(service, path_of(service, "/latest/meta-data/instance-id"), **{TOKEN: "guessed"})[0] == 401


@pytest.mark.parametrize("ttl", ["", "0", "21601", "soon"])
def test_token_needs_a_sensible_lifetime(service: MetadataService, ttl: str) -> None:
    assert ask(service, path_of(service, "/latest/api/token"), "PUT", **({TTL: ttl} if ttl else {}))[0] == 400


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}]
)
def test_web_pages_get_nothing(service: MetadataService, headers: dict[str, str]) -> None:
    assert ask(service, path_of(service, "/latest/api/token"), "PUT", **{TTL: "60"}, **headers)[0] == 404


def test_unknown_machine_is_404(service: MetadataService) -> None:
    assert ask(service, path_of(service, "/latest/api/token", "i-2"), "PUT", **{TTL: "60"})[0] == 404


def test_botocore_finds_the_region_below_the_machines_address(service: MetadataService) -> None:
    # The worker's own client and botocore both append "latest/…" to the endpoint: a path in it must survive that.
    fetcher = InstanceMetadataRegionFetcher(base_url=service.url("i-1"))
    assert fetcher.retrieve_region() == "eu-west-1"


@pytest.mark.parametrize("guess", ["", "i-1", "0" * 64, "i-1/i-1"])
def test_who_has_not_the_machines_own_address_gets_nothing(service: MetadataService, guess: str) -> None:
    # any user of this machine can find the port, and an instance's id is in its results
    guesses = (f"/{guess}/i-1/latest/api/token", f"/{guess}/latest/api/token", path_of(service, "/../i-1", "i-2"))
    for path in guesses:
        assert ask(service, path, "PUT", **{TTL: "60"})[0] == 404


def test_the_address_of_a_machine_outlives_the_service(service: MetadataService) -> None:
    port = service.port
    again = MetadataService(bound_socket(0), secret="a stack's own")
    other = MetadataService(bound_socket(0), secret="another stack's")
    try:
        assert again.url("i-1").replace(f":{again.port}/", f":{port}/") == service.url("i-1")
        assert other.url("i-1").replace(f":{other.port}/", f":{port}/") != service.url("i-1")
    finally:
        again.close()
        other.close()
