"""An engineer with keys of AWS: what is said before anything costs money, what `up` makes, and that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.ssm.models import ssm_backends
from tests import moto_in_process
from tests.walks.transcript import Walk


@pytest.fixture
def keys(walk: Walk, mended_moto: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An empty account at AWS, as moto plays it in this process, and what opens it."""
    with moto_in_process.mocked():
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")  # moto's own, so that nobody's real ones are used
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        know_images(moto_in_process.ACCOUNT.region)
        yield {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": moto_in_process.ACCOUNT.secret_key}


def know_images(region: str) -> None:
    """Of AWS's public machine images moto knows some: any that is asked for is one of those."""
    backend: Any = ssm_backends[moto_in_process.ACCOUNT.account_id][region]
    original = backend.get_parameter

    def get_parameter(name: str) -> Any:
        return original(moto_in_process.KNOWN_IMAGE if name.startswith("/aws/service/") else name)

    backend.get_parameter = get_parameter


def set_region(walk: Walk, region: str) -> None:
    """As somebody does in an editor."""
    config = walk.person.folder / "gpupipe.toml"
    lines = config.read_text().splitlines()
    [at] = [number for number, line in enumerate(lines) if line.removeprefix("# ").startswith("region = ")]
    lines[at] = f'region = "{region}"'
    config.write_text("\n".join(lines) + "\n")


def test_what_is_missing_is_said_before_anything_is_asked_of_aws(
    walk: Walk, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk.goes(
        """
        $ gpupipe plan
        2> error: there is no FOLDER/gpupipe.toml.
        2>   Write one with `gpupipe init`, or name one with --config.
        (exit 2)
        $ gpupipe init --target aws --name survey
        wrote FOLDER/gpupipe.toml; next: `gpupipe plan`, then `gpupipe up`
        $ gpupipe init --target aws --name survey
        2> error: FOLDER/gpupipe.toml exists and is not overwritten.
        2>   Edit it, or choose another --config.
        (exit 2)
        $ gpupipe plan
        2> error: there are no AWS credentials.
        2>   Run `aws configure sso` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and
            ... AWS_SECRET_ACCESS_KEY; or set target = "local" in gpupipe.toml to rehearse without an account.
        (exit 1)
        """
    )
    # one of two keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AWS_ACCESS_KEY_ID"])
    walk.goes(
        """
        $ gpupipe plan
        2> error: half of the AWS credentials is missing (Partial credentials found in env, missing:
            ... AWS_SECRET_ACCESS_KEY).
        2>   Run `aws configure sso` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and
            ... AWS_SECRET_ACCESS_KEY.
        (exit 1)
        """
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["AWS_SECRET_ACCESS_KEY"])
    # a region with a mistake, and a profile that is not there
    set_region(walk, "eu-centrall-1")
    walk.goes(
        """
        $ gpupipe plan
        2> error: AWS does not have what the configuration names:
        2>   stack.region: AWS has no region 'eu-centrall-1'; did you mean 'eu-central-1' or 'me-central-1' or
            ... 'eu-central-2'? If it is new, `pip install --upgrade boto3` brings a list that has it.
        (exit 2)
        $ gpupipe up --yes
        2> error: AWS does not have what the configuration names:
        2>   stack.region: AWS has no region 'eu-centrall-1'; did you mean 'eu-central-1' or 'me-central-1' or
            ... 'eu-central-2'? If it is new, `pip install --upgrade boto3` brings a list that has it.
        (exit 2)
        """
    )
    set_region(walk, "us-east-1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    walk.goes(
        """
        $ gpupipe plan
        2> error: the AWS profile does not exist (The config profile (nobody) could not be found).
        2>   See `aws configure list-profiles`, and AWS_PROFILE.
        (exit 1)
        """
    )


def test_from_a_plan_to_a_stack_and_back_to_nothing(
    walk: Walk, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    (walk.person.folder / "images").mkdir()
    (walk.person.folder / "images" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    walk.goes(
        """
        $ gpupipe init --target aws --name survey
        wrote FOLDER/gpupipe.toml; next: `gpupipe plan`, then `gpupipe up`
        $ gpupipe submit images --project first
        2> error: there is no bucket survey-dev-segment-data-ACCOUNT-us-east-1.
        2>   Run `gpupipe up` first.
        (exit 1)
        $ gpupipe jobs
        2> error: the ledger of survey-dev is not there.
        2>   Run `gpupipe up` first.
        (exit 1)
        $ gpupipe plan
            what                                                                 change   $/month
        ─────────────────────────────────────────────────────────────────────────────────────────
        +   state bucket survey-dev-state-ACCOUNT-us-east-1                             N
        +   table survey-dev-ledger
        +   bucket survey-dev-segment-data-ACCOUNT-us-east-1
        +   queue survey-dev-segment-dead
        +   queue survey-dev-segment-events
        +   queue survey-dev-segment-undelivered
        +   queue survey-dev-segment-work
        +   log group /aws/lambda/survey-dev-segment-dispatch
        +   log group /aws/lambda/survey-dev-segment-guard
        +   log group /gpupipe/survey-dev/segment/worker
        +   role survey-dev-segment-dispatch
        +   role survey-dev-segment-guard
        +   role survey-dev-segment-schedule
        +   role survey-dev-segment-worker
        +   instance profile survey-dev-segment-worker
        +   security group survey-dev-segment-worker
        +   launch template survey-dev-segment-worker
        +   function survey-dev-segment-dispatch
        +   function survey-dev-segment-guard
        +   bucket notification survey-dev-segment-data-ACCOUNT-us-east-1
        +   event source survey-dev-segment-events                                           N
        +   queue policy survey-dev-segment-events
        +   schedule survey-dev-segment-guard                                                N
        23 to create.
        Standing cost about $N a month, used or not.
        segment: no machine runs until there is work. One g4dn.xlarge (on-demand, us-east-1) costs $N an hour while
            ... it runs, about $N per 1,000 images; stopped, its disk costs $N a month. At most 1 at once. Prices of
            ... 2026-11.
        $ gpupipe up
        2>     what                                                                 change   $/month
        2> ─────────────────────────────────────────────────────────────────────────────────────────
        2> +   state bucket survey-dev-state-ACCOUNT-us-east-1                             N
        2> +   table survey-dev-ledger
        2> +   bucket survey-dev-segment-data-ACCOUNT-us-east-1
        2> +   queue survey-dev-segment-dead
        2> +   queue survey-dev-segment-events
        2> +   queue survey-dev-segment-undelivered
        2> +   queue survey-dev-segment-work
        2> +   log group /aws/lambda/survey-dev-segment-dispatch
        2> +   log group /aws/lambda/survey-dev-segment-guard
        2> +   log group /gpupipe/survey-dev/segment/worker
        2> +   role survey-dev-segment-dispatch
        2> +   role survey-dev-segment-guard
        2> +   role survey-dev-segment-schedule
        2> +   role survey-dev-segment-worker
        2> +   instance profile survey-dev-segment-worker
        2> +   security group survey-dev-segment-worker
        2> +   launch template survey-dev-segment-worker
        2> +   function survey-dev-segment-dispatch
        2> +   function survey-dev-segment-guard
        2> +   bucket notification survey-dev-segment-data-ACCOUNT-us-east-1
        2> +   event source survey-dev-segment-events                                           N
        2> +   queue policy survey-dev-segment-events
        2> +   schedule survey-dev-segment-guard                                                N
        2> 23 to create.
        2> Standing cost about $N a month, used or not.
        2> segment: no machine runs until there is work. One g4dn.xlarge (on-demand, us-east-1) costs $N an hour
            ... while it runs, about $N per 1,000 images; stopped, its disk costs $N a month. At most 1 at once.
            ... Prices of 2026-11.
        2> error: Make these changes? Nobody is there to ask.
        2>   Pass --yes to agree.
        (exit 2)
        """
    )
    walk.goes(
        """
        $ gpupipe up --yes
        2>     what                                                                 change   $/month
        2> ─────────────────────────────────────────────────────────────────────────────────────────
        2> +   state bucket survey-dev-state-ACCOUNT-us-east-1                             N
        2> +   table survey-dev-ledger
        2> +   bucket survey-dev-segment-data-ACCOUNT-us-east-1
        2> +   queue survey-dev-segment-dead
        2> +   queue survey-dev-segment-events
        2> +   queue survey-dev-segment-undelivered
        2> +   queue survey-dev-segment-work
        2> +   log group /aws/lambda/survey-dev-segment-dispatch
        2> +   log group /aws/lambda/survey-dev-segment-guard
        2> +   log group /gpupipe/survey-dev/segment/worker
        2> +   role survey-dev-segment-dispatch
        2> +   role survey-dev-segment-guard
        2> +   role survey-dev-segment-schedule
        2> +   role survey-dev-segment-worker
        2> +   instance profile survey-dev-segment-worker
        2> +   security group survey-dev-segment-worker
        2> +   launch template survey-dev-segment-worker
        2> +   function survey-dev-segment-dispatch
        2> +   function survey-dev-segment-guard
        2> +   bucket notification survey-dev-segment-data-ACCOUNT-us-east-1
        2> +   event source survey-dev-segment-events                                           N
        2> +   queue policy survey-dev-segment-events
        2> +   schedule survey-dev-segment-guard                                                N
        2> 23 to create.
        2> Standing cost about $N a month, used or not.
        2> segment: no machine runs until there is work. One g4dn.xlarge (on-demand, us-east-1) costs $N an hour
            ... while it runs, about $N per 1,000 images; stopped, its disk costs $N a month. At most 1 at once.
            ... Prices of 2026-11.
        segment.bucket = survey-dev-segment-data-ACCOUNT-us-east-1
        segment.table = survey-dev-ledger
        segment.work_queue_url = https://sqs.us-east-1.amazonaws.com/ACCOUNT/survey-dev-segment-work
        segment.dead_letter_queue_url = https://sqs.us-east-1.amazonaws.com/ACCOUNT/survey-dev-segment-dead
        The stack is up. Next: `gpupipe submit FOLDER --project NAME`
        $ gpupipe up --yes
        2> Nothing to do: all 23 parts are as gpupipe.toml says.
        segment.bucket = survey-dev-segment-data-ACCOUNT-us-east-1
        segment.table = survey-dev-ledger
        segment.work_queue_url = https://sqs.us-east-1.amazonaws.com/ACCOUNT/survey-dev-segment-work
        segment.dead_letter_queue_url = https://sqs.us-east-1.amazonaws.com/ACCOUNT/survey-dev-segment-dead
        The stack is up. Next: `gpupipe submit FOLDER --project NAME`
        $ gpupipe plan
        Nothing to do: all 23 parts are as gpupipe.toml says.
        $ gpupipe jobs
        No job yet: `gpupipe submit FOLDER --project NAME` starts one.
        $ gpupipe fetch
        2> error: there is no job of this stack.
        2>   Start one with `gpupipe submit`; see `gpupipe jobs`.
        (exit 1)
        $ gpupipe watch
        2> error: there is no job of this stack.
        2>   Start one with `gpupipe submit`; see `gpupipe jobs`.
        (exit 1)
        $ gpupipe open
        2> error: there are no results on this machine, as far as gpupipe knows.
        2>   Fetch them with `gpupipe fetch --open`; those in another folder open with `gpupipe open -o FOLDER`.
        (exit 1)
        """
    )
    assert walk.person.types("status", "--json").document["is_deployed"]
    # a stack of the same name is nowhere else
    set_region(walk, "eu-west-1")
    assert not walk.person.types("status", "--json").document["is_deployed"]
    set_region(walk, "us-east-1")
    walk.goes(
        """
        $ gpupipe down
        2>     what                                                                 change   $/month
        2> ─────────────────────────────────────────────────────────────────────────────────────────
        2> -   bucket notification survey-dev-segment-data-ACCOUNT-us-east-1
        2> -   event source survey-dev-segment-events
        2> -   queue policy survey-dev-segment-events
        2> -   schedule survey-dev-segment-guard
        2> -   function survey-dev-segment-dispatch
        2> -   function survey-dev-segment-guard
        2> -   launch template survey-dev-segment-worker
        2> -   instance profile survey-dev-segment-worker
        2> -   security group survey-dev-segment-worker
        2> -   role survey-dev-segment-dispatch
        2> -   role survey-dev-segment-guard
        2> -   role survey-dev-segment-schedule
        2> -   role survey-dev-segment-worker
        2> -   log group /aws/lambda/survey-dev-segment-dispatch
        2> -   log group /aws/lambda/survey-dev-segment-guard
        2> -   log group /gpupipe/survey-dev/segment/worker
        2> -   table survey-dev-ledger
        2> -   bucket survey-dev-segment-data-ACCOUNT-us-east-1
        2> -   queue survey-dev-segment-dead
        2> -   queue survey-dev-segment-events
        2> -   queue survey-dev-segment-undelivered
        2> -   queue survey-dev-segment-work
        2> -   state bucket survey-dev-state-ACCOUNT-us-east-1
        2> 23 to delete.
        2> error: Delete these 23 things and ALL DATA in survey-dev-ledger,
            ... survey-dev-segment-data-ACCOUNT-us-east-1? Nobody is there to ask.
        2>   Pass --yes to agree.
        (exit 2)
        $ gpupipe down --yes
        2>     what                                                                 change   $/month
        2> ─────────────────────────────────────────────────────────────────────────────────────────
        2> -   bucket notification survey-dev-segment-data-ACCOUNT-us-east-1
        2> -   event source survey-dev-segment-events
        2> -   queue policy survey-dev-segment-events
        2> -   schedule survey-dev-segment-guard
        2> -   function survey-dev-segment-dispatch
        2> -   function survey-dev-segment-guard
        2> -   launch template survey-dev-segment-worker
        2> -   instance profile survey-dev-segment-worker
        2> -   security group survey-dev-segment-worker
        2> -   role survey-dev-segment-dispatch
        2> -   role survey-dev-segment-guard
        2> -   role survey-dev-segment-schedule
        2> -   role survey-dev-segment-worker
        2> -   log group /aws/lambda/survey-dev-segment-dispatch
        2> -   log group /aws/lambda/survey-dev-segment-guard
        2> -   log group /gpupipe/survey-dev/segment/worker
        2> -   table survey-dev-ledger
        2> -   bucket survey-dev-segment-data-ACCOUNT-us-east-1
        2> -   queue survey-dev-segment-dead
        2> -   queue survey-dev-segment-events
        2> -   queue survey-dev-segment-undelivered
        2> -   queue survey-dev-segment-work
        2> -   state bucket survey-dev-state-ACCOUNT-us-east-1
        2> 23 to delete.
        Deleted 23 things.
        Searched the account for leftovers by tag and by name: none.
        $ gpupipe down --yes
        Nothing was there to delete.
        Searched the account for leftovers by tag and by name: none.
        """
    )
    assert not walk.person.types("status", "--json").document["is_deployed"]
