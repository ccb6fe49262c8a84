import json
import os
import signal

import pytest
from tests.local.containers import make_config, make_endpoint
from tests.local.runners.sagemaker.rig import Rig, unique
from tests.local.waiting import kill, runs, until

from gpupipe.local.runners.health import Pings
from gpupipe.local.runners.sagemaker.container import Patience


def started(rig: Rig, **config: object) -> str:
    """The name of an endpoint in service."""
    name = unique("endpoint")
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), **config))  # type: ignore[arg-type]
    assert rig.settled(name)["EndpointStatus"] == "InService"
    return name


def test_each_instance_gets_a_container_with_its_models_environment(rig: Rig) -> None:
    # given an endpoint with two instances, which need a moment until they are ready
    name = unique("endpoint")
    sagemaker = rig.client("sagemaker")
    environment = {"FAKE": "late", "OMP_NUM_THREADS": "1", "AWS_REGION": "elsewhere"}
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), instances=2, environment=environment))
    # when the runner works
    rig.step_until(lambda: len(rig.pids(name)) == 2)
    # then the endpoint is in service when both have answered /ping, not before
    assert rig.described(name)["EndpointStatus"] == "Creating"
    assert rig.settled(name)["EndpointStatus"] == "InService"
    assert rig.counts(name) == {"main": 2}
    # and they know where they are
    names = ["OMP_NUM_THREADS", "VARIANT", "AWS_REGION", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "GPUPIPE_MACHINE"]
    answers = [rig.ask(name, {"tell": names})["environment"] for _ in range(4)]
    assert answers[0]["OMP_NUM_THREADS"] == "1"
    assert answers[0]["VARIANT"] == "main"
    assert answers[0]["AWS_REGION"] == "us-east-1"
    assert answers[0]["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == rig.endpoints["sagemaker-runtime"]
    assert all(answer["GPUPIPE_MACHINE"].startswith("i-") for answer in answers)


def test_a_container_is_told_a_token_that_only_its_callers_know(rig: Rig) -> None:
    name = started(rig)
    told = rig.ask(name, {"tell": ["GPUPIPE_CALLER_TOKEN"]})
    assert len(told["environment"]["GPUPIPE_CALLER_TOKEN"]) > 20
    assert told["token"] == told["environment"]["GPUPIPE_CALLER_TOKEN"]


def test_foreign_endpoint_is_left_alone(rig: Rig) -> None:
    # given an endpoint of another stack
    name = unique("endpoint")
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config")), stack="other-dev")
    # when the runner has worked
    ours = started(rig)
    # then only ours has containers
    assert rig.pids(ours)
    assert not rig.pids(name)
    assert rig.described(name)["EndpointStatus"] == "Creating"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "the container ended: exit code 3 before it answered /ping"),
        ("deaf", "the container did not answer /ping with 200 within 1 s"),
    ],
)
def test_endpoint_that_does_not_come_up_fails_and_says_why(rig: Rig, how: str, reason: str) -> None:
    # given a model that cannot be served
    name = unique("endpoint")
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), environment={"FAKE": how}))
    # and a runner that waits for it as long as it must
    rig.runner.close()
    rig.open(Patience(restart_s=0.1, startup_timeout_s=60.0 if how == "crash" else 1.0))
    # when the runner has tried
    found = rig.settled(name)
    # then the endpoint says why, with the end of the log
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].startswith(f"Variant main does not come up: {reason}")
    assert f"starting {how}" in found["FailureReason"]
    # and nothing goes on running
    rig.step_until(lambda: not rig.pids(name))
    assert any(name in notice for notice in rig.folder.notices(take=False))


def test_container_that_ends_is_started_again(rig: Rig) -> None:
    # given an endpoint in service
    name = started(rig)
    (before,) = rig.pids(name)
    # when its container is killed
    kill(before)
    # then another takes its place, and the endpoint stays what it was
    rig.step_until(lambda: rig.pids(name))
    assert rig.pids(name) != {before}
    told = rig.folder.notices(take=True)
    assert len(told) == 1
    assert f"of endpoint {name}: the container ended: killed by SIGKILL; it is started again." in told[0]
    assert rig.counts(name) == {"main": 1}
    assert rig.described(name)["EndpointStatus"] == "InService"
    rig.step_until(lambda: rig.is_answered(name))


def test_new_configuration_takes_over_when_it_is_ready(rig: Rig) -> None:
    # given an endpoint in service
    name = started(rig)
    before = rig.pids(name)
    sagemaker = rig.client("sagemaker")
    # when it is updated
    config = make_config(sagemaker, unique("config"), environment={"FAKE": "late"})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    # then the old container answers until the new one is ready
    rig.step_until(lambda: len(rig.pids(name)) == 2)
    assert {rig.ask(name)["pid"]} == before
    assert rig.settled(name)["EndpointConfigName"] == config
    rig.runner.step()
    assert {rig.ask(name)["pid"]}.isdisjoint(before)
    # and the old one ends
    rig.step_until(lambda: len(rig.pids(name)) == 1)
    assert rig.pids(name).isdisjoint(before)


def test_configuration_that_does_not_come_up_is_rolled_back(rig: Rig) -> None:
    # given an endpoint in service
    name = started(rig)
    before = rig.pids(name)
    good = rig.described(name)["EndpointConfigName"]
    sagemaker = rig.client("sagemaker")
    # when it is updated to a model that cannot start
    bad = make_config(sagemaker, unique("config"), environment={"FAKE": "crash"})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    found = rig.settled(name)
    # then it is as it was, and says why
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", good)
    assert "no such model" in found["FailureReason"]
    rig.step_until(lambda: rig.pids(name) == before)
    assert {rig.ask(name)["pid"]} == before


def test_desired_counts_are_obeyed_up_and_down_to_zero(rig: Rig) -> None:
    name = started(rig)
    sagemaker = rig.client("sagemaker")
    for count in (3, 1, 0, 1):
        # when somebody wants another number of instances
        change = [{"VariantName": "main", "DesiredInstanceCount": count}]
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
        # then there are so many
        rig.step_until(lambda count=count: rig.counts(name) == {"main": count})
        rig.step_until(lambda count=count: len(rig.pids(name)) == count)
        assert rig.described(name)["EndpointStatus"] == "InService"


def test_deleted_endpoint_loses_its_containers(rig: Rig) -> None:
    name = started(rig)
    rig.client("sagemaker").delete_endpoint(EndpointName=name)
    rig.step_until(lambda: not rig.pids(name))
    rig.step_until(lambda: not list((rig.folder.containers / name).glob("*")))


def test_one_endpoint_in_trouble_does_not_concern_the_others(rig: Rig) -> None:
    # given an endpoint whose configuration was deleted before the runner had seen it
    sagemaker, name = rig.client("sagemaker"), unique("endpoint")
    config = make_config(sagemaker, unique("config"))
    make_endpoint(sagemaker, name, config)
    sagemaker.delete_endpoint_config(EndpointConfigName=config)
    # then another is served
    assert rig.ask(started(rig))
    assert rig.described(name)["EndpointStatus"] == "Creating"


def test_next_supervisor_adopts_what_runs(rig: Rig) -> None:
    # given an endpoint in service whose supervisor was killed: its runner is forgotten, not closed
    name = started(rig)
    before = rig.pids(name)
    # when another runner opens
    rig.open()
    rig.step_until(lambda: rig.is_answered(name))
    # then it goes on with the same container
    assert rig.ask(name)["pid"] in before
    assert rig.pids(name) == before


def test_stray_container_is_ended(rig: Rig) -> None:
    # given a container that was started and never noted
    name = started(rig)
    (pid,) = rig.pids(name)
    (noted,) = (rig.folder.containers / name).glob("*/container.json")
    noted.unlink()
    # when another runner opens
    rig.open()
    # then it is gone
    until(lambda: not runs(pid))


def test_hung_container_gets_nothing_and_is_started_again(rig: Rig) -> None:
    # given a runner that is soon out of patience
    rig.runner.close()
    rig.open(Patience(pings=Pings(timeout_s=0.2, pause_s=0.1, unanswered=2), restart_s=0.1))
    name = started(rig)
    (pid,) = rig.pids(name)
    # when a container hangs
    os.kill(pid, signal.SIGSTOP)
    # then another takes its place
    rig.step_until(lambda: rig.pids(name) not in ({pid}, set()))
    rig.step_until(lambda: rig.is_answered(name))


def test_what_containers_print_is_in_the_endpoints_log_group(rig: Rig) -> None:
    # given an endpoint with a log group
    logs, name = rig.client("logs"), unique("endpoint")
    group = f"/aws/sagemaker/Endpoints/{name}"
    logs.create_log_group(logGroupName=group)
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config")))
    rig.settled(name)
    # when it is used
    rig.ask(name, {"number": 7})
    rig.clock.ahead_s += 2

    def messages() -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]

    # then its lines are there, each once, in the stream of the instance
    line = json.dumps({"served": {"number": 7}, "status": 200})
    rig.step_until(lambda: line in messages())
    assert messages() == ["starting ", line]
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"] == f"main/{rig.containers(name)[0].name}"
    # and another supervisor does not ship them again
    rig.open()
    rig.step_until(lambda: rig.is_answered(name))
    rig.step_until(lambda: len(messages()) > 2)
    assert messages().count(line) == 1
