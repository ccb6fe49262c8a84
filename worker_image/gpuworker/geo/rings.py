"""The exact outline of a mask: rings along the edges of its pixels, with holes, valid as polygons everywhere.

Only corners are looked at, so that the outline of a field that fills a map of 20,000×20,000 pixels takes no more memory
than its own length and a band of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BAND_ROWS = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One connected part of a mask: N×2 (column, row) corners of its outer ring and of its holes, not closed."""

    outer: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...]


def parts(mask: NDArray[np.bool_], *, x: int, y: int) -> Iterator[Part]:
    """The parts of a crop (H×W bool) placed at (x, y), the topmost first.

    Pixels that touch at a corner only are parts of their own, and so are holes, else a ring would touch itself there,
    which simple features (OGC 06-103r4) forbid.
    """
    outers: list[NDArray[np.int64]] = []
    holes: list[NDArray[np.int64]] = []
    for ring in _rings(_corners(mask)):
        # All rings begin at their topmost corner, of those the left one, so inside is what lies right and below of it.
        (outers if _is_outer(ring, mask) else holes).append(ring)
    owned: list[list[NDArray[np.int64]]] = [[] for _ in outers]
    for hole, owner in zip(holes, _owners(outers, holes), strict=True):
        owned[owner].append(hole)
    place = np.array((x, y))
    for outer, own in zip(outers, owned, strict=True):
        yield Part(outer=outer + place, holes=tuple(hole + place for hole in own))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Corners:
    """Where outlines turn, row by row; where two pixels touch at a corner only there are two."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    goes_right: NDArray[np.bool_]
    """Of two at one place: which has its horizontal edge on the right."""
    goes_down: NDArray[np.bool_]
    """Of two at one place: which has its vertical edge below."""


def _corners(mask: NDArray[np.bool_]) -> _Corners:
    """Outlines turn where one or three of four pixels are set, and twice where just two opposite ones are."""
    found: list[tuple[NDArray[np.int64], ...]] = []
    for top in range(0, mask.shape[0] + 1, _BAND_ROWS):
        four = _padded(mask, top, min(_BAND_ROWS, mask.shape[0] + 1 - top))
        upper_left, upper_right, lower_left, lower_right = four[:-1, :-1], four[:-1, 1:], four[1:, :-1], four[1:, 1:]
        once = upper_left ^ upper_right ^ lower_left ^ lower_right
        falls = upper_left & lower_right & ~(upper_right | lower_left)
        rises = upper_right & lower_left & ~(upper_left | lower_right)
        # Each turn goes around its own pixel, so that what touches at a corner is not connected.
        for at, is_right, is_down in ((once, 0, 0), (falls, 0, 0), (falls, 1, 1), (rises, 0, 1), (rises, 1, 0)):
            r, c = np.nonzero(at)
            found.append((r + top, c, np.full(len(r), is_right), np.full(len(r), is_down)))
    rows, columns, right, down = (np.concatenate(some) for some in zip(*found, strict=True))
    order = np.lexsort((right, columns, rows))
    return _Corners(rows=rows[order], columns=columns[order], goes_right=right[order] == 1, goes_down=down[order] == 1)


def _padded(mask: NDArray[np.bool_], top: int, rows: int) -> NDArray[np.bool_]:
    """Rows top-1 .. top+rows-1 with nothing around the mask."""
    padded = np.zeros((rows + 1, mask.shape[1] + 2), np.bool_)
    first, last = max(0, top - 1), min(mask.shape[0], top + rows)
    padded[first - top + 1 : last - top + 1, 1:-1] = mask[first:last]
    return padded


def _rings(corners: _Corners) -> Iterator[NDArray[np.int64]]:
    """Follow the edges: in a row corners are joined in pairs, in a column too."""
    count = len(corners.rows)
    across = (np.arange(count) ^ 1).tolist()
    order = np.lexsort((corners.goes_down, corners.rows, corners.columns))
    partner = np.empty(count, np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    along = partner.tolist()
    is_done = bytearray(count)
    for start in range(count):
        ring, at = [], start
        while not is_done[at]:
            other = across[at]
            is_done[at] = is_done[other] = 1
            ring += [at, other]
            at = along[other]
        if ring:
            yield from _simple(np.stack([corners.columns[ring], corners.rows[ring]], axis=1))


def _simple(ring: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """A ring that meets a corner twice as several that do not, each from its topmost corner on."""
    codes = (ring[:, 1] << 32) | ring[:, 0]
    if len(np.unique(codes)) == len(codes):
        yield ring
        return
    path: list[int] = []
    seen: dict[int, int] = {}
    for i, code in enumerate(codes.tolist()):
        if code in seen:
            loop = path[seen[code] :]
            del path[seen[code] :]
            for passed in codes[loop].tolist():
                del seen[passed]
            yield _from_top(ring[loop])
        seen[code] = len(path)
        path.append(i)
    yield _from_top(ring[path])


def _from_top(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    first = int(np.lexsort((ring[:, 0], ring[:, 1]))[0])
    return np.roll(ring, -first, axis=0)


def _is_outer(ring: NDArray[np.int64], mask: NDArray[np.bool_]) -> bool:
    column, row = ring[0]
    return bool(mask[row, column])


def _owners(outers: Sequence[NDArray[np.int64]], holes: Sequence[NDArray[np.int64]]) -> list[int]:
    """For each hole, the outer ring around it: the one that is met on the way left, maybe across other holes."""
    if len(outers) == 1 or not holes:
        return [0] * len(holes)
    edges = [_vertical_edges(ring, i) for i, ring in enumerate([*outers, *holes])]
    column, top, bottom, owner = np.concatenate(edges).T
    # A ring that is met lies further left, so the leftmost hole's owner is known first.
    owners = {i: i for i in range(len(outers))}
    leftmost = [edge[np.lexsort((edge[:, 1], edge[:, 0]))[0]] for edge in edges[len(outers) :]]
    for edge in sorted(leftmost, key=lambda edge: int(edge[0])):
        met = np.flatnonzero((column < edge[0]) & (top <= edge[1]) & (edge[1] < bottom))
        owners[int(edge[3])] = owners[int(owner[met[np.argmax(column[met])]])]
    return [owners[len(outers) + i] for i in range(len(holes))]


def _vertical_edges(ring: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """(column, top, bottom, ring's number) of each vertical edge of a ring."""
    after = np.roll(ring, -1, axis=0)
    is_vertical = ring[:, 0] == after[:, 0]
    at, to = ring[is_vertical], after[is_vertical]
    tops, bottoms = np.minimum(at[:, 1], to[:, 1]), np.maximum(at[:, 1], to[:, 1])
    return np.stack([at[:, 0], tops, bottoms, np.full(len(at), number)], axis=1)
