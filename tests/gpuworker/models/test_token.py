import pytest
from tests.gpuworker.models.fake_hub import TOKEN
from tests.gpuworker.station import Station

from gpuworker.contract import ModelSource
from gpuworker.models import ModelError
from gpuworker.models.token import read_token


def source(station: Station) -> ModelSource:
    return ModelSource(weights="a/b", revision="0" * 40, token_secret=f"{station.name}/hf_token")


def test_no_secret_is_asked_for_where_none_is_named(station: Station) -> None:
    assert read_token(ModelSource(weights="a/b", revision="0" * 40), station.client("secretsmanager")) == ""


def test_the_value_is_the_token(station: Station) -> None:
    secrets = station.client("secretsmanager")
    secrets.create_secret(Name=source(station).token_secret, SecretString=f"{TOKEN}\n")
    assert read_token(source(station), secrets) == TOKEN


@pytest.mark.parametrize("state", ["absent", "empty", "without value"])
def test_a_secret_without_a_value_says_how_to_set_it(station: Station, state: str) -> None:
    secrets = station.client("secretsmanager")
    if state == "empty":
        secrets.create_secret(Name=source(station).token_secret, SecretString=" ")
    elif state == "without value":
        secrets.create_secret(Name=source(station).token_secret)
    with pytest.raises(ModelError, match="`gpupipe secrets set hf_token`") as caught:
        read_token(source(station), secrets)
    assert caught.value.is_final
