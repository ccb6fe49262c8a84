"""From what was seen tile by tile to the instances of an image: each comes once, and whole.

Neighbouring tiles share a strip. An instance that a tile's inner border cuts is one of two things. Where another tile
holds all of the piece inside its own borders, that tile has seen the piece and what is around it: its word counts and
the piece is dropped. Otherwise the instance is larger than the strip, and pieces of two tiles belong together when, in
the strip that both tiles see, they are much the same pixels, or the cut one lies in the other. Chains of such pairs
join what is larger than a tile. What two tiles see whole is the same by the same measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpuworker.masks.box_grid import Box, BoxGrid, around, meeting_pairs
from gpuworker.masks.packed import Packed, united
from gpuworker.tiles.scene import Window

SAME_IN_STRIP = 0.5
"""Mask IoU, of what lies in the strip that two tiles see, from which two pieces are one instance."""
CONTAINED_IN_STRIP = 0.8
"""The share of a cut piece's pixels in the strip that lie in the other piece, from which the two are one instance."""
ALIKE = 0.5
"""The same, of two whole pieces that each tile could see, where neither tile has anything that suits better."""
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

    One that is made of several pieces has the best of their scores. What overlaps in one tile is left as it is, to
    `selection.suppressed`.
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
    is_outdone: bool
    """Whether it is cut, and another tile holds all of it inside its own borders."""

    @property
    def is_whole(self) -> bool:
        return not any(self.cuts)

    def is_cut_towards(self, other: Tile) -> bool:
        """Whether it is cut by a border beyond which `other` sees how it goes on."""
        seen = (other.box[i % 2] < border < other.box[2 + i % 2] for i, border in enumerate(self.tile.box))
        return any(cut and sees for cut, sees in zip(self.cuts, seen, strict=True))


def _pieces(tiles: Sequence[Tile], image: Box) -> Iterator[_Piece]:
    judges = BoxGrid.for_boxes([tile.box for tile in tiles])
    for number, tile in enumerate(tiles):
        if tile.is_complete:
            judges.add(number, tile.box)
    for tile in tiles:
        for one in tile.found:
            cuts = tile.cuts(one.box, image)
            is_outdone = any(cuts) and any(_holds(tiles[i], one.box, image) for i in judges.meeting(one.box))
            yield _Piece(tile=tile, packed=one, cuts=cuts, is_outdone=is_outdone)


def _holds(tile: Tile, box: Box, image: Box) -> bool:
    """Whether something in `box` lies inside a tile's borders."""
    return around([tile.box, box]) == tile.box and not any(tile.cuts(box, image))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Meeting:
    """Two pieces, of two tiles, that share pixels: `i` and `j` of the pieces."""

    i: int
    j: int
    one: _Piece
    other: _Piece
    shared: int
    one_in_strip: int
    """How many pixels of the one lie in the strip that both tiles see."""
    other_in_strip: int

    @classmethod
    def of(cls, pieces: Sequence[_Piece], i: int, j: int) -> _Meeting | None:
        one, other = pieces[i], pieces[j]
        shared = one.packed.shared_with(other.packed) if one.tile is not other.tile else 0
        if not shared:
            return None
        one_in_strip, other_in_strip = one.packed.area_in(other.tile.box), other.packed.area_in(one.tile.box)
        return cls(
            i=i, j=j, one=one, other=other, shared=shared, one_in_strip=one_in_strip, other_in_strip=other_in_strip
        )

    @property
    def iou(self) -> float:
        """Of what lies in the strip."""
        return self.shared / (self.one_in_strip + self.other_in_strip - self.shared)

    @property
    def is_same(self) -> bool:
        goes_on = self.one.is_cut_towards(self.other.tile) or self.other.is_cut_towards(self.one.tile)
        return (goes_on or (self.one.is_whole and self.other.is_whole)) and self.iou >= SAME_IN_STRIP

    @property
    def contained(self) -> Sequence[int]:
        """Which of the two is cut where the other's tile sees on, and lies in the other as far as that can be seen."""
        one_is = self.one.is_cut_towards(self.other.tile) and self.shared >= CONTAINED_IN_STRIP * self.one_in_strip
        other_is = self.other.is_cut_towards(self.one.tile) and self.shared >= CONTAINED_IN_STRIP * self.other_in_strip
        return [self.i] * one_is + [self.j] * other_is

    @property
    def is_alike(self) -> bool:
        """Whether each tile could see both, all but a rim, and half of the smaller lies in the larger."""
        return (
            self.one_in_strip >= CONTAINED_IN_STRIP * self.one.packed.area
            and self.other_in_strip >= CONTAINED_IN_STRIP * self.other.packed.area
            and self.shared >= ALIKE * min(self.one_in_strip, self.other_in_strip)
        )


class _Chains:
    """Which pieces are of one instance: those that go together, and those that go together with these."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = pieces
        self._above = list(range(len(pieces)))
        self._matched: set[tuple[int, int]] = set()

    def join(self, meeting: _Meeting) -> None:
        """A piece that is outdone has its match then, but is a link to nothing."""
        self._matched |= {(meeting.i, id(meeting.other.tile)), (meeting.j, id(meeting.one.tile))}
        if not (meeting.one.is_outdone or meeting.other.is_outdone):
            first, second = self._first_of(meeting.i), self._first_of(meeting.j)
            self._above[max(first, second)] = min(first, second)

    def has_match(self, meeting: _Meeting, number: int) -> bool:
        """Whether the one of the two that has this number goes together with something in the other's tile."""
        tile = meeting.other.tile if number == meeting.i else meeting.one.tile
        return (number, id(tile)) in self._matched

    def have_matches(self, meeting: _Meeting) -> bool:
        """Whether either does."""
        return self.has_match(meeting, meeting.i) or self.has_match(meeting, meeting.j)

    def groups(self) -> Iterable[Sequence[_Piece]]:
        """In the order of each one's first piece."""
        groups: defaultdict[int, list[_Piece]] = defaultdict(list)
        for i, piece in enumerate(self._pieces):
            if not piece.is_outdone:
                groups[self._first_of(i)].append(piece)
        return groups.values()

    def _first_of(self, i: int) -> int:
        while self._above[i] != i:
            self._above[i] = self._above[self._above[i]]
            i = self._above[i]
        return i


def _groups(pieces: Sequence[_Piece]) -> Iterable[Sequence[_Piece]]:
    """Pieces of one category by the instance that they belong to."""
    pairs = meeting_pairs([piece.packed.box for piece in pieces])
    meetings = [meeting for i, j in pairs if (meeting := _Meeting.of(pieces, i, j)) is not None]
    meetings.sort(key=lambda meeting: -meeting.iou)
    chains = _Chains(pieces)
    for meeting in meetings:
        if meeting.is_same and not chains.have_matches(meeting):
            chains.join(meeting)
    # What suits less counts only for pieces that nothing in the other tile suits better.
    for meeting in meetings:
        if not all(chains.has_match(meeting, number) for number in meeting.contained):
            chains.join(meeting)
    for meeting in meetings:
        # Where neither has anything better, two tiles see the same in different outlines.
        if meeting.is_alike and not chains.have_matches(meeting):
            chains.join(meeting)
    return chains.groups()


def _one_of(group: Sequence[_Piece]) -> Packed:
    """The instance that the pieces make; where one of them is all of it, that one, for its outline was not cut."""
    if len(group) == 1:
        return group[0].packed
    extent = around([piece.packed.box for piece in group])
    whole = [piece.packed for piece in group if piece.is_whole and around([piece.tile.box, extent]) == piece.tile.box]
    return max(whole, key=lambda one: one.score) if whole else united([piece.packed for piece in group])
