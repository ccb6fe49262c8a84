"""Policy documents: equal when they mean the same, and shared by statements of several owners."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpupipe.resources import policy

names = st.sampled_from(["sqs:SendMessage", "s3:GetObject", "s3:PutObject", "*"])
lists = st.lists(names, min_size=1, max_size=3, unique=True)
statements = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Principal": st.one_of(st.just("*"), st.fixed_dictionaries({"Service": lists})),
        "Action": lists,
        "Resource": lists,
    },
    optional={"Condition": st.fixed_dictionaries({"StringEquals": st.fixed_dictionaries({"aws:k": lists})})},
)
documents = st.lists(statements, min_size=1, max_size=3).map(policy.document)


def as_aws_returns(value: Any, shuffle: Any) -> Any:
    """Lists in another order, and those of one as the value itself."""
    if isinstance(value, dict):
        return {key: as_aws_returns(one, shuffle) for key, one in reversed(value.items())}
    if isinstance(value, list):
        inside = [as_aws_returns(one, shuffle) for one in shuffle(value)]
        return inside[0] if len(inside) == 1 else inside
    return value


@given(documents, st.data())
def test_order_and_lists_of_one_make_no_difference(document: dict[str, Any], data: st.DataObject) -> None:
    returned = as_aws_returns(document, lambda values: data.draw(st.permutations(values)))

    assert policy.canonical(returned) == policy.canonical(document)
    assert policy.canonical(json.dumps(returned)) == policy.canonical(document)


@given(documents)
def test_the_canonical_form_is_its_own(document: dict[str, Any]) -> None:
    canonical = policy.canonical(document)

    assert policy.canonical(canonical) == canonical


def test_a_wider_action_or_another_account_does_make_a_difference() -> None:
    narrow = policy.document([{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "a"}])
    wide = policy.document([{"Effect": "Allow", "Action": ["s3:*"], "Resource": "a"}])

    assert policy.canonical(narrow) != policy.canonical(wide)


def test_everybody_is_everybody_in_either_spelling() -> None:
    short = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "a"}

    assert policy.canonical_statement(short) == policy.canonical_statement({**short, "Principal": {"AWS": "*"}})


def test_a_statement_is_put_replaced_and_taken_by_its_sid() -> None:
    theirs = {"Sid": "Theirs", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "a"}
    ours = policy.tls_only("s3:*", ["a"])

    once = policy.with_statement(json.dumps(policy.document([theirs])), ours)
    twice = policy.with_statement(once, ours)

    assert once == twice
    assert policy.statement(twice, policy.TLS_SID) == policy.canonical_statement(ours)
    assert policy.without_statement(twice, policy.TLS_SID) == policy.document([theirs])
    assert policy.without_statement(policy.document([ours]), policy.TLS_SID) == {}
    assert policy.statement(None, policy.TLS_SID) == policy.canonical("") == {}
