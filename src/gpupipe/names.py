"""Every AWS name, tag and path, from the configuration; pure, so that any machine finds the same things.

Names are `<stack>-<pipeline>-<part>` with stack = `<name>-<environment>`. Buckets live in a namespace shared by
all of AWS, so theirs end in the account and region.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

TAG_STACK = "gpupipe:stack"
TAG_PIPELINE = "gpupipe:pipeline"
TAG_KEY = "gpupipe:key"
BUCKET_NAME_MAX = 63
ROLE_NAME_MAX = 64


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Everything of one name and environment in one account and region: what names are made from."""

    name: str
    environment: str
    account: str
    region: str
    partition: str = "aws"

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
        return self.bucket(pipeline)

    def worker_log_group(self, pipeline: str) -> str:
        return f"/gpupipe/{self.id}/{pipeline}/worker"

    def function_log_group(self, function: str) -> str:
        return f"/aws/lambda/{function}"

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """`arn:<partition>:<service>:<region>:<account>:<resource>`; IAM has no region."""
        return f"arn:{self.partition}:{service}:{self.region if regional else ''}:{self.account}:{resource}"

    def tags(self, key: str, *, pipeline: str = "", extra: dict[str, str] | None = None) -> dict[str, str]:
        """The tags of the resource called `key`; the person's own tags cannot replace ours."""
        ours = {TAG_STACK: self.id, TAG_KEY: key}
        if pipeline:
            ours[TAG_PIPELINE] = pipeline
        return {**(extra or {}), **ours}
