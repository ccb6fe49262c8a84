"""An image file -> 8-bit RGB pixels, upright, within limits that are checked before memory is spent."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.bmp import bmp_header, picture_of_bmp
from gpuworker.images.decode_memory import bytes_by_blocks, bytes_by_codec, bytes_by_cv2, bytes_of_tiff
from gpuworker.images.headers import Format, Header, png_header, sniff, webp_header
from gpuworker.images.heif import avif_header, heic_header, picture_by_libheif, picture_of_avif
from gpuworker.images.jpeg2000 import jpeg2000_header, picture_by_openjpeg
from gpuworker.images.limits import Limits as Limits
from gpuworker.images.limits import require_decodable, require_size, size_of
from gpuworker.images.notes import NOTHING, Notes
from gpuworker.images.opencv import picture_by_cv2, whole_jpeg_header
from gpuworker.images.orientation import upright
from gpuworker.images.rendering import Picture, Rendering, picture_of
from gpuworker.images.tiff.blocks import Blocks, assembled, levels_of_blocks, levels_of_raster
from gpuworker.images.tiff.file import GeoTag, Tiff


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How files of a format are read whole; TIFF, of which parts can be read, is `gpuworker.images.tiff.file`'s."""

    header: Callable[[bytes | mmap.mmap], Header]
    decode: Callable[[bytes | mmap.mmap, Header, int, Rendering], Picture]
    """Content, header, by how much a JPEG may be reduced, and how samples become bytes -> H×W×3, as it is stored."""
    most_bytes: Callable[[Header, Rendering, int], int]
    """Memory that `decode` takes."""


CODECS: Mapping[Format, Codec] = {
    "jpeg": Codec(header=whole_jpeg_header, decode=picture_by_cv2, most_bytes=bytes_by_cv2),
    "png": Codec(header=png_header, decode=picture_by_cv2, most_bytes=bytes_by_cv2),
    "webp": Codec(header=webp_header, decode=picture_by_cv2, most_bytes=bytes_by_cv2),
    "bmp": Codec(header=bmp_header, decode=picture_of_bmp, most_bytes=bytes_by_cv2),
    "jp2": Codec(header=jpeg2000_header, decode=picture_by_openjpeg, most_bytes=bytes_by_codec),
    "avif": Codec(header=avif_header, decode=picture_of_avif, most_bytes=bytes_by_codec),
    "heic": Codec(header=heic_header, decode=picture_by_libheif, most_bytes=bytes_by_codec),
}
"""By what `sniff` calls it. A new format is one file and one line here, and its beginning in `headers`."""

AT_ONCE_BYTES_AT_MOST = 256 * 1024**2
"""A TIFF that takes more is decoded a block at a time: slower where blocks are small, and in a third of the memory."""


@dataclass(frozen=True, kw_only=True)
class BoxPrompt:
    """An example that a person has drawn: what to look for, or (negative) what not to take for it."""

    x: float
    y: float
    width: float
    height: float
    """In pixels of the picture it belongs to, from its left upper corner."""
    is_positive: bool = True
    prompt: str = ""
    """Which text it goes with; "" with all of them."""

    def inside(self, window: Rectangle) -> BoxPrompt | None:
        """The same box in a window's pixels, cut to its edges; None where they do not meet."""
        left, top = max(self.x, window.left), max(self.y, window.top)
        right = min(self.x + self.width, window.left + window.width)
        bottom = min(self.y + self.height, window.top + window.height)
        if right <= left or bottom <= top:
            return None
        return replace(self, x=left - window.left, y=top - window.top, width=right - left, height=bottom - top)


class Rectangle(Protocol):
    """Left upper corner and size, in pixels."""

    @property
    def left(self) -> int: ...
    @property
    def top(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A picture ready for a model.

    `rgb` is H×W×3 uint8, C-contiguous, upright. Where `decode` was told how many pixels suffice it may be the picture
    at a half, quarter or eighth; `height` and `width` are always the full size, in which results are given.
    """

    rgb: NDArray[np.uint8]
    height: int
    width: int
    bands: int
    """Bands of the file, before they became three."""
    dtype: str
    """Type of the file's samples: `uint8`, `uint16`, `float32` …"""
    geo: tuple[GeoTag, ...] = ()
    boxes: tuple[BoxPrompt, ...] = ()
    """Examples drawn in it, in full-size pixels."""
    notes: Notes = NOTHING


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A file whose header has been read and whose end has been looked for; nothing is decoded yet."""

    header: Header
    size_bytes: int
    content: bytes | mmap.mmap
    """Nothing of a TIFF, which reads for itself."""
    tiff: Tiff | None
    geo: tuple[GeoTag, ...] = ()

    @classmethod
    def of(cls, data: bytes | Path, rendering: Rendering | None = None) -> Opened:
        """Read what is needed of the bytes, or of the file that a path names, and no more.

        `rendering`: which page and bands a person asks for.

        Raises ItemError `empty`, `unsupported`, `truncated` or `unreadable`.
        """
        content = _mapped(data) if isinstance(data, Path) else data
        kind = sniff(content)
        if kind == "tiff":
            tiff = Tiff(data, rendering)
            return cls(header=tiff.header, size_bytes=tiff.size_bytes, content=b"", tiff=tiff, geo=tiff.geo)
        if rendering is not None and rendering.page not in ("first", 1):
            message = f"the option pages asks for page {rendering.page}; a {kind.upper()} is one picture"
            raise ItemError("unsuitable", message)
        return cls(header=CODECS[kind].header(content), size_bytes=len(content), content=content, tiff=None)

    def placed(self, geo: tuple[GeoTag, ...]) -> Opened:
        """The same with these tags in place of its own. Like all placed pixels they stay where they are stored."""
        header = replace(self.header, orientation=1)
        if self.tiff is not None:
            self.tiff.geo, self.tiff.header = geo, header
        return replace(self, header=header, geo=geo)


def _mapped(path: Path) -> bytes | mmap.mmap:
    if not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def probe(data: bytes | Path) -> Header:
    """Read a file's header and make sure that the file is whole, decoding nothing.

    Raises ItemError `empty`, `unsupported`, `truncated` or `unreadable`.
    """
    return Opened.of(data).header


def decoding_bytes(
    data: bytes | Path,
    limits: Limits | None = None,
    *,
    max_decode_px: int | None = None,
    work_bytes_per_pixel: int = 0,
    rendering: Rendering | None = None,
) -> int:
    """The most memory that `decode` will take, by the header; 0 for a file that it will refuse.

    `work_bytes_per_pixel`: of the picture, maybe reduced, that whoever decodes it will add.
    """
    try:
        opened = Opened.of(data, rendering)
        wish = rendering or Rendering()
        needed = bytes_to_decode(opened, limits or Limits(), max_decode_px=max_decode_px, rendering=wish)
    except ItemError:
        return 0
    return needed + work_bytes_per_pixel * opened.header.pixels // _reduction(opened.header, max_decode_px) ** 2


def bytes_to_decode(opened: Opened, limits: Limits, *, max_decode_px: int | None, rendering: Rendering) -> int:
    """The most memory that decoding an image whole takes, by its header.

    Raises ItemError `too_large` for an image of more than `max_pixels` where that is set, else for one that takes more
    than there is.
    """
    header, tiff = opened.header, opened.tiff
    blocks = _blocks_of(opened, rendering)
    if tiff is None:
        needed = CODECS[header.format].most_bytes(header, rendering, _reduction(header, max_decode_px))
    else:
        needed = bytes_of_tiff(tiff, rendering) if blocks is None else bytes_by_blocks(header, blocks)
    block_pixels = tiff.largest_block_pixels if tiff else 0
    require_decodable(header, limits, needed_bytes=needed, block_pixels=block_pixels, is_tiled=blocks is not None)
    return needed


def bytes_at_once(header: Header) -> int:
    """About what all samples of an image and its picture take, by which it is chosen how a TIFF is read."""
    return header.decoded_bytes + 5 * header.pixels


def _blocks_of(opened: Opened, rendering: Rendering) -> Blocks | None:
    """The blocks of a large TIFF, from which its picture is put together; None where it is decoded at once."""
    if opened.tiff is None or bytes_at_once(opened.header) <= AT_ONCE_BYTES_AT_MOST:
        return None
    blocks = Blocks(opened.tiff, rendering)
    return blocks if blocks.are_small and blocks.are_alike else None


def decode(
    data: bytes | Path,
    limits: Limits | None = None,
    *,
    max_decode_px: int | None = None,
    rendering: Rendering | None = None,
) -> Image:
    """Decode an image file, of which `data` is the content or the path. Raises ItemError.

    `max_decode_px`: a long side that suffices; a picture at least twice that is reduced by 2, 4 or 8 (JPEG while it is
    decoded, by its DCT scaling, at a fraction of the time and memory).
    """
    limits = limits or Limits()
    require_size(data, limits)
    opened = Opened.of(data, rendering)
    image, _ = decode_opened(opened, limits, max_decode_px=max_decode_px, rendering=rendering or Rendering())
    return image


def decode_opened(
    opened: Opened, limits: Limits, *, max_decode_px: int | None, rendering: Rendering
) -> tuple[Image, NDArray[np.bool_] | None]:
    """The same of a file that has been opened, and which of the image's pixels mean anything; None if not known.

    Raises ItemError.
    """
    bytes_to_decode(opened, limits, max_decode_px=max_decode_px, rendering=rendering)
    header, tiff = opened.header, opened.tiff
    factor = _reduction(header, max_decode_px)
    try:
        if tiff is None:
            picture = CODECS[header.format].decode(opened.content, header, factor, rendering)
        else:
            picture = _picture_of_tiff(tiff, _blocks_of(opened, rendering), rendering)
        pixels = upright(_reduced(picture.rgb, header, factor), header.orientation)
    except MemoryError as error:
        raise ItemError("out_of_memory", f"no memory for an image of {size_of(header)}") from error
    turned = header.orientation >= 5
    image = Image(
        rgb=np.ascontiguousarray(pixels),
        height=header.width if turned else header.height,
        width=header.height if turned else header.width,
        bands=header.bands,
        dtype=header.dtype,
        geo=opened.geo,
        notes=header.notes.and_warnings(picture.warnings),
    )
    return image, picture.valid_mask if header.orientation == 1 and image.rgb.shape[0] == header.height else None


def _reduction(header: Header, max_decode_px: int | None) -> int:
    """The largest of 1, 2, 4, 8 by which the long side can be divided and still be enough."""
    if max_decode_px is None:
        return 1
    long_side = max(header.width, header.height)
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or long_side >= factor * max_decode_px)


def _reduced(rgb: NDArray[np.uint8], header: Header, factor: int) -> NDArray[np.uint8]:
    if factor == 1 or rgb.shape[0] < header.height:
        return rgb
    size = -(-header.width // factor), -(-header.height // factor)
    reduced: NDArray[np.uint8] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return reduced


def _picture_of_tiff(tiff: Tiff, blocks: Blocks | None, rendering: Rendering) -> Picture:
    """`blocks`: of a large one, from which its picture is put together."""
    if blocks is not None:
        levels = levels_of_blocks(blocks, rendering)
        rgb = assembled(blocks, levels, height=tiff.header.height, width=tiff.header.width)
        return Picture(rgb=rgb, warnings=levels.warnings)
    every = Blocks(tiff, rendering)
    raster = every.masked(tiff.decode(rendering))
    return picture_of(raster, levels_of_raster(every, raster, rendering))
