"""`gpupipe demo` in a folder where something is already."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Types

from gpupipe.cli.demo import _free, _prepared
from gpupipe.errors import UsageError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('target = "local"', 'target = "aws"'),
        ("[local]", '[local]\nworker_python = "./anything"'),
        ("[pipelines.segment", "[pipelines.other"),
    ],
)
def test_a_configuration_that_is_not_the_demos_own_is_never_made(
    types: Types, folder: Path, old: str, new: str
) -> None:
    # given a repository that brought a folder of that name along
    config = _prepared(folder / "gpupipe-demo")
    config.write_text(config.read_text().replace(old, new))
    # when
    typed = types("demo")
    # then
    assert typed.code == 2
    assert "is not as the demo writes it" in typed.err
    assert not (folder / "gpupipe-demo" / ".gpupipe").exists()


def test_its_own_is_used_again_whatever_its_comments_say(folder: Path) -> None:
    config = _prepared(folder / "demo")
    config.write_text(f"# of an older version\n{config.read_text()}")
    assert _prepared(folder / "demo") == config


def test_a_folder_with_other_things_is_refused(folder: Path) -> None:
    (folder / "mine.txt").touch()
    with pytest.raises(UsageError, match="is not empty and no demo's folder"):
        _prepared(folder)


def test_results_go_where_nothing_is_not_even_a_link_to_nothing(folder: Path) -> None:
    (folder / "results").symlink_to(folder / "nowhere")
    assert _free(folder) == folder / "results-2"


def test_a_folder_that_nobody_named_is_no_link(types: Types, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "gpupipe-demo").symlink_to(folder / "elsewhere")
    typed = types("demo")
    assert (typed.code, list((folder / "elsewhere").iterdir())) == (2, [])
    assert "is a link" in typed.err
