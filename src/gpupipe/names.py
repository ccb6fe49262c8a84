"""Every AWS name, tag and path, from the configuration; pure, so that any machine finds the same things.

Names are `<stack>-<pipeline>-<part>` with stack = `<name>-<environment>`. Buckets live in a namespace shared by
all of AWS, so theirs end in the account and region.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gpuworker.contract import TAG_KEY, TAG_PIPELINE, TAG_STACK

__all__ = ["TAG_KEY", "TAG_PIPELINE", "TAG_STACK", "Stack"]

BUCKET_NAME_MAX = 63


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Everything of one name and environment in one account and region: what names are made from."""

    name: str
    environment: str
    account: str
    region: str
    partition: str = "aws"
    extra_tags: tuple[tuple[str, str], ...] = ()
    """The person's own tags for everything that is made."""

    @property
    def id(self) -> str:
        """`<name>-<environment>`, the first part of every name and the value of the stack tag."""
        return f"{self.name}-{self.environment}"

    @property
    def iam_path(self) -> str:
        return f"/gpupipe/{self.id}/"

    @property
    def state_bucket(self) -> str:
        return self.bucket("state")

    @property
    def table(self) -> str:
        """The ledger's DynamoDB table, one a stack."""
        return f"{self.id}-ledger"

    def part(self, pipeline: str, part: str) -> str:
        """`<stack>-<pipeline>-<part>`: the name of a pipeline's queue, function, role, …"""
        return f"{self.id}-{pipeline}-{part}"

    def bucket(self, part: str) -> str:
        """A bucket's name; where too long, cut and made unique again by a hash of the whole."""
        whole = f"{self.id}-{part}-{self.account}-{self.region}"
        if len(whole) <= BUCKET_NAME_MAX:
            return whole
        digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
        return f"{whole[: BUCKET_NAME_MAX - 11].rstrip('-')}-{digest}"

    def data_bucket(self, pipeline: str) -> str:
        return self.bucket(f"{pipeline}-data")

    def event_queue(self, pipeline: str) -> str:
        """S3's events on their way to dispatch."""
        return self.part(pipeline, "events")

    def work_queue(self, pipeline: str) -> str:
        """Shards on their way to workers."""
        return self.part(pipeline, "work")

    def dead_letter_queue(self, pipeline: str) -> str:
        """Shards that no worker could finish."""
        return self.part(pipeline, "dead")

    def undelivered_queue(self, pipeline: str) -> str:
        """S3's events that dispatch could not make sense of."""
        return self.part(pipeline, "undelivered")

    def queue_url(self, name: str, endpoint: str | None = None) -> str:
        """A queue's URL, known without asking SQS; `endpoint` is the emulator's address."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{endpoint or f'https://sqs.{self.region}.{suffix}'}/{self.account}/{name}"

    def dispatch_function(self, pipeline: str) -> str:
        return self.part(pipeline, "dispatch")

    def guard_function(self, pipeline: str) -> str:
        return self.part(pipeline, "guard")

    def callback_function(self, pipeline: str) -> str:
        """What is told of invocations that failed."""
        return self.part(pipeline, "callback")

    def forward_function(self, pipeline: str) -> str:
        """Takes shards from the work queue to a realtime endpoint."""
        return self.part(pipeline, "forward")

    def endpoint(self, pipeline: str) -> str:
        """The SageMaker endpoint, which keeps its name through every update."""
        return self.part(pipeline, "endpoint")

    def success_topic(self, pipeline: str) -> str:
        return self.part(pipeline, "success")

    def error_topic(self, pipeline: str) -> str:
        return self.part(pipeline, "errors")

    def endpoint_log_group(self, pipeline: str) -> str:
        """Where SageMaker writes what the containers print; its name is SageMaker's choice."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint(pipeline)}"

    def secret(self, name: str) -> str:
        """A secret of the stack. A slash, because Secrets Manager takes a name's last six characters after a hyphen
        for what it adds to names itself."""
        return f"{self.id}/{name}"

    def launch_template(self, pipeline: str) -> str:
        """The launch template's name before its content hash."""
        return self.part(pipeline, "worker")

    def worker_log_group(self, pipeline: str) -> str:
        return f"/gpupipe/{self.id}/{pipeline}/worker"

    def function_log_group(self, function: str) -> str:
        return f"/aws/lambda/{function}"

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """`arn:<partition>:<service>:<region>:<account>:<resource>`; IAM has no region."""
        return f"arn:{self.partition}:{service}:{self.region if regional else ''}:{self.account}:{resource}"

    def tags(self, key: str, *, pipeline: str = "") -> dict[str, str]:
        """The tags of the resource called `key`; the person's own cannot replace ours."""
        ours = {TAG_STACK: self.id, TAG_KEY: key}
        if pipeline:
            ours[TAG_PIPELINE] = pipeline
        return {**dict(self.extra_tags), **ours}
