from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.gpuworker.models.fake_hub import COMMIT, FILES, REPOSITORY, TOKEN, FakeHub, fake_hub

from gpuworker.contract import ModelSource
from gpuworker.models import ModelError
from gpuworker.models.files import ModelFile
from gpuworker.models.hub import Hub

SOURCE = ModelSource(weights=REPOSITORY, revision=COMMIT, token_secret="demo-dev/hf_token")
AT_ONCE = (0.0, 0.0, 0.0)


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub


def hub(server: FakeHub, *, source: ModelSource = SOURCE, token: str = "", pauses_s: Sequence[float] = AT_ONCE) -> Hub:
    return Hub(source, token=token, endpoint=server.url, pauses_s=pauses_s)


def fetched(server: FakeHub, into: Path, *, token: str = "") -> tuple[ModelFile, ...]:
    there = hub(server, token=token)
    return there.fetch(there.files(), into)


def refusal(server: FakeHub, into: Path, *, token: str = "", source: ModelSource = SOURCE) -> ModelError:
    there = hub(server, token=token, source=source)
    with pytest.raises(ModelError) as caught:
        there.fetch(there.files(), into)
    return caught.value


def test_weights_configuration_and_tokenizer_come_and_nothing_else(server: FakeHub, tmp_path: Path) -> None:
    # when
    files = fetched(server, tmp_path)
    # then
    assert {one.path for one in files} == {"model.safetensors", "config.json", "merges.txt"}
    for one in files:
        assert (tmp_path / one.path).read_bytes() == FILES[one.path]
        assert len(one.sha256) == 64
    assert not (tmp_path / "pytorch_model.bin").exists()
    assert server.tokens == {""}, "nobody's token is sent without being asked to"


def test_the_token_is_sent_where_there_is_one(server: FakeHub, tmp_path: Path) -> None:
    server.needs_token = True
    fetched(server, tmp_path, token=TOKEN)
    assert server.tokens == {TOKEN}


def test_a_download_that_breaks_off_goes_on_where_it_was(server: FakeHub, tmp_path: Path) -> None:
    # given more than the client takes at a time
    large = server.files["model.safetensors"] = FILES["model.safetensors"] * 240
    server.break_off["model.safetensors"] = 1
    # when
    fetched(server, tmp_path)
    # then
    assert (tmp_path / "model.safetensors").read_bytes() == large
    [asked] = server.ranges
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 10_000_000


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_arrives_damaged_is_fetched_again(server: FakeHub, tmp_path: Path, name: str) -> None:
    server.spoil[name] = 1
    fetched(server, tmp_path)
    assert (tmp_path / name).read_bytes() == FILES[name]


def test_a_file_that_stays_damaged_is_given_up(server: FakeHub, tmp_path: Path) -> None:
    server.spoil["config.json"] = 99
    told = refusal(server, tmp_path)
    assert "config.json arrived damaged" in str(told)
    assert not told.is_final
    assert server.asked[f"/{REPOSITORY}/resolve/{COMMIT}/config.json"] <= 12


def test_a_hub_that_is_down_for_a_moment_is_asked_again(server: FakeHub, tmp_path: Path) -> None:
    server.fail_next = [503]
    assert fetched(server, tmp_path)


def test_what_was_fetched_is_not_asked_for_again(server: FakeHub, tmp_path: Path) -> None:
    # given
    fetched(server, tmp_path)
    before = server.asked[f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"]
    # when
    fetched(server, tmp_path)
    # then
    assert server.asked[f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"] == before


def test_gated_says_to_accept_the_terms(server: FakeHub, tmp_path: Path) -> None:
    server.gated = True
    with_token = refusal(server, tmp_path, token=TOKEN)
    assert with_token.is_final
    assert str(with_token).startswith(f"{REPOSITORY} is gated: accept its terms")
    assert "whose token secret hf_token holds" in str(with_token)
    assert "gpupipe secrets set hf_token" in str(refusal(server, tmp_path))


def test_a_wrong_token_says_to_set_another_and_is_not_told(server: FakeHub, tmp_path: Path) -> None:
    wrong = "hf_wrong" + "y" * 20
    told = refusal(server, tmp_path, token=wrong)
    assert told.is_final
    assert "gpupipe secrets set hf_token" in str(told)
    assert wrong not in str(told)


def test_a_private_repository_asks_for_a_token(server: FakeHub, tmp_path: Path) -> None:
    server.needs_token = True
    told = refusal(server, tmp_path, source=ModelSource(weights=REPOSITORY, revision=COMMIT))
    assert told.is_final
    assert 'name a secret ("hf_token") as token_secret' in str(told)


def test_an_unknown_repository_is_told_by_name(server: FakeHub, tmp_path: Path) -> None:
    told = refusal(server, tmp_path, source=ModelSource(weights="meadow/tres-1", revision=COMMIT), token=TOKEN)
    assert told.is_final
    assert "the hub shows no meadow/tres-1: mind its spelling" in str(told)


def test_an_unknown_commit_is_told(server: FakeHub, tmp_path: Path) -> None:
    told = refusal(server, tmp_path, source=ModelSource(weights=REPOSITORY, revision="f" * 40))
    assert told.is_final
    assert f"has no commit {'f' * 40}" in str(told)


def test_a_repository_without_safetensors_is_refused(server: FakeHub, tmp_path: Path) -> None:
    del server.files["model.safetensors"]
    told = refusal(server, tmp_path)
    assert told.is_final
    assert "holds no *.safetensors" in str(told)


def test_no_way_to_the_hub_may_pass(tmp_path: Path) -> None:
    nowhere = Hub(SOURCE, token="", endpoint="http://127.0.0.1:9", pauses_s=())
    with pytest.raises(ModelError) as caught:
        nowhere.files()
    assert not caught.value.is_final
    assert "could not be reached" in str(caught.value)
    assert "a way to the internet" in str(caught.value)
