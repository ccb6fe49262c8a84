import pytest

from gpupipe.local.runners.exits import in_words


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200")],
)
def test_exit_code_in_words(code: int, words: str) -> None:
    assert in_words(code) == words
