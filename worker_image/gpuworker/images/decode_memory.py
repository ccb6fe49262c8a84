"""The most memory that decoding an image whole takes, by its header alone.

Measured as VmHWM of a process that decodes 36 megapixels (17 for TIFF codecs), with OpenCV 5.0, tifffile 2026.3 and
imagecodecs 2026.3: RGB as JPEG, PNG or WebP 6.1 bytes a pixel, RGBA 8.8, 16-bit RGB 12.1 and RGBA 16.1, a TIFF in one
strip twice its samples and its file, CMYK 18, JPEG 2000 in a TIFF 16 to 21; a BMP is like a PNG, and what JPEG 2000,
AVIF and HEIC take stands in their modules. What is computed here is at most 2 % less;
it is up to 40 % more where there are masks to be made, and up to 80 % more for TIFFs with 8 bits a sample.
"""

from __future__ import annotations

from gpuworker.images.headers import Header
from gpuworker.images.opencv import is_plain
from gpuworker.images.rendering import Rendering, rendering_bytes
from gpuworker.images.tiff.blocks import Blocks
from gpuworker.images.tiff.file import Tiff


def bytes_by_cv2(header: Header, rendering: Rendering, factor: int) -> int:
    """Of a JPEG, PNG, WebP or BMP; `factor`: by which a JPEG is reduced while it is decoded."""
    plain = is_plain(header)
    samples = header.pixels * _made_by_cv2(header)
    if header.format == "jpeg":
        samples //= factor**2
    # cv2 decodes into an array of its own, and copies that into numpy's once its decoder is gone.
    decoding = max(samples + header.extra_bytes, 2 * samples)
    if plain and not rendering.bands and rendering.stretch in ("auto", "none"):
        return decoding
    return max(decoding, samples + rendering_bytes(height=header.height, width=header.width))


def bytes_by_codec(header: Header, rendering: Rendering, factor: int) -> int:
    """Of what libheif, libavif or OpenJPEG decodes, at its full size; its header says what they hold besides."""
    samples = header.decoded_bytes
    decoding = samples + header.extra_bytes
    if is_plain(header) and header.bands == 3 and not rendering.bands and rendering.stretch in ("auto", "none"):
        return decoding
    return max(decoding, samples + rendering_bytes(height=header.height, width=header.width))


def _made_by_cv2(header: Header) -> int:
    """Bytes a pixel of what it makes: of grey with transparency four bands too."""
    if is_plain(header):
        return 3
    bands = 4 if header.bands in (2, 4) else header.bands
    return bands * (2 if header.dtype == "uint16" else 1)


def bytes_of_tiff(tiff: Tiff, rendering: Rendering) -> int:
    """Of a TIFF of which all samples are decoded before they become a picture."""
    samples = tiff.header.decoded_bytes
    picture = rendering_bytes(height=tiff.header.height, width=tiff.header.width)
    return samples + tiff.read_bytes + max(tiff.block_bytes, tiff.conversion_bytes, picture)


def bytes_by_blocks(header: Header, blocks: Blocks) -> int:
    """Of a TIFF whose picture is put together a block at a time; turning makes a second copy of it."""
    copies = 1 if header.orientation == 1 else 2
    return copies * 3 * header.pixels + blocks.working_bytes + blocks.sampled_bytes
