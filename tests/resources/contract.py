"""What every kind promises, whatever it is.

A test class that inherits from these has the fixtures `aws` and `stacks`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.resources.samples import SAMPLES, Samples

from gpupipe.aws import Aws, is_mutation
from gpupipe.errors import NotOursError, StoppedError
from gpupipe.names import Stack
from gpupipe.resources import Resource, kind_class
from gpupipe.resources.ownership import differing

MOST_CALLS = 40


@dataclass(frozen=True)
class Stacks:
    """Ours, and one whose names begin like ours."""

    mine: Stack
    other: Stack


@dataclass(frozen=True)
class Sample:
    """A resource of ours, the same thing changed, and the same thing as another stack would have made it."""

    resource: Resource
    changed: Resource
    of_other: Resource
    """The other stack's own."""
    foreign: Resource
    """The other stack's, under our name."""


class Sampled:
    """Each kind in turn."""

    @pytest.fixture(params=sorted(SAMPLES))
    def sample(self, request: pytest.FixtureRequest, stacks: Stacks) -> Sample:
        make, change = SAMPLES[request.param]
        mine = Samples(stacks.mine)
        return Sample(
            resource=make(mine),
            changed=change(mine),
            of_other=make(Samples(stacks.other)),
            foreign=make(Samples(stacks.other, named_as=stacks.mine)),
        )


class Contract(Sampled):
    """What each kind promises."""

    def test_what_is_not_there_is_not_observed_and_not_found(self, aws: Aws, sample: Sample) -> None:
        assert sample.resource.observe(aws) is None
        assert list(type(sample.resource).find(aws)) == []

    def test_created_is_as_wanted_and_observing_changes_nothing(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)

        with recorded(aws) as calls:
            observed = sample.resource.observe(aws)

        assert observed is not None
        assert observed.owner == sample.resource.stack.id
        assert dict(observed.fields) == dict(sample.resource.desired())
        assert not [call for call in calls if is_mutation(call)]

    def test_created_again_is_adopted(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)

        sample.resource.create(aws)

        assert_as_wanted(aws, sample.resource)

    def test_changed_fields_are_updated(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)
        for required in sample.changed.requires():
            made(aws, required)
        observed = sample.changed.observe(aws)
        assert observed is not None
        changed = differing(sample.changed, observed)
        assert changed

        sample.changed.update(aws, changed)

        assert_as_wanted(aws, sample.changed)

    def test_deleted_twice_is_gone(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)

        sample.resource.delete(aws)
        sample.resource.delete(aws)

        assert sample.resource.observe(aws) is None
        assert sample.resource.id not in {one.id for one in type(sample.resource).find(aws)}

    def test_found_is_ours_only_and_can_be_deleted(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)
        made(aws, sample.of_other)

        (found,) = [one for one in kind_class(sample.resource.kind).find(aws) if one.id == sample.resource.id]

        assert (found.key, found.resource.pipeline) == (sample.resource.key, sample.resource.pipeline)
        assert all(one.resource.stack == aws.stack for one in type(sample.resource).find(aws))
        assert sample.of_other.id not in {one.id for one in type(sample.resource).find(aws)}
        found.resource.delete(aws)
        assert sample.resource.observe(aws) is None
        assert_as_wanted(aws, sample.of_other)

    def test_what_is_anothers_is_never_touched(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.foreign)

        with recorded(aws) as calls:
            with pytest.raises(NotOursError, match=sample.foreign.stack.id):
                sample.resource.create(aws)
            with pytest.raises(NotOursError, match=sample.foreign.stack.id):
                sample.changed.update(aws, frozenset(sample.changed.desired()))
            with contextlib.suppress(NotOursError):  # of a part of a thing, the others' part may just not be ours
                sample.resource.delete(aws)

        assert not [call for call in calls if is_mutation(call)]
        assert_as_wanted(aws, sample.foreign)


class Killed(Sampled):
    """A call that was killed anywhere is finished by the next."""

    def test_a_creation_killed_before_any_call_is_finished_by_the_next(self, aws: Aws, sample: Sample) -> None:
        for required in sample.resource.requires():
            made(aws, required)

        for calls in range(MOST_CALLS):
            if not killed_at_mutation(aws, calls, sample.resource.create):
                break
            converge(aws, sample.resource)
            assert_as_wanted(aws, sample.resource)
            sample.resource.delete(aws)

        assert 0 < calls < MOST_CALLS

    def test_a_deletion_killed_before_any_call_is_finished_by_the_next(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.resource)

        for calls in range(MOST_CALLS):
            if not killed_at_mutation(aws, calls, sample.resource.delete):
                break
            sample.resource.delete(aws)
            assert sample.resource.observe(aws) is None, f"killed before its change number {calls + 1}"
            converge(aws, sample.resource)

        assert 0 < calls < MOST_CALLS


def made(aws: Aws, resource: Resource) -> None:
    """Create `resource` and all that it needs."""
    for required in resource.requires():
        made(aws, required)
    resource.create(aws)


def assert_as_wanted(aws: Aws, resource: Resource) -> None:
    observed = resource.observe(aws)
    assert observed is not None
    assert observed.owner == resource.stack.id
    assert dict(observed.fields) == dict(resource.desired())


def converge(aws: Aws, resource: Resource) -> None:
    """What an `up` does for one resource."""
    observed = resource.observe(aws)
    if observed is None:
        resource.create(aws)
    elif changed := differing(resource, observed):
        assert not changed & resource.immutable
        resource.update(aws, changed)


class recorded:  # noqa: N801 - reads as a sentence
    """Operations called within."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.calls: list[str] = []

    def __enter__(self) -> list[str]:
        self.aws.gate = lambda service, operation: self.calls.append(operation)
        return self.calls

    def __exit__(self, *error: object) -> None:
        self.aws.gate = None


def killed_at_mutation(aws: Aws, number: int, verb: object) -> bool:
    """Call `verb`, stopped at the change that has this number (from 0); False when it ended before that."""
    mutations: Iterator[int] = iter(range(MOST_CALLS))

    def gate(service: str, operation: str) -> None:
        if is_mutation(operation) and next(mutations) == number:
            raise StoppedError("killed here.")

    assert callable(verb)
    aws.gate = gate
    try:
        verb(aws)
    except StoppedError:
        return True
    finally:
        aws.gate = None
    return False
