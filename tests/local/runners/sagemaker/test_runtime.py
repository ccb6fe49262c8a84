import concurrent.futures
import http.client
import json
import time
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.local.containers import asynchronous, make_config, make_endpoint
from tests.local.runners.sagemaker.rig import Rig, unique
from tests.local.waiting import kill, until

from gpupipe.local.runners.sagemaker.async_delivery import AsyncDelivery
from gpupipe.local.runners.sagemaker.container import Patience


def started(rig: Rig, **config: Any) -> str:
    """The name of an endpoint in service."""
    name = unique("endpoint")
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), **config))
    assert rig.settled(name)["EndpointStatus"] == "InService"
    rig.runner.step()
    return name


class TestInvokeEndpoint:
    def test_what_the_caller_says_reaches_the_container_and_back(self, rig: Rig) -> None:
        name = started(rig)
        answer = rig.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name,
            Body=b"\x89PNG",
            ContentType="image/png",
            Accept="application/json; format=coco",
            CustomAttributes="trace=1",
            InferenceId="mine-1",
        )
        told = json.loads(answer["Body"].read())
        assert told["type"] == "image/png"
        assert told["accept"] == "application/json; format=coco"
        assert told["attributes"] == "trace=1"
        assert told["inference_id"] == "mine-1"
        assert answer["InvokedProductionVariant"] == "main"
        assert answer["CustomAttributes"] == "from=container"
        assert answer["ContentType"] == "application/json"

    def test_variants_are_chosen_by_weight_or_by_name(self, rig: Rig) -> None:
        name = started(rig, variants={"a": 3.0, "b": 1.0})
        chosen = [rig.ask(name)["variant"] for _ in range(8)]
        assert (chosen.count("a"), chosen.count("b")) == (6, 2)
        assert rig.ask(name, TargetVariant="b")["variant"] == "b"
        # when the weights are changed, then that counts at once
        change = [{"VariantName": "a", "DesiredWeight": 0.0}]
        sagemaker = rig.client("sagemaker")
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
        rig.runner.step()
        assert {rig.ask(name)["variant"] for _ in range(4)} == {"b"}

    @pytest.mark.parametrize(
        ("wish", "status", "said"),
        [
            ({"status": 415}, 415, "Received client error (415) from primary with message"),
            ({"status": 503}, 503, "Received server error (503) from primary with message"),
            ({"crash": True}, 0, "Received server error (0) from primary with message"),
        ],
    )
    def test_models_failure_is_a_model_error(self, rig: Rig, wish: dict[str, Any], status: int, said: str) -> None:
        name = started(rig)
        (container,) = rig.containers(name)
        with pytest.raises(ClientError) as caught:
            rig.ask(name, wish)
        answer = caught.value.response
        assert answer["Error"]["Code"] == "ModelError"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert answer["OriginalStatusCode"] == status  # type: ignore[typeddict-item]
        assert answer["Error"]["Message"].startswith(said)
        stream = f"log-group:/aws/sagemaker/Endpoints/{name}:log-stream:main/{container.name}"
        assert answer["LogStreamArn"].endswith(stream)  # type: ignore[typeddict-item]
        if status == 415:
            assert json.loads(answer["OriginalMessage"])["error"]["code"] == "asked_for"  # type: ignore[typeddict-item]

    def test_hung_model_is_waited_for_no_longer_than_allowed(self, rig: Rig) -> None:
        rig.runner.close()
        rig.open(Patience(invocation_s=0.3))
        name = started(rig)
        with pytest.raises(ClientError, match="Your invocation timed out"):
            rig.ask(name, {"sleep": 5})

    def test_wrong_requests_are_refused(self, rig: Rig) -> None:
        # given an endpoint of each kind
        runtime = rig.client("sagemaker-runtime")
        now, later = started(rig), started(rig, asynchronous=asynchronous("nowhere"))
        refused = runtime.exceptions.ClientError
        # then what they cannot do is refused as SageMaker refuses it
        with pytest.raises(refused, match=r"ValidationError.*Endpoint none of account \d+ not found"):
            runtime.invoke_endpoint(EndpointName="none", Body=b"")
        with pytest.raises(refused, match=r"ValidationError.*Could not find variant"):
            rig.ask(now, TargetVariant="none")
        with pytest.raises(refused, match=r"ValidationError.*is asynchronous"):
            rig.ask(later)
        with pytest.raises(refused, match=r"ValidationError.*is not asynchronous"):
            rig.ask_async(now, "s3://any/thing")
        with pytest.raises(refused, match=r"ValidationError.*Either InputLocation or Body"):
            runtime.invoke_endpoint_async(EndpointName=later)
        with pytest.raises(refused, match="larger than"):
            runtime.invoke_endpoint(EndpointName=now, Body=b"0" * (26 * 2**20))

    def test_nobody_there_is_service_unavailable(self, rig: Rig) -> None:
        name = started(rig)
        change = [{"VariantName": "main", "DesiredInstanceCount": 0}]
        sagemaker = rig.client("sagemaker")
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
        rig.settled(name)
        rig.runner.step()
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            rig.ask(name)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example"},
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Authorization": "AWS4-HMAC-SHA256 Credential=123/20260101/us-east-1/sagemaker/aws4_request"},
            {"Authorization": ""},
        ],
    )
    def test_strangers_stay_outside(self, rig: Rig, headers: dict[str, str]) -> None:
        # given what would pass
        address = rig.endpoints["sagemaker-runtime"].removeprefix("http://")
        account = rig.account
        request = AWSRequest(method="POST", url=f"http://{address}/endpoints/none/invocations", data=b"")
        SigV4Auth(Credentials(account.access_key, account.secret_key), "sagemaker", account.region).add_auth(request)
        good = {"Host": address, **dict(request.prepare().headers)}

        def status(sent: dict[str, str]) -> int:
            connection = http.client.HTTPConnection(address, timeout=10)
            try:
                connection.request("POST", "/endpoints/none/invocations", body=b"", headers=sent)
                return connection.getresponse().status
            finally:
                connection.close()

        rig.runner.step()
        assert status(good) == 400
        # then one wrong header is enough
        assert status({**good, **headers}) == 403


class TestInvokeEndpointAsync:
    def test_result_is_in_s3_and_the_topic_is_told(self, rig: Rig) -> None:
        # given an asynchronous endpoint with topics, and a request's body in S3
        bucket = rig.bucket()
        (good, heard), (bad, heard_bad) = rig.topic(), rig.topic()
        name = started(rig, asynchronous=asynchronous(bucket, success=good, error=bad))
        location = rig.put(bucket, {"tell": ["GPUPIPE_MACHINE"]})
        # when it is sent
        answer = rig.ask_async(
            name, location, Accept="application/json", CustomAttributes="trace=1", InferenceId="job.00001.0"
        )
        # then the caller knows where the result will be
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert answer["InferenceId"] == "job.00001.0"
        assert answer["OutputLocation"].startswith(f"s3://{bucket}/responses/")
        assert answer["FailureLocation"].startswith(f"s3://{bucket}/errors/")
        # and it is there in the end
        told = json.loads(until(lambda: rig.read(answer["OutputLocation"])))
        assert told["type"] == told["accept"] == "application/json"
        assert (told["attributes"], told["inference_id"]) == ("trace=1", "job.00001.0")
        # and the success topic says so in SageMaker's words
        (said,) = until(heard)
        assert said["invocationStatus"] == "Completed"
        assert said["inferenceId"] == "job.00001.0"
        request = {"contentType": "application/json", "endpointName": name, "inputLocation": location}
        assert said["requestParameters"] == request
        assert said["responseParameters"]["outputLocation"] == answer["OutputLocation"]
        assert said["eventSource"] == "aws:sagemaker"
        assert not heard_bad()
        until(lambda: rig.backlog(name) == 0)

    def test_request_without_id_gets_one_and_may_carry_its_body(self, rig: Rig) -> None:
        bucket = rig.bucket()
        name = started(rig, asynchronous=asynchronous(bucket))
        answer = rig.client("sagemaker-runtime").invoke_endpoint_async(
            EndpointName=name, Body=b'{"here": 1}', ContentType="application/json", Filename="one.json"
        )
        assert len(answer["InferenceId"]) == 36
        assert answer["OutputLocation"] == f"s3://{bucket}/responses/one.json"
        told = json.loads(until(lambda: rig.read(answer["OutputLocation"])))
        assert told["echo"] == '{"here": 1}'
        assert told["inference_id"] == answer["InferenceId"]

    def test_body_is_of_the_type_that_s3_knows_where_nobody_says_another(self, rig: Rig) -> None:
        bucket = rig.bucket()
        name = started(rig, asynchronous=asynchronous(bucket))
        rig.client("s3").put_object(Bucket=bucket, Key="one", Body=b"x", ContentType="image/tiff")
        answer = rig.client("sagemaker-runtime").invoke_endpoint_async(
            EndpointName=name, InputLocation=f"s3://{bucket}/one"
        )
        assert json.loads(until(lambda: rig.read(answer["OutputLocation"])))["type"] == "image/tiff"

    @pytest.mark.parametrize(
        ("wish", "more", "reason"),
        [
            ({"status": 422}, {}, "Received client error (422) from primary with message"),
            ({"crash": True}, {}, "Received server error (0) from primary with message"),
            ({"sleep": 30}, {"InvocationTimeoutSeconds": 1}, "Your invocation timed out"),
        ],
    )
    def test_failure_is_in_s3_and_the_topic_is_told(
        self, rig: Rig, wish: dict[str, Any], more: dict[str, Any], reason: str
    ) -> None:
        # given an endpoint
        bucket = rig.bucket()
        topic, heard = rig.topic()
        name = started(rig, asynchronous=asynchronous(bucket, error=topic))
        # when the model fails, ends, or does not end
        answer = rig.ask_async(name, rig.put(bucket, wish), **more)
        # then the error topic is told why, and the failure path holds it
        (said,) = rig.step_until(heard)
        assert said["invocationStatus"] == "Failed"
        assert reason in said["failureReason"]
        assert said["inferenceId"] == answer["InferenceId"]
        assert rig.read(answer["FailureLocation"])
        assert rig.read(answer["OutputLocation"]) is None

    @pytest.mark.parametrize("bucket", ["bucket-of-nobody", "No_Bucket"])
    def test_missing_input_is_a_client_error(self, rig: Rig, bucket: str) -> None:
        topic, heard = rig.topic()
        name = started(rig, asynchronous=asynchronous(rig.bucket(), error=topic))
        rig.ask_async(name, f"s3://{bucket}/missing.json")
        (said,) = until(heard)
        assert said["failureReason"].startswith(f'ClientError: Could not access data at "s3://{bucket}/missing.json"')
        until(lambda: rig.backlog(name) == 0)

    def test_result_that_cannot_be_written_is_a_failure(self, rig: Rig) -> None:
        topic, heard = rig.topic()
        name = started(rig, asynchronous=asynchronous("bucket-of-nobody", error=topic))
        rig.ask_async(name, rig.put(rig.bucket(), {}))
        (said,) = until(heard)
        assert 'Could not write to "s3://bucket-of-nobody/responses/' in said["failureReason"]

    def test_no_container_gets_more_at_once_than_it_may(self, rig: Rig) -> None:
        # given two instances of two at once each
        bucket = rig.bucket()
        name = started(rig, asynchronous=asynchronous(bucket, at_once=2), instances=2)
        location = rig.put(bucket, {"sleep": 0.1})
        # when many requests come
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: rig.ask_async(name, location), range(16)))
        told = [json.loads(until(lambda a=a: rig.read(a["OutputLocation"]))) for a in answers]
        # then both work, on two each
        assert {one["most"] for one in told} <= {1, 2}
        assert len({one["pid"] for one in told}) == 2

    def test_what_a_killed_supervisor_had_accepted_is_done_by_the_next(self, rig: Rig) -> None:
        # given requests for an endpoint that has nobody to do them
        bucket = rig.bucket()
        name = started(rig, asynchronous=asynchronous(bucket))
        capacity(rig, name, 0)
        answers = [rig.ask_async(name, rig.put(bucket, {"n": n})) for n in range(3)]
        # when the supervisor is killed and another opens the runner, with an instance
        rig.open()
        capacity(rig, name, 1)
        # then they are done
        for number, answer in enumerate(answers):
            told = json.loads(rig.step_until(lambda a=answer: rig.read(a["OutputLocation"])))
            assert json.loads(told["echo"]) == {"n": number}

    def test_request_in_work_is_sent_again_after_an_orderly_end(self, rig: Rig) -> None:
        # given a request in work
        bucket = rig.bucket()
        topic, heard = rig.topic()
        name = started(rig, asynchronous=asynchronous(bucket, error=topic))
        answer = rig.ask_async(name, rig.put(bucket, {"sleep": 2}))
        (container,) = rig.containers(name)
        until(lambda: rig.backlog(name) == 1)
        time.sleep(0.3)
        # when the runner is closed and opened again
        rig.runner.close()
        assert not container.alive
        rig.open()
        # then it is done after all, and nobody was told of a failure
        assert rig.step_until(lambda: rig.read(answer["OutputLocation"]))
        assert not heard()

    def test_expired_request_fails(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        # given a request that has waited for too long while the supervisor was away
        bucket = rig.bucket()
        topic, heard = rig.topic()
        name = started(rig, asynchronous=asynchronous(bucket, error=topic))
        capacity(rig, name, 0)
        rig.ask_async(name, rig.put(bucket, {}), RequestTTLSeconds=60)
        (file,) = rig.folder.requests.glob(f"{name}/*.json")
        rig.runner.close()
        file.write_text(json.dumps({**json.loads(file.read_text()), "received_at": time.time() - 61}))
        # when the runner opens, and looks for such requests before it has looked at its endpoints
        looks: list[None] = []
        expire = AsyncDelivery._expire
        monkeypatch.setattr(AsyncDelivery, "_expire", lambda self: (expire(self), looks.append(None)))
        rig.open()
        until(lambda: len(looks) > 1)
        assert file.exists()
        # then the error topic is told
        (said,) = rig.step_until(heard)
        assert "expired" in said["failureReason"]

    def test_container_that_ends_between_requests_costs_none(self, rig: Rig) -> None:
        bucket = rig.bucket()
        name = started(rig, asynchronous=asynchronous(bucket))
        # given a container that was killed a moment ago
        (pid,) = rig.pids(name)
        kill(pid)
        # when a request comes, then the next container does it
        answer = rig.ask_async(name, rig.put(bucket, {}))
        assert rig.step_until(lambda: rig.read(answer["OutputLocation"]))


def capacity(rig: Rig, name: str, count: int) -> None:
    """Have the endpoint run `count` instances."""
    change = [{"VariantName": "main", "DesiredInstanceCount": count}]
    rig.step_until(lambda: rig.described(name)["EndpointStatus"] == "InService")
    rig.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=change
    )
    rig.step_until(lambda: rig.counts(name) == {"main": count})
