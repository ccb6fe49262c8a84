"""Tables, text and JSON: wide, narrow, and where nobody looks."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gpupipe.cli.screen import Screen, add_row, duration, new_table, plural, show_table
from gpupipe.errors import GpupipeError, UsageError


def shown(width: int, *, is_terminal: bool) -> list[str]:
    table = new_table("job", "state", "images", right=("images",))
    add_row(table, "20261121-131423-a-long-project-a166", "finished", "61")
    add_row(table, "[red]b[/red]\x1b[0m", "running", "1,000")
    file = io.StringIO()
    show_table(Console(file=file, width=width, force_terminal=is_terminal, no_color=True), table)
    return file.getvalue().splitlines()


def test_a_narrow_terminal_gets_blocks_with_whole_words() -> None:
    lines = shown(40, is_terminal=True)
    assert lines[0] == "20261121-131423-a-long-project-a166"
    assert lines[1].strip() == "state finished  images 61"


def test_where_nobody_looks_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = shown(20, is_terminal=False)
    assert lines[2].split() == ["20261121-131423-a-long-project-a166", "finished", "61"]
    assert not any(line.endswith(" ") for line in lines)


def test_cells_are_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "[red]b[/red]\N{REPLACEMENT CHARACTER}[0m" in shown(20, is_terminal=False)[3]


def test_colours_stay_away_where_they_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    Screen().say("hello [bold]you[/]")
    assert capsys.readouterr().err == "hello [bold]you[/]\n"


def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "has_answered", False)
    screen = Screen(as_json=True)
    screen.say("on the way")
    screen.aside().answer({"plan": 1}, text="a plan")
    screen.answer({"größe": "日本"}, text="for people")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"größe": "日本"}
    assert printed.err == "on the way\n"


def test_nobody_to_ask_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--yes"):
        Screen().confirm("Delete?", yes=False)
    Screen().confirm("Delete?", yes=True)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(GpupipeError, match="nothing was changed"):
        Screen().confirm("Delete?", yes=False)


def test_words_for_counts_and_times() -> None:
    assert [plural(1, "image"), plural(2000, "image"), plural(0, "shard")] == ["1 image", "2,000 images", "0 shards"]
    assert [duration(45), duration(720), duration(12_000)] == ["45 s", "12 min", "3 h 20 min"]
