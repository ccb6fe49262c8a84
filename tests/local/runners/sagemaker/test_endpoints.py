import json
import os
import signal

import pytest
from tests.local.containers import make_config, make_endpoint
from tests.local.runners.sagemaker.rig import Room, unique
from tests.local.waiting import kill, runs, until

from gpupipe.local.runners.sagemaker.container import Patience


def started(room: Room, **config: object) -> str:
    """The name of an endpoint in service."""
    name = unique("endpoint")
    sagemaker = room.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), **config))  # type: ignore[arg-type]
    assert room.settled(name)["EndpointStatus"] == "InService"
    return name


def test_each_instance_gets_a_container_with_its_models_environment(endpoint_room: Room) -> None:
    # given an endpoint with two instances, which need a moment until they are ready
    name = unique("endpoint")
    sagemaker = endpoint_room.client("sagemaker")
    environment = {"FAKE": "late", "OMP_NUM_THREADS": "1", "AWS_REGION": "elsewhere"}
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), instances=2, environment=environment))
    # when the room works
    endpoint_room.step_until(lambda: len(endpoint_room.pids(name)) == 2)
    # then the endpoint is in service when both have answered /ping, not before
    assert endpoint_room.described(name)["EndpointStatus"] == "Creating"
    assert endpoint_room.settled(name)["EndpointStatus"] == "InService"
    assert endpoint_room.counts(name) == {"main": 2}
    # and they know where they are
    names = ["OMP_NUM_THREADS", "VARIANT", "AWS_REGION", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "GPUPIPE_MACHINE"]
    answers = [endpoint_room.ask(name, {"tell": names})["environment"] for _ in range(4)]
    assert answers[0]["OMP_NUM_THREADS"] == "1"
    assert answers[0]["VARIANT"] == "main"
    assert answers[0]["AWS_REGION"] == "us-east-1"
    assert answers[0]["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == endpoint_room.endpoints["sagemaker-runtime"]
    assert all(answer["GPUPIPE_MACHINE"].startswith("i-") for answer in answers)


def test_a_container_is_told_a_token_that_only_its_callers_know(endpoint_room: Room) -> None:
    name = started(endpoint_room)
    told = endpoint_room.ask(name, {"tell": ["GPUPIPE_CALLER_TOKEN"]})
    assert len(told["environment"]["GPUPIPE_CALLER_TOKEN"]) > 20
    assert told["token"] == told["environment"]["GPUPIPE_CALLER_TOKEN"]


def test_foreign_endpoint_is_left_alone(endpoint_room: Room) -> None:
    # given an endpoint of another stack
    name = unique("endpoint")
    sagemaker = endpoint_room.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config")), stack="other-dev")
    # when the room has worked
    ours = started(endpoint_room)
    # then only ours has containers
    assert endpoint_room.pids(ours)
    assert not endpoint_room.pids(name)
    assert endpoint_room.described(name)["EndpointStatus"] == "Creating"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "the container ended: exit code 3 before it answered /ping"),
        ("deaf", "the container did not answer /ping with 200 within 1 s"),
    ],
)
def test_endpoint_that_does_not_come_up_fails_and_says_why(endpoint_room: Room, how: str, reason: str) -> None:
    # given a model that cannot be served
    name = unique("endpoint")
    sagemaker = endpoint_room.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), environment={"FAKE": how}))
    # and a room that waits for it as long as it must
    endpoint_room.room.close()
    endpoint_room.open(Patience(restart_s=0.1, startup_timeout_s=60.0 if how == "crash" else 1.0))
    # when the room has tried
    found = endpoint_room.settled(name)
    # then the endpoint says why, with the end of the log
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].startswith(f"Variant main does not come up: {reason}")
    assert f"starting {how}" in found["FailureReason"]
    # and nothing goes on running
    endpoint_room.step_until(lambda: not endpoint_room.pids(name))
    assert any(name in notice for notice in endpoint_room.folder.notices(take=False))


def test_container_that_ends_is_started_again(endpoint_room: Room) -> None:
    # given an endpoint in service
    name = started(endpoint_room)
    (before,) = endpoint_room.pids(name)
    # when its container is killed
    kill(before)
    # then another takes its place, and the endpoint stays what it was
    endpoint_room.step_until(lambda: endpoint_room.pids(name))
    assert endpoint_room.pids(name) != {before}
    told = endpoint_room.folder.notices(take=True)
    assert len(told) == 1
    assert f"of endpoint {name}: the container ended: killed by SIGKILL; it is started again." in told[0]
    assert endpoint_room.counts(name) == {"main": 1}
    assert endpoint_room.described(name)["EndpointStatus"] == "InService"
    endpoint_room.step_until(lambda: endpoint_room.is_answered(name))


def test_new_configuration_takes_over_when_it_is_ready(endpoint_room: Room) -> None:
    # given an endpoint in service
    name = started(endpoint_room)
    before = endpoint_room.pids(name)
    sagemaker = endpoint_room.client("sagemaker")
    # when it is updated
    config = make_config(sagemaker, unique("config"), environment={"FAKE": "late"})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    # then the old container answers until the new one is ready
    endpoint_room.step_until(lambda: len(endpoint_room.pids(name)) == 2)
    assert {endpoint_room.ask(name)["pid"]} == before
    assert endpoint_room.settled(name)["EndpointConfigName"] == config
    endpoint_room.room.step()
    assert {endpoint_room.ask(name)["pid"]}.isdisjoint(before)
    # and the old one ends
    endpoint_room.step_until(lambda: len(endpoint_room.pids(name)) == 1)
    assert endpoint_room.pids(name).isdisjoint(before)


def test_configuration_that_does_not_come_up_is_rolled_back(endpoint_room: Room) -> None:
    # given an endpoint in service
    name = started(endpoint_room)
    before = endpoint_room.pids(name)
    good = endpoint_room.described(name)["EndpointConfigName"]
    sagemaker = endpoint_room.client("sagemaker")
    # when it is updated to a model that cannot start
    bad = make_config(sagemaker, unique("config"), environment={"FAKE": "crash"})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    found = endpoint_room.settled(name)
    # then it is as it was, and says why
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", good)
    assert "no such model" in found["FailureReason"]
    endpoint_room.step_until(lambda: endpoint_room.pids(name) == before)
    assert {endpoint_room.ask(name)["pid"]} == before


def test_desired_counts_are_obeyed_up_and_down_to_zero(endpoint_room: Room) -> None:
    name = started(endpoint_room)
    sagemaker = endpoint_room.client("sagemaker")
    for count in (3, 1, 0, 1):
        # when somebody wants another number of instances
        change = [{"VariantName": "main", "DesiredInstanceCount": count}]
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
        # then there are so many
        endpoint_room.step_until(lambda count=count: endpoint_room.counts(name) == {"main": count})
        endpoint_room.step_until(lambda count=count: len(endpoint_room.pids(name)) == count)
        assert endpoint_room.described(name)["EndpointStatus"] == "InService"


def test_deleted_endpoint_loses_its_containers(endpoint_room: Room) -> None:
    name = started(endpoint_room)
    endpoint_room.client("sagemaker").delete_endpoint(EndpointName=name)
    endpoint_room.step_until(lambda: not endpoint_room.pids(name))
    endpoint_room.step_until(lambda: not list((endpoint_room.folder.containers / name).glob("*")))


def test_one_endpoint_in_trouble_does_not_concern_the_others(endpoint_room: Room) -> None:
    # given an endpoint whose configuration was deleted before the room had seen it
    sagemaker, name = endpoint_room.client("sagemaker"), unique("endpoint")
    config = make_config(sagemaker, unique("config"))
    make_endpoint(sagemaker, name, config)
    sagemaker.delete_endpoint_config(EndpointConfigName=config)
    # then another is served
    assert endpoint_room.ask(started(endpoint_room))
    assert endpoint_room.described(name)["EndpointStatus"] == "Creating"


def test_next_supervisor_adopts_what_runs(endpoint_room: Room) -> None:
    # given an endpoint in service whose supervisor was killed: its room is forgotten, not closed
    name = started(endpoint_room)
    before = endpoint_room.pids(name)
    # when another room opens
    endpoint_room.open()
    endpoint_room.step_until(lambda: endpoint_room.is_answered(name))
    # then it goes on with the same container
    assert endpoint_room.ask(name)["pid"] in before
    assert endpoint_room.pids(name) == before


def test_stray_container_is_ended(endpoint_room: Room) -> None:
    # given a container that was started and never noted
    name = started(endpoint_room)
    (pid,) = endpoint_room.pids(name)
    (noted,) = (endpoint_room.folder.containers / name).glob("*/container.json")
    noted.unlink()
    # when another room opens
    endpoint_room.open()
    # then it is gone
    until(lambda: not runs(pid))


def test_hung_container_gets_nothing_and_is_started_again(endpoint_room: Room) -> None:
    # given a room that is soon out of patience
    endpoint_room.room.close()
    endpoint_room.open(Patience(ping_timeout_s=0.2, ping_pause_s=0.1, deaf_pings=2, restart_s=0.1))
    name = started(endpoint_room)
    (pid,) = endpoint_room.pids(name)
    # when a container hangs
    os.kill(pid, signal.SIGSTOP)
    # then another takes its place
    endpoint_room.step_until(lambda: endpoint_room.pids(name) not in ({pid}, set()))
    endpoint_room.step_until(lambda: endpoint_room.is_answered(name))


def test_what_containers_print_is_in_the_endpoints_log_group(endpoint_room: Room) -> None:
    # given an endpoint with a log group
    logs, name = endpoint_room.client("logs"), unique("endpoint")
    group = f"/aws/sagemaker/Endpoints/{name}"
    logs.create_log_group(logGroupName=group)
    sagemaker = endpoint_room.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config")))
    endpoint_room.settled(name)
    # when it is used
    endpoint_room.ask(name, {"number": 7})
    endpoint_room.clock.ahead_s += 2

    def messages() -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]

    # then its lines are there, each once, in the stream of the instance
    line = json.dumps({"served": {"number": 7}, "status": 200})
    endpoint_room.step_until(lambda: line in messages())
    assert messages() == ["starting ", line]
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"] == f"main/{endpoint_room.containers(name)[0].name}"
    # and another supervisor does not ship them again
    endpoint_room.open()
    endpoint_room.step_until(lambda: endpoint_room.is_answered(name))
    endpoint_room.step_until(lambda: len(messages()) > 2)
    assert messages().count(line) == 1
