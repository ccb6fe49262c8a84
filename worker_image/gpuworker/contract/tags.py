"""The tags that a stack's things are known by: `up` writes them; guard, `down` and local target look for them."""

from __future__ import annotations

TAG_PREFIX = "gpupipe:"
"""Begins each of ours, and none of the person's own."""
TAG_STACK = f"{TAG_PREFIX}stack"
"""Whose it is: `<name>-<environment>`."""
TAG_PIPELINE = f"{TAG_PREFIX}pipeline"
TAG_KEY = f"{TAG_PREFIX}key"
"""What it is in its stack: `queue/segment-work`."""
TAG_TEMPLATE = f"{TAG_PREFIX}template"
"""On every machine: the fingerprint of the launch template that it was started from."""
TAG_REGION = f"{TAG_PREFIX}region"
"""IAM is one for all regions: its tags must say which region's stack of that name a role is of."""
TAG_VPC = f"{TAG_PREFIX}vpc"
"""The VPC that a security group was asked for in; "default" too is said, because its id tells nothing without another
read."""
