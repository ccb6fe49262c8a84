from typing import Any

import pytest

from gpupipe.local.ministack_state import capture


def test_queues_are_captured_before_everything_else() -> None:
    order: list[str] = []

    def getter(name: str) -> Any:
        def get() -> dict[str, str]:
            order.append(name)
            return {"name": name}

        return get

    states = capture({name: getter(name) for name in ("dynamodb", "s3", "sqs", "lambda")})
    assert order[0] == "sqs"
    assert next(iter(states)) == "sqs"
    assert set(states) == {"dynamodb", "s3", "sqs", "lambda"}


def test_service_without_state_is_left_out() -> None:
    assert capture({"sqs": lambda: None, "s3": dict}) == {"s3": {}}


def test_state_that_changes_while_it_is_copied_is_copied_again() -> None:
    answers = iter([RuntimeError("dictionary changed size during iteration"), {"rows": 1}])

    def get() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert capture({"lambda": get}) == {"lambda": {"rows": 1}}


def test_state_that_never_holds_still_is_an_error() -> None:
    def get() -> Any:
        raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(RuntimeError):
        capture({"lambda": get})
