"""What the configuration may say of weights, and what is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpupipe.config import Config, load
from gpupipe.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = f'weights = "meadow/trees-1"\nrevision = "{COMMIT}"'
KINDS = ("queue", "endpoint")


def config(folder: Path, model: str, *, kind: str = "queue", options: str = "", more: str = "") -> Config:
    path = folder / "gpupipe.toml"
    path.write_text(
        f"""
[stack]
name = "demo"
[pipelines.segment]
kind = "{kind}"
task = "segment"
{more}
[pipelines.segment.task_options]
{options}
[pipelines.segment.model]
{model}
"""
    )
    return load(path)


def mistakes(folder: Path, model: str, *, kind: str = "queue", options: str = "", more: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        config(folder, model, kind=kind, options=options, more=more)
    return caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_hub_with_a_commit_and_a_secret_are_taken(tmp_path: Path, kind: str) -> None:
    model = config(tmp_path, f'{HUB}\ntoken_secret = "hf_token"', kind=kind).pipelines["segment"].model
    assert (model.weights, model.revision, model.token_secret) == ("meadow/trees-1", COMMIT, "hf_token")


@pytest.mark.parametrize("revision", ["", "main", "v1.0", COMMIT[:7], COMMIT.upper(), COMMIT + "0"])
def test_only_a_whole_commit_pins_weights(tmp_path: Path, revision: str) -> None:
    told = mistakes(tmp_path, f'weights = "meadow/trees-1"\nrevision = "{revision}"')
    assert "pipelines.segment.model.revision: must be a commit of the hub's repository, 40 hexadecimal digits" in told


@pytest.mark.parametrize("name", ["trees", "a/b/c", "weights/", "./weights", "../x", "a b/c", "-x/y", "a/.."])
def test_what_is_neither_a_hubs_name_nor_a_whole_path_is_refused(tmp_path: Path, name: str) -> None:
    told = mistakes(tmp_path, f'weights = "{name}"\nrevision = "{COMMIT}"')
    assert f"model.weights: {name!r} is neither" in told


def test_a_folder_needs_neither_commit_nor_token(tmp_path: Path) -> None:
    told = mistakes(tmp_path, f'weights = "/models/trees"\nrevision = "{COMMIT}"\ntoken_secret = "hf_token"')
    assert "model.revision: is for weights from a hub" in told
    assert "model.token_secret: is for weights from a hub" in told


def test_a_commit_or_a_token_without_weights_is_told(tmp_path: Path) -> None:
    assert "model.weights: is missing" in mistakes(tmp_path, 'token_secret = "hf_token"')


def test_a_token_in_place_of_its_secrets_name_is_refused_and_not_repeated(tmp_path: Path) -> None:
    token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
    told = mistakes(tmp_path, f'{HUB}\ntoken_secret = "{token}"')
    assert "model.token_secret: is the name of a secret" in told
    assert "gpupipe secrets set" in told
    assert token not in told


@pytest.mark.parametrize("kind", KINDS)
def test_sam3_without_weights_is_refused(tmp_path: Path, kind: str) -> None:
    told = mistakes(tmp_path, "", kind=kind, options='engine = "sam3"\nprompts = ["tree"]')
    assert 'pipelines.segment.model.weights: is missing; engine "sam3" carries none' in told
    assert config(tmp_path, HUB, kind=kind, options='engine = "sam3"\nprompts = ["tree"]')


@pytest.mark.parametrize("engine", ["nanodet", "vegetation", "auto"])
def test_other_engines_need_none(tmp_path: Path, engine: str) -> None:
    assert config(tmp_path, "", options=f'engine = "{engine}"').pipelines["segment"].model.weights == ""


def test_a_task_without_engines_takes_none(tmp_path: Path) -> None:
    path = tmp_path / "gpupipe.toml"
    rooms = f'[pipelines.rooms]\nkind = "endpoint"\ntask = "detect-rooms"\n[pipelines.rooms.model]\n{HUB}'
    path.write_text(f'[stack]\nname = "demo"\n{rooms}')
    with pytest.raises(ConfigError, match=r"pipelines\.rooms\.model\.weights: task detect-rooms loads no weights"):
        load(path)


def test_mistakes_in_options_are_told_alone(tmp_path: Path) -> None:
    told = mistakes(tmp_path, HUB, options='engin = "sam3"')
    assert "task_options.engin: unknown key" in told
    assert "weights" not in told


def test_a_variant_of_an_endpoint_needs_them_too(tmp_path: Path) -> None:
    more = """
mode = "realtime"
variants = [{name = "old"}, {name = "new", task_options = {engine = "sam3", prompts = ["tree"]}}]
"""
    told = mistakes(tmp_path, "", kind="endpoint", more=more)
    assert 'model.weights: is missing; engine "sam3" carries none' in told


def test_a_missing_folder_is_told_before_an_up_and_never_keeps_a_stack_from_being_seen(tmp_path: Path) -> None:
    loaded = config(tmp_path, f'weights = "{tmp_path}/trees"')
    with pytest.raises(ConfigError, match=rf"pipelines\.segment\.model\.weights: there is no folder {tmp_path}/trees"):
        loaded.check_folders()
    (tmp_path / "trees").mkdir()
    with pytest.raises(ConfigError, match="does not hold weights"):
        loaded.check_folders()
    (tmp_path / "trees" / "config.json").write_text("{}")
    (tmp_path / "trees" / "model.safetensors").write_bytes(b"")
    loaded.check_folders()


def test_a_folder_of_a_machine_on_aws_is_not_looked_for_here(tmp_path: Path) -> None:
    loaded = config(tmp_path, 'weights = "/opt/weights/trees"')
    aws = loaded.model_copy(update={"stack": loaded.stack.model_copy(update={"target": "aws"})})
    aws.check_folders()
