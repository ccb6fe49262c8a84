"""Model: a name that says its content, and a role that SageMaker may not know yet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.model import Model


@pytest.fixture
def model(stacks: Stacks) -> Model:
    return replace(Samples(stacks.mine).model(), exact_name="")


def test_its_name_changes_with_what_it_is(model: Model) -> None:
    assert model.aws_name.startswith("demo-dev-segment-model-")
    assert replace(model, image="rooms:2").aws_name != model.aws_name
    assert replace(model, environment={"A": "1"}).aws_name != model.aws_name
    assert replace(model, stack=replace(model.stack, extra_tags=())).aws_name == model.aws_name
    assert replace(model, image="rooms:2").key == model.key


def test_a_long_name_is_cut_and_stays_its_own(model: Model) -> None:
    long = replace(model, name="demo-dev-" + "a" * 60)

    assert len(long.aws_name) == 63
    assert long.aws_name != replace(long, name=long.name + "b").aws_name


@pytest.mark.parametrize(
    "refusal",
    [
        "Could not assume role arn:aws:iam::123456789012:role/x. Please ensure that the role exists.",
        'the role exists and that its trust relationship policy allows the action "sts:AssumeRole" for SageMaker',
    ],
)
def test_a_role_made_just_now_is_waited_for(aws: Aws, model: Model, refusal: str) -> None:
    with refusing(aws, "sagemaker", "CreateModel", "ValidationException", refusal) as calls:
        made(aws, model)

    assert len(calls) == 2
    assert_as_wanted(aws, model)


def test_what_is_found_has_the_key_of_what_was_made(aws: Aws, model: Model) -> None:
    newer = replace(model, image="rooms:2")
    made(aws, model)
    made(aws, newer)

    found = list(Model.find(aws))

    assert {one.key for one in found} == {model.key}
    assert {one.id for one in found} == {model.id, newer.id}
