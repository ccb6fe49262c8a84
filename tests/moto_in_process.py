"""moto in this process, mended where a whole stack would notice that it is not AWS."""

from __future__ import annotations

import threading
from typing import Any

import xmltodict
from botocore.loaders import Loader
from moto import mock_aws
from moto.core import utils
from moto.core.botocore_stubber import BotocoreStubber
from moto.ec2.models import amis
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from moto.sqs.models import Queue

from gpupipe.local import moto_shims
from gpupipe.local.emulators import Account

ACCOUNT = Account(account_id="123456789012", secret_key="testing", region="us-east-1")
"""The one that moto plays."""
LOADER = Loader()
"""Reading the services' descriptions takes longer than most tests; one reader remembers them for all."""
KNOWN_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


def mend() -> None:
    """For the life of the process, and once only: mends wrap what they mend."""
    loader = utils.create_loader()  # moto's own, for what it adds to botocore's; it would make one for each service
    utils.create_loader = lambda: loader
    moto_shims.install()
    _one_at_a_time(BotocoreStubber)
    # It reads no conditions, and would deny everything that a policy denies to those without TLS.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL  # type: ignore[method-assign]
    _leave_out_images_of_ecs(amis)
    _tag_new_buckets(S3Response)
    _keep_policies(Queue)


def mocked() -> Any:
    """An empty account for the length of a `with` block; the code of its functions never runs."""
    return mock_aws(config={"lambda": {"use_docker": False}})


def with_known_image(params: dict[str, Any], **_: Any) -> None:
    """A hook on ssm GetParameter: of AWS's public images moto knows some."""
    if params["Name"].startswith("/aws/service/"):
        params["Name"] = KNOWN_IMAGE


def _one_at_a_time(stubber: Any) -> None:
    """Its tables are walked by one request and written by another, which a stack's many threads notice once in a while;
    a handler may ask for something itself."""
    original, answering = stubber.process_request, threading.RLock()

    def process_request(self: Any, request: Any) -> Any:
        with answering:
            return original(self, request)

    stubber.process_request = process_request


def _leave_out_images_of_ecs(images: Any) -> None:
    """1,200 images with a volume and a snapshot each, made for every empty account."""
    original = images.load_resource
    images.load_resource = lambda path: [] if "ecs/" in path else original(path)


def _tag_new_buckets(responses: Any) -> None:
    """CreateBucket takes tags, by which a call that was killed after it finds its own bucket again."""
    original = responses._bucket_response_put

    def put(self: Any, request: Any, bucket_name: str, *args: Any) -> Any:
        answer = original(self, request, bucket_name, *args)
        if b"<CreateBucketConfiguration" in request.data:
            asked = xmltodict.parse(request.data, force_list=("Tag",))["CreateBucketConfiguration"]
            tags = {tag["Key"]: tag["Value"] for tag in (asked.get("Tags") or {}).get("Tag", ())}
            self.backend.put_bucket_tagging(bucket_name, tags)
        return answer

    responses._bucket_response_put = put


def _keep_policies(queue: Any) -> None:
    """SetQueueAttributes leaves what it does not name."""
    original = queue._set_attributes

    def set_attributes(self: Any, attributes: dict[str, Any], *args: Any, **more: Any) -> None:
        before = {"Policy": self.policy} if getattr(self, "_policy_json", None) else {}
        original(self, {**before, **attributes}, *args, **more)

    queue._set_attributes = set_attributes
