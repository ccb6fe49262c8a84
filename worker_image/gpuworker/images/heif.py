"""HEIC by libheif (pillow-heif, the extra `heif`) and AVIF by OpenCV, as telephones and browsers write them.

Pictures in them are made to be shown: samples of 10 or 12 bits become bytes by what they stand for, not by how they are
spread. A file may hold several; the primary one counts. How a picture is turned is said by the boxes `irot` and `imir`
alone, and EXIF's orientation, which many files repeat, is not asked (ISO 23000-22, 7.3.6.7).
"""

from __future__ import annotations

import importlib.util
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.contract import install_command
from gpuworker.contract.items import ItemError
from gpuworker.images.headers import Header
from gpuworker.images.isobmff import HeifPicture, primary_picture
from gpuworker.images.notes import FRAMES_LEFT, NOTHING, Notes
from gpuworker.images.opencv import decoded_by_cv2, shown
from gpuworker.images.rendering import Picture, Rendering

INSTALL = install_command("heif")

_UPRIGHT = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (0, 1): 2,
    (1, 0): 5,
    (1, 1): 7,
    (2, 0): 2,
    (2, 1): 4,
    (3, 0): 7,
    (3, 1): 5,
}
"""(quarter turns to the left, axis of the mirror) -> EXIF orientation; turned first, then mirrored."""
_HEIC_EXTRA = {(8, True): 3, (8, False): 7, (16, True): 6, (16, False): 13}
_AVIF_EXTRA = {(8, True): 15, (8, False): 17, (16, True): 18, (16, False): 23}
"""(bits that a sample takes, whether colours are stored at a quarter) -> bytes a pixel that decoding takes besides the
samples it makes, measured as VmHWM with 9 megapixels, pillow-heif 1.8 and OpenCV 5.0."""
_BANDS = {"L": 1, "I": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
"""By pillow-heif's modes."""
_HEIC_ALPHA_EXTRA, _AVIF_ALPHA_EXTRA = {8: 2, 16: 4}, {8: 14, 16: 17}
"""The same of transparency."""


def avif_header(data: bytes | mmap.mmap) -> Header:
    """What an AVIF says of its primary picture, all of whose bytes are there. Raises ItemError."""
    picture = primary_picture(data)
    size = picture.first(b"ispe")
    if len(size) < 12 or not any(size[4:8]) or not any(size[8:12]):
        raise ItemError("unreadable", "the AVIF does not say how large it is")
    if picture.first(b"clap"):
        raise ItemError("unsupported", "the AVIF shows a part of its picture only. Save it cut to what is shown")
    bits, is_small = _depth_and_chroma(picture)
    return _header(
        "avif",
        width=int.from_bytes(size[4:8]),
        height=int.from_bytes(size[8:12]),
        bands=_avif_bands(picture),
        orientation=_orientation(picture),
        extra=_AVIF_EXTRA[bits, is_small] + (_AVIF_ALPHA_EXTRA[bits] if picture.has_alpha else 0),
    )


def heic_header(data: bytes | mmap.mmap) -> Header:
    """What a HEIC says of its primary picture, as it is seen upright. Raises ItemError."""
    picture = primary_picture(data)
    if importlib.util.find_spec("pillow_heif") is None:
        raise ItemError("unsupported", f"this is a HEIC file, which pillow-heif can read: {INSTALL}")
    opened, pictures = _opened(data)
    bands = _BANDS[opened.mode.partition(";")[0]]
    bits, is_small = _depth_and_chroma(picture)
    return _header(
        "heic",
        width=opened.size[0],
        height=opened.size[1],
        bands=bands,
        orientation=1,
        extra=_HEIC_EXTRA[bits, is_small] + (_HEIC_ALPHA_EXTRA[bits] if bands in (2, 4) else 0),
        notes=FRAMES_LEFT if pictures > 1 else NOTHING,
    )


def _header(
    kind: Any, *, width: int, height: int, bands: int, orientation: int, extra: float, notes: Notes = NOTHING
) -> Header:
    return Header(
        format=kind,
        width=width,
        height=height,
        bands=bands,
        dtype="uint8",
        orientation=orientation,
        extra_bytes=int(extra * width * height),
        notes=notes,
    )


def _depth_and_chroma(picture: HeifPicture) -> tuple[int, bool]:
    """Bits that a sample takes, 8 or 16, and whether colours are stored at a quarter; of the largest there are.

    By hvcC (ISO 14496-15, 8.3.3.1) and av1C (AV1-ISOBMFF, 2.3.3).
    """
    hevc = [body for kind, body in picture.everything if kind == b"hvcC" and len(body) > 18]
    av1 = [body for kind, body in picture.everything if kind == b"av1C" and len(body) > 2]
    is_deep = any(body[17] & 7 or body[18] & 7 for body in hevc) or any(body[2] & 0x40 for body in av1)
    is_small = all(body[16] & 3 < 2 for body in hevc) and all(body[2] & 0x0C == 0x0C for body in av1)
    return 16 if is_deep else 8, is_small and bool(hevc or av1)


def _avif_bands(picture: HeifPicture) -> int:
    """Grey with transparency is decoded into four."""
    is_grey = picture.first(b"av1C")[2:3] != b"" and bool(picture.first(b"av1C")[2] & 0x10)
    return 4 if picture.has_alpha else 1 if is_grey else 3


def _orientation(picture: HeifPicture) -> int:
    turn, mirror = picture.first(b"irot"), picture.first(b"imir")
    return _UPRIGHT[turn[0] & 3 if turn else 0, mirror[0] & 1 if mirror else None]


def picture_of_avif(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """AVIF -> H×W×3 as it is stored, of a film the first frame. Raises ItemError."""
    pixels = decoded_by_cv2(content, header, factor)
    if pixels is None:
        raise ItemError("unreadable", "the AVIF is damaged and cannot be decoded")
    if pixels.dtype == np.uint16:
        pixels = _bytes_of(pixels, bits=_bits(content))
    _require_size(pixels, header)
    if header.bands == 4:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels
    return shown(pixels, rendering, has_alpha=pixels.ndim == 3 and pixels.shape[2] == 4)


def picture_by_libheif(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """HEIC -> H×W×3, upright. Raises ItemError."""
    opened, _ = _opened(content)
    try:
        pixels = np.asarray(opened)
    except OSError as error:  # as pillow-heif calls libheif's want of memory
        raise MemoryError from error
    except Exception as error:
        raise ItemError("unreadable", f"the HEIC is damaged: {str(error).strip()}") from error
    if pixels.dtype == np.uint16:  # grey is left as it is, whatever is asked
        pixels = _bytes_of(pixels, bits=16)
    _require_size(pixels, header)
    is_premultiplied = opened.mode.partition(";")[0].endswith("a")
    return shown(pixels, rendering, has_alpha=header.bands in (2, 4), is_premultiplied=is_premultiplied)


def _opened(data: bytes | mmap.mmap) -> tuple[Any, int]:
    """pillow-heif's primary picture, of which nothing is decoded yet, and how many there are. Raises ItemError."""
    import pillow_heif  # takes 60 ms and Pillow, for files that few have

    try:
        file = pillow_heif.open_heif(bytes(data), convert_hdr_to_8bit=True)
        return file[file.primary_index], len(file)
    except Exception as error:
        raise ItemError("unreadable", f"the HEIC cannot be read: {str(error).strip()}") from error


def _bits(content: bytes | mmap.mmap) -> int:
    """Of an AVIF's samples of more than 8: 10, or 12 where its flag says so."""
    return 12 if any(body[2] & 0x20 for kind, body in primary_picture(content).everything if kind == b"av1C") else 10


def _bytes_of(pixels: NDArray[Any], *, bits: int) -> NDArray[np.uint8]:
    """The same values in eight bits, to the nearest."""
    most = (1 << bits) - 1
    table = ((np.arange(1 << 16, dtype=np.uint32).clip(max=most) * 255 + most // 2) // most).astype(np.uint8)
    made: NDArray[np.uint8] = table[pixels]
    return made


def _require_size(pixels: NDArray[Any], header: Header) -> None:
    if pixels.shape[:2] != (header.height, header.width):
        raise ItemError(
            "unreadable",
            f"the {header.format.upper()} says that it has {header.width}×{header.height} pixels, and holds "
            f"{pixels.shape[1]}×{pixels.shape[0]}",
        )
