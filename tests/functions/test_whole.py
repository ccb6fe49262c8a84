"""What is derived from a whole is whole, or is refused where it is defined."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from gpupipe.functions.whole import Whole


class Asks(Whole, ABC):
    """Asks for two members."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def work(self) -> None: ...


def test_whoever_answers_everything_is_taken() -> None:
    class Answers(Asks):
        name = "a"

        def work(self) -> None: ...

    class Inherits(Answers):
        pass

    assert Inherits().name == "a"


def test_what_is_left_out_is_named_with_whose_it_is() -> None:
    with pytest.raises(TypeError, match=r"test_whole\.test_what_is_left_out\S+Partial leaves out work$"):

        class Partial(Asks):
            name = "a"

    with pytest.raises(TypeError, match=r"leaves out name, work$"):

        class Nothing(Asks):
            pass
