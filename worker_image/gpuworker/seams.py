"""From what was seen tile by tile to the instances of an image: each comes once, and whole.

Neighbouring tiles share a strip. An instance that a tile's inner border cuts is one of two things. Where another tile
holds all of the piece inside its own borders, that tile has seen the piece and what is around it: its word counts and
the piece is dropped. Otherwise the instance is larger than the strip, and pieces of two tiles belong together when, in
the strip that both tiles see, they are much the same pixels, or the cut one lies in the other. Chains of such pairs
join what is larger than a tile. Whatever is then still there twice, whole, goes as it would in one picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpuworker.box_grid import Box, BoxGrid, around, meeting_pairs
from gpuworker.packed import Packed, united
from gpuworker.scene import Window

SAME_IN_STRIP = 0.5
"""Mask IoU, of what lies in the strip that two tiles see, from which two pieces are one instance."""
CONTAINED_IN_STRIP = 0.8
"""The share of a cut piece's pixels in the strip that lie in the other piece, from which the two are one instance."""
_SIDES_PER_MARGIN = 250
"""Masks come at about a quarter of a tile's resolution: within this part of its side a border counts as touched."""


Cuts = tuple[bool, bool, bool, bool]
"""Whether the left, top, right and bottom border of a tile cuts an instance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """A window that was looked at, and what was found in it, in pixels of the image."""

    window: Window
    found: Sequence[Packed]
    is_complete: bool = True
    """Whether the model had room for all that is in it; the word of a tile that is not counts against nobody."""

    @cached_property
    def box(self) -> Box:
        return (self.window.left, self.window.top, self.window.right, self.window.bottom)

    def cuts(self, box: Box, image: Box) -> Cuts:
        """Which of its borders something in `box` reaches; the image's own borders cut nothing."""
        margin = max(1, max(self.window.height, self.window.width) // _SIDES_PER_MARGIN)
        left, top, right, bottom = self.box
        return (
            box[0] < left + margin and left > image[0],
            box[1] < top + margin and top > image[1],
            box[2] > right - margin and right < image[2],
            box[3] > bottom - margin and bottom < image[3],
        )


def joined(tiles: Sequence[Tile], *, height: int, width: int) -> list[Packed]:
    """The instances of a height×width image, in an order that does not depend on the order of `tiles`.

    Duplicates that no border cuts are left to `selection.suppressed`.
    """
    image = (0, 0, width, height)
    by_category: defaultdict[int, list[_Piece]] = defaultdict(list)
    for piece in _pieces(sorted(tiles, key=lambda tile: tile.window), image):
        by_category[piece.packed.category_id].append(piece)
    return [_one_of(group) for category in sorted(by_category) for group in _groups(by_category[category])]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """An instance as one tile has seen it."""

    tile: Tile
    packed: Packed
    cuts: Cuts

    @property
    def is_whole(self) -> bool:
        return not any(self.cuts)

    def is_cut_towards(self, other: Tile) -> bool:
        """Whether it is cut by a border beyond which `other` sees how it goes on."""
        seen = (other.box[i % 2] < border < other.box[2 + i % 2] for i, border in enumerate(self.tile.box))
        return any(cut and sees for cut, sees in zip(self.cuts, seen, strict=True))


def _pieces(tiles: Sequence[Tile], image: Box) -> Iterator[_Piece]:
    """All that was found but for cut pieces that another tile holds inside its own borders."""
    judges = BoxGrid.for_boxes([tile.box for tile in tiles])
    for number, tile in enumerate(tiles):
        if tile.is_complete:
            judges.add(number, tile.box)
    for tile in tiles:
        for one in tile.found:
            piece = _Piece(tile=tile, packed=one, cuts=tile.cuts(one.box, image))
            if piece.is_whole or not any(_holds(tiles[i], one.box, image) for i in judges.meeting(one.box)):
                yield piece


def _holds(tile: Tile, box: Box, image: Box) -> bool:
    inside = tile.box[0] <= box[0] and tile.box[1] <= box[1] and tile.box[2] >= box[2] and tile.box[3] >= box[3]
    return inside and not any(tile.cuts(box, image))


def _groups(pieces: Sequence[_Piece]) -> Iterable[list[_Piece]]:
    """Pieces of one category by the instance that they belong to, in the order of each one's first piece."""
    above = list(range(len(pieces)))

    def top_of(i: int) -> int:
        while above[i] != i:
            above[i] = above[above[i]]
            i = above[i]
        return i

    for i, j in meeting_pairs([piece.packed.box for piece in pieces]):
        one, other = top_of(i), top_of(j)
        if one != other and _belong_together(pieces[i], pieces[j]):
            above[max(one, other)] = min(one, other)
    groups: defaultdict[int, list[_Piece]] = defaultdict(list)
    for i, piece in enumerate(pieces):
        groups[top_of(i)].append(piece)
    return groups.values()


def _belong_together(one: _Piece, other: _Piece) -> bool:
    goes_on, comes_in = one.is_cut_towards(other.tile), other.is_cut_towards(one.tile)
    if not (goes_on or comes_in):
        return False
    shared = one.packed.shared_with(other.packed)
    if not shared:
        return False
    mine, theirs = one.packed.area_in(other.tile.box), other.packed.area_in(one.tile.box)
    if shared >= SAME_IN_STRIP * (mine + theirs - shared):
        return True
    lies_in_other = goes_on and shared >= CONTAINED_IN_STRIP * mine
    return lies_in_other or (comes_in and shared >= CONTAINED_IN_STRIP * theirs)


def _one_of(group: Sequence[_Piece]) -> Packed:
    """The instance that the pieces make; where one of them is all of it, that one, for its outline was not cut."""
    if len(group) == 1:
        return group[0].packed
    extent = around([piece.packed.box for piece in group])
    whole = [piece.packed for piece in group if piece.is_whole and around([piece.tile.box, extent]) == piece.tile.box]
    return max(whole, key=lambda one: one.score) if whole else united([piece.packed for piece in group])
