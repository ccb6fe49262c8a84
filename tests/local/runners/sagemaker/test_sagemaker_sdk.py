"""A third party's client against the local target: the official SageMaker Python SDK, which knows nothing of us."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from tests.local.containers import asynchronous, make_config, make_endpoint
from tests.local.runners.sagemaker.rig import Rig, unique

# Told once: this is about version 2 of the SDK.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.exhaustive]


@pytest.fixture
def session(rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    """The SDK's session, with nothing of ours but the emulators' environment."""
    monkeypatch.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, value in rig.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    sagemaker = pytest.importorskip("sagemaker", reason="the SageMaker SDK is not installed")
    account = rig.account
    found = sagemaker.Session(
        boto_session=boto3.Session(account.access_key, account.secret_key, region_name=account.region),
        default_bucket=rig.bucket(),
    )
    rig.keep_stepping()
    yield found
    rig.stop_stepping()


def started(rig: Rig, **config: Any) -> str:
    name, sagemaker = unique("endpoint"), rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), **config))
    return name


def predictor(session: Any, name: str) -> Any:
    from sagemaker.deserializers import JSONDeserializer
    from sagemaker.predictor import Predictor
    from sagemaker.serializers import JSONSerializer

    session.wait_for_endpoint(name, poll=1)
    return Predictor(name, sagemaker_session=session, serializer=JSONSerializer(), deserializer=JSONDeserializer())


def test_predictor_asks_a_realtime_endpoint(session: Any, rig: Rig) -> None:
    one = predictor(session, started(rig, variants={"a": 1.0, "b": 1.0}))
    told = one.predict({"number": 7}, target_variant="b", inference_id="mine")
    assert json.loads(told["echo"]) == {"number": 7}
    assert told["type"] == "application/json"
    assert told["inference_id"] == "mine"


def test_predictor_shows_the_models_own_error(session: Any, rig: Rig) -> None:
    one = predictor(session, started(rig))
    with pytest.raises(session.sagemaker_runtime_client.exceptions.ModelError, match=r"client error \(422\)") as caught:
        one.predict({"status": 422})
    assert caught.value.response["OriginalStatusCode"] == 422


class TestAsyncPredictor:
    @pytest.fixture
    def one(self, session: Any, rig: Rig) -> Iterator[Any]:
        from sagemaker.predictor_async import AsyncPredictor

        bucket = rig.bucket()
        threads = set(threading.enumerate())
        name = started(rig, asynchronous=asynchronous(bucket))
        yield AsyncPredictor(predictor(session, name))
        # The SDK waits in a thread for the failure of what has succeeded: let it see one, so that it ends.
        s3 = rig.client("s3")
        for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
            file = found["Key"].rpartition("/")[2].removesuffix(".out").removesuffix("-error")
            for key in (f"errors/{file}-error.out", f"responses/{file}.out"):
                s3.put_object(Bucket=bucket, Key=key, Body=b"")
        for thread in set(threading.enumerate()) - threads:
            if "check_" in thread.name:
                thread.join(timeout=20)

    def test_predict_uploads_sends_and_waits(self, one: Any) -> None:
        from sagemaker.async_inference import WaiterConfig

        told = one.predict({"number": 7}, waiter_config=WaiterConfig(max_attempts=40, delay=1))
        assert json.loads(told["echo"]) == {"number": 7}
        assert told["type"] == "application/json"

    def test_predict_async_hands_out_a_result_to_come(self, one: Any) -> None:
        from sagemaker.async_inference import WaiterConfig

        answers = [one.predict_async({"number": number, "sleep": 0.1}) for number in range(3)]
        waiting = WaiterConfig(max_attempts=40, delay=1)
        found = [json.loads(answer.get_result(waiting)["echo"])["number"] for answer in answers]
        assert found == [0, 1, 2]

    def test_failure_is_told(self, one: Any) -> None:
        from sagemaker.async_inference import WaiterConfig
        from sagemaker.exceptions import AsyncInferenceModelError

        answer = one.predict_async({"status": 422})
        with pytest.raises(AsyncInferenceModelError, match="asked_for"):
            answer.get_result(WaiterConfig(max_attempts=40, delay=1))
