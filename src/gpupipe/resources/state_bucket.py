"""State bucket: holds the stack's lock and inventory; created before everything and deleted after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from gpupipe.aws import Aws
from gpupipe.names import Stack
from gpupipe.resources import Found, Phase
from gpupipe.resources.bucket import Bucket, LifecycleRule

KEEP_OLD_DAYS = 7
"""Each renewal of the lock leaves an old version behind."""


@dataclass(frozen=True, kw_only=True)
class StateBucket(Bucket):
    """A bucket like those for data, but nobody's results: what it knows can be found again by searching."""

    kind: ClassVar[str] = "state bucket"
    phase: ClassVar[Phase] = Phase.STATE
    holds_data: ClassVar[bool] = False

    @classmethod
    def of(cls, stack: Stack) -> StateBucket:
        """The one of `stack`."""
        rule = LifecycleRule(id="old-versions", old_versions_days=KEEP_OLD_DAYS, abort_uploads_days=1)
        return cls(stack=stack, name=stack.state_bucket, lifecycle=(rule,))

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        bucket = cls.of(aws.stack)
        observed = bucket.observe(aws)
        if observed is not None and observed.owner == aws.stack.id:
            yield Found(kind=cls.kind, key=bucket.key, name=bucket.name, resource=bucket)
