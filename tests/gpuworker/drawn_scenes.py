"""One scene and one floor plan, drawn, in the many encodings in which cameras, scanners and map programs write them.

The scene: five green crowns at known places on brown soil, 256×256. The plan: three rooms, 640×480. Each file is made
as its program makes it; the faults that they once met are public (gdal#8002, rio-tiler#406, Pillow#1270, cvat#5174,
labelme#859, bioformats#3711, geotiff.js#259, jpeg-decoder#44), the files are drawn here.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_origin
from tests.gpuworker.images.tiff import writer as tw

SIZE = 256
SPOTS = ((60, 60, 22), (180, 70, 28), (80, 180, 26), (190, 190, 20), (128, 124, 16))
"""x, y and radius of the crowns."""
SOIL, LEAVES = (150, 120, 90), (55, 125, 45)
COLLAR = 64
"""Rows at the top that are no data in some files."""
UTM = CRS.from_epsg(32617)
PLACE = from_origin(404211.9, 3285142.9, 0.1, 0.1)
_RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)

Pixels = NDArray[Any]


@cache
def scene() -> NDArray[np.uint8]:
    """256×256×3 RGB."""
    random = np.random.default_rng(7)
    light = np.full((SIZE, SIZE, 3), SOIL, float) + random.normal(0, 5, (SIZE, SIZE, 1))
    for spot in SPOTS:
        inside = _disc(*spot)
        light[inside] = np.array(LEAVES) + random.normal(0, 6, (int(inside.sum()), 1))
    return np.clip(light, 0, 255).astype(np.uint8)


@cache
def crowns() -> NDArray[np.bool_]:
    """256×256: where the crowns are."""
    return np.any([_disc(*spot) for spot in SPOTS], axis=0)


def _disc(x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= radius * radius
    return inside


# --- by Pillow ---


def by_pillow(pixels: Pixels | Image.Image, suffix: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, suffix, **options)
    return out.getvalue()


def as_mode(mode: str, suffix: str, **options: Any) -> bytes:
    return by_pillow(Image.fromarray(scene()).convert(mode), suffix, **options)


def _palette(suffix: str) -> bytes:
    return by_pillow(Image.fromarray(scene()).convert("P", palette=Image.Palette.ADAPTIVE, colors=64), suffix)


def _cut_out() -> bytes:
    return by_pillow(np.dstack([scene(), np.where(crowns(), 255, 0).astype(np.uint8)]), "PNG")


def _animated(suffix: str, **options: Any) -> bytes:
    return by_pillow(scene(), suffix, save_all=True, append_images=[Image.fromarray(scene()[::-1].copy())], **options)


# --- by GDAL ---


def by_gdal(
    bands: Sequence[Pixels],
    *,
    colours: Sequence[ColorInterp] = (),
    points: Sequence[GroundControlPoint] = (),
    crs: CRS | None = UTM,
    transform: Affine | None = PLACE,
    **options: Any,
) -> bytes:
    height, width = bands[0].shape
    profile = {"driver": "GTiff", "count": len(bands), "height": height, "width": width, "dtype": bands[0].dtype}
    placed = {"crs": crs, "transform": transform} if transform is not None else {}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile, **placed, **{"compress": "deflate", **options}) as written:
            if colours:
                written.colorinterp = colours
            for number, band in enumerate(bands, 1):
                written.write(band, number)
            if points:
                written.gcps = (points, UTM)
        return bytes(memory.read())


def bands_of(dtype: str = "u1", *, times: float = 1) -> list[Pixels]:
    return [(scene()[:, :, i].astype(float) * times).astype(dtype) for i in range(3)]


def _plane(value: float, dtype: str) -> Pixels:
    return np.full((SIZE, SIZE), value, dtype)


def near_infrared() -> Pixels:
    return np.where(crowns(), 190, 70).astype(np.uint8)


def deep(dtype: str, *, alpha: float | None = None) -> bytes:
    """Samples of 16 or 32 bits, up to 3,060; with a fourth band that says how opaque they are."""
    bands = bands_of(dtype, times=12)
    return by_gdal(bands) if alpha is None else by_gdal([*bands, _plane(alpha, dtype)], colours=_RGBA)


def _with_collar(value: float) -> list[Pixels]:
    bands = bands_of("f4", times=1 / 255)
    for band in bands:
        band[:COLLAR] = value
    return bands


def _control_points() -> bytes:
    corners = [(row, column) for row in (0, SIZE) for column in (0, SIZE)]
    points = [GroundControlPoint(row, column, *PLACE @ (column, row), 0) for row, column in corners]
    return by_gdal(bands_of(), points=points, transform=None)


def _turned() -> Affine:
    return Affine.translation(404211.9, 3285142.9) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)


def _of_its_own() -> CRS:
    return CRS.from_proj4("+proj=tmerc +lat_0=29 +lon_0=-82 +k=1 +x_0=500000 +y_0=0 +datum=WGS84 +units=m")


# --- by tifffile ---


def by_tifffile(pixels: Pixels, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"compression": "zlib", "metadata": None} | options)
    return out.getvalue()


def _stack() -> bytes:
    """A blank page, then the scene twice."""
    pages = np.stack([np.full_like(scene(), 120), scene(), scene()])
    return by_tifffile(pages, photometric="rgb", metadata={})


def _thumbnail_first() -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(scene()[::8, ::8], photometric="rgb", compression="zlib", subfiletype=1)
        writer.write(scene(), photometric="rgb", compression="zlib", subfiletype=0)
    return out.getvalue()


def _channels_as_pages() -> bytes:
    planes = np.moveaxis(scene(), -1, 0)
    out = io.BytesIO()
    tifffile.imwrite(out, planes, photometric="minisblack", metadata={"axes": "CYX"}, compression="zlib", ome=True)
    return out.getvalue()


def _premultiplied() -> bytes:
    alpha = np.where(crowns(), 255, 128).astype(np.uint8)
    shown = (scene().astype(int) * alpha[:, :, None] // 255).astype(np.uint8)
    return by_tifffile(np.dstack([shown, alpha]), photometric="rgb", extrasamples=["assocalpha"])


def _ycbcr() -> bytes:
    pixels = np.asarray(Image.fromarray(scene()).convert("YCbCr"))
    return by_tifffile(pixels, photometric="ycbcr", compression="lzw", subsampling=(1, 1))


def _rounded_nodata() -> bytes:
    """The lowest float, and a tag that has six digits of it, as some programs write it."""
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32617)
    place = [(33550, "d", 3, (0.1, 0.1, 0.0)), (33922, "d", 6, (0, 0, 0, 404211.9, 3285142.9, 0))]
    tags = [*place, (34735, "H", 16, keys), (42113, "s", 0, "-3.40282e+38")]
    pixels = np.dstack(_with_collar(-3.4028235e38))
    return by_tifffile(pixels, photometric="rgb", planarconfig="contig", extratags=[(*tag, True) for tag in tags])


# --- JPEGs with something about them ---


def jpeg() -> bytes:
    return by_pillow(scene(), "JPEG", quality=92)


def _with_orientation(entry: bytes) -> bytes:
    """EXIF in big-endian with one entry."""
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return jpeg()[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg()[2:]


ORIENTATION_AS_LONG = struct.pack(">HHII", 0x0112, 4, 1, 6)
ORIENTATION_AS_SHORT = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)

SCENES: Mapping[str, Callable[[], bytes]] = {
    "reference.png": lambda: by_pillow(scene(), "PNG"),
    "reference_geo.tif": lambda: by_gdal(bands_of()),
    "nir_marked_alpha.tif": lambda: by_gdal([*bands_of(), near_infrared()]),  # GDAL's default for a fourth band
    "u16.tif": partial(deep, "u2"),
    "i16.tif": partial(deep, "i2"),
    "f32.tif": partial(deep, "f4"),
    "u16_alpha255.tif": partial(deep, "u2", alpha=255),
    "u16_alpha65535.tif": partial(deep, "u2", alpha=65535),
    "i16_alpha255.tif": partial(deep, "i2", alpha=255),
    "f32_alpha255.tif": partial(deep, "f4", alpha=255),
    "u8_alpha1.tif": lambda: by_gdal([*bands_of(), _plane(1, "u1")], colours=_RGBA),
    "thumbnail_first.tif": _thumbnail_first,
    "ycbcr_lzw.tif": _ycbcr,
    "ycbcr_pillow.tif": partial(as_mode, "YCbCr", "TIFF", compression="tiff_lzw"),
    "jpeg_ycbcr.tif": lambda: by_gdal(
        bands_of(), compress="jpeg", photometric="ycbcr", tiled=True, blockxsize=128, blockysize=128
    ),
    "cmyk.tif": partial(as_mode, "CMYK", "TIFF"),
    "cmyk.jpg": partial(as_mode, "CMYK", "JPEG", quality=92),
    "palette.png": partial(_palette, "PNG"),
    "palette.tif": partial(_palette, "TIFF"),
    "associated_alpha.tif": _premultiplied,
    "planar_be.tif": lambda: by_tifffile(
        np.moveaxis(scene(), -1, 0), photometric="rgb", planarconfig="separate", byteorder=">", compression="lzw"
    ),
    "gcps_only.tif": _control_points,
    "rotated.tif": lambda: by_gdal(bands_of(), transform=_turned()),
    "geo4326.tif": lambda: by_gdal(
        bands_of(), crs=CRS.from_epsg(4326), transform=from_origin(-81.99, 29.69, 1e-6, 1e-6)
    ),
    "geo4258.tif": lambda: by_gdal(
        bands_of(), crs=CRS.from_epsg(4258), transform=from_origin(10.99, 49.69, 1e-6, 1e-6)
    ),
    "compound.tif": lambda: by_gdal(bands_of(), crs=CRS.from_string("EPSG:32617+5773")),
    "custom.tif": lambda: by_gdal(bands_of(), crs=_of_its_own(), transform=from_origin(500_000, 76_000, 0.1, 0.1)),
    "esri54009.tif": lambda: by_gdal(
        bands_of(), crs=CRS.from_string("ESRI:54009"), transform=from_origin(-8_000_000, 3_600_000, 0.1, 0.1)
    ),
    "really_png.jpg": lambda: by_pillow(scene(), "PNG"),
    "really_webp.jpg": lambda: by_pillow(scene(), "WEBP", quality=90),
    "animated.webp": partial(_animated, "WEBP", lossless=True),
    "animated.png": partial(_animated, "PNG"),
    "trailing.jpg": lambda: jpeg() + bytes(5000) + jpeg()[:3000],
    "garbage_between_segments.jpg": lambda: jpeg()[:20] + bytes(3) + jpeg()[20:],
}
"""All of them hold the scene as it is."""
CUT_OUT: Mapping[str, Callable[[], bytes]] = {"cutout.png": _cut_out}
"""Only the crowns are opaque."""
COLLARED: Mapping[str, Callable[[], bytes]] = {
    "f32_nodata_tag.tif": lambda: by_gdal(_with_collar(-9999), nodata=-9999),
    "f32_nodata_rounded.tif": _rounded_nodata,
}
TURNED: Mapping[str, Callable[[], bytes]] = {
    "orientation_long_be.jpg": partial(_with_orientation, ORIENTATION_AS_LONG),
    "orientation_short_be.jpg": partial(_with_orientation, ORIENTATION_AS_SHORT),
}
"""To be turned a quarter clockwise."""
PAGED: Mapping[str, Callable[[], bytes]] = {
    "stack_multipage.tif": _stack,
    "channels_as_pages.ome.tif": _channels_as_pages,
}
CUT: Mapping[str, Callable[[], bytes]] = {
    "no_end_marker.jpg": lambda: jpeg()[:-2],
    "cut_then_second_picture.jpg": lambda: jpeg()[: len(jpeg()) // 2] + jpeg(),
}
"""Cut short: whole, or refused."""


# --- plans ---


@cache
def plan() -> NDArray[np.uint8]:
    """480×640, black walls on white paper: one room on the left, two on the right."""
    paper = Image.new("L", (640, 480), 255)
    pen = ImageDraw.Draw(paper)
    pen.rectangle((40, 40, 600, 440), outline=0, width=8)
    pen.line((300, 40, 300, 440), fill=0, width=8)
    pen.line((300, 240, 600, 240), fill=0, width=8)
    return np.asarray(paper)


def inverted(grey: Pixels) -> bytes:
    return by_pillow((255 - grey).astype(np.uint8), "PNG")


def cyanotype(grey: Pixels) -> bytes:
    """White lines on blue, by how dark the ink was."""
    ink = (255 - grey[..., None].astype(float)) / 255
    blue, light = np.array((24, 62, 130)), np.array((235, 240, 250))
    return by_pillow((blue * (1 - ink) + light * ink).astype(np.uint8), "PNG")


def _bilevel(compression: str) -> bytes:
    return by_pillow(Image.fromarray(plan()).convert("1"), "TIFF", compression=compression)


def _four_bits(photometric: int) -> bytes:
    grey = plan() if photometric == tw.BLACK_IS_0 else 255 - plan()
    samples = (grey >> 4)[:, :, None]
    return tw.tiff([tw.Page(samples=samples, photometric=photometric, bits=4, rows_per_strip=480)])


PLANS: Mapping[str, Callable[[], bytes]] = {
    "plan_reference.png": lambda: by_pillow(plan(), "PNG"),
    "plan_g4.tif": partial(_bilevel, "group4"),
    "plan_g3.tif": partial(_bilevel, "group3"),
    "plan_1bit.tif": partial(_bilevel, "tiff_lzw"),
    "plan_inverted.png": lambda: inverted(plan()),
    "plan_cyanotype.png": lambda: cyanotype(plan()),
    "plan_4bit_minisblack.tif": partial(_four_bits, tw.BLACK_IS_0),
    "plan_4bit_miniswhite.tif": partial(_four_bits, tw.WHITE_IS_0),
}
