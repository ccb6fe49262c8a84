import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from gpuworker.entries.serving.answers import Refused
from gpuworker.entries.serving.bodies import Bodies, Disconnected
from gpuworker.entries.serving.requests import Head


class Client:
    """Sends pieces; a None is where it goes away, a pause where nothing comes any more."""

    def __init__(self, pieces: Sequence[bytes | None], *, length: int | None = None, stalls: bool = False) -> None:
        self.pieces, self.stalls = list(pieces), stalls
        headers = {} if length is None else {"content-length": str(length)}
        self.head = Head(method="POST", path="/invocations", headers=headers)

    async def receive(self) -> MutableMapping[str, Any]:
        if not self.pieces and self.stalls:
            await asyncio.sleep(60)
        piece = self.pieces.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.stalls}


def read(client: Client, bodies: Bodies, *, limit: int = 100) -> bytes:
    async def reading() -> bytes:
        with bodies.hold() as held:
            return await held.read(client.head, client.receive, limit_bytes=limit)

    return asyncio.run(reading())


def refusal(client: Client, bodies: Bodies, *, limit: int = 100) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        read(client, bodies, limit=limit)
    return refused.value.answer.status, refused.value.answer.code


@pytest.mark.parametrize("length", [6, None])
def test_body_is_joined_and_its_room_given_back(length: int | None) -> None:
    bodies = Bodies(1000)
    assert read(Client([b"abc", b"", b"def"], length=length), bodies) == b"abcdef"
    assert bodies.held_bytes == 0


def test_announced_body_that_is_too_large_is_refused_unread() -> None:
    client = Client([b"x" * 101], length=101)
    assert refusal(client, Bodies(1000)) == (413, "too_large")
    assert len(client.pieces) == 1


def test_body_without_length_is_refused_as_soon_as_it_is_too_large() -> None:
    client = Client([b"x" * 60, b"x" * 60, b"x" * 60])
    bodies = Bodies(1000)
    assert refusal(client, bodies) == (413, "too_large")
    assert (len(client.pieces), bodies.held_bytes) == (1, 0)


@pytest.mark.parametrize("length", [60, None])
def test_body_for_which_others_left_no_room_is_refused(length: int | None) -> None:
    async def both() -> tuple[int, str]:
        bodies = Bodies(100)
        with bodies.hold() as first, bodies.hold() as second:
            one, two = Client([b"x" * 60], length=60), Client([b"x" * 60], length=length)
            await first.read(one.head, one.receive, limit_bytes=100)
            with pytest.raises(Refused) as refused:
                await second.read(two.head, two.receive, limit_bytes=100)
            return refused.value.answer.status, refused.value.answer.code

    assert asyncio.run(both()) == (503, "overloaded")


def test_one_body_alone_is_never_refused_for_room() -> None:
    assert read(Client([b"x" * 90], length=90), Bodies(10)) == b"x" * 90


def test_body_that_stops_coming_is_refused() -> None:
    assert refusal(Client([b"x"], stalls=True), Bodies(1000, body_s=0.05)) == (400, "truncated")


def test_client_that_goes_away_is_noticed() -> None:
    bodies = Bodies(1000)
    with pytest.raises(Disconnected):
        read(Client([b"x", None], length=50), bodies)
    assert bodies.held_bytes == 0
