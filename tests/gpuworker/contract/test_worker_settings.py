import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuworker.contract import ContractError, WorkerSettings
from gpuworker.contract.documents import ENVIRONMENT_NAME

LONGEST_VALUE = 1024
"""SageMaker's, of an environment variable of a model."""


def settings(**options: object) -> WorkerSettings:
    return WorkerSettings(
        stack="s",
        pipeline="p",
        region="us-east-1",
        account="1",
        bucket="b",
        queue_url="",
        table="t",
        log_group="g",
        task="detect-rooms",
        task_options=options,
        variant="main",
    )


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=300) | st.integers() | st.booleans(), max_size=20))
def test_settings_come_through_an_environment_whatever_they_hold(options: dict[str, object]) -> None:
    given_settings = settings(options=options)
    environment = given_settings.to_environment()
    assert max(len(value) for value in environment.values()) <= LONGEST_VALUE
    assert all(value.isascii() and "\0" not in value for value in environment.values())
    assert WorkerSettings.from_environment({"PATH": "/bin", **environment}) == given_settings


def test_short_settings_are_one_variable() -> None:
    assert set(settings().to_environment()) == {ENVIRONMENT_NAME}


def test_pieces_are_joined_in_their_order_beyond_ten() -> None:
    long = settings(prompts=["x" * 100] * 150)
    environment = dict(sorted(long.to_environment().items()))
    assert len(environment) > 11
    assert WorkerSettings.from_environment(environment) == long


@pytest.mark.parametrize("cut", [ENVIRONMENT_NAME, f"{ENVIRONMENT_NAME}_1"])
def test_piece_that_is_missing_is_an_error(cut: str) -> None:
    environment = settings(prompts=["x" * 100] * 30).to_environment()
    del environment[cut]
    with pytest.raises(ContractError):
        WorkerSettings.from_environment(environment)
