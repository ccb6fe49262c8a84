"""Kinds of TIFFs drawn at random, and how each is to be seen, told by other readers: rasterio (GDAL) and Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from rasterio.io import MemoryFile
from tests.gpuworker.images.tiff import writer as tw

Stretch = Literal["auto", "none"]
Family = Literal["grey", "white is 0", "colours", "bands", "palette", "ycbcr", "cmyk", "cielab", "icclab"]
_PHOTOMETRIC: dict[Family, int] = {
    "grey": tw.BLACK_IS_0,
    "white is 0": tw.WHITE_IS_0,
    "colours": tw.RGB,
    "bands": tw.BLACK_IS_0,
    "palette": tw.PALETTE,
    "ycbcr": tw.YCBCR,
    "cmyk": tw.CMYK,
    "cielab": tw.CIELAB,
    "icclab": tw.ICCLAB,
}
_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8")
_ODD_BITS = (1, 2, 4, 10, 12, 14)
FAMILIES: tuple[Family, ...] = tuple(_PHOTOMETRIC)
_BYTES: tuple[Family, ...] = ("palette", "ycbcr", "cielab", "icclab")
"""What is always stored in bytes, or less."""
_GRADES = {
    "u1": (0, 256),
    "u2": (100, 4000),
    "u4": (0, 90_000),
    "i1": (-90, 100),
    "i2": (-500, 3000),
    "i4": (-9, 70_000),
}
"""From and below which values are drawn; floats from 0 below 1."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file; everything in it follows from these."""

    family: Family
    dtype: str = "u1"
    bits: int = 0
    """Fewer than the type has; 0: those of the type."""
    alpha: int | None = None
    """ExtraSamples of one more band; None: there is none."""
    opaque: float = 0
    """The number that says so; 0: the type's largest (1.0 of floats)."""
    is_graded: bool = False
    """Whether a tenth of it is half opaque, as hardly any mask is."""
    use_of_alpha: Literal["auto", "use", "ignore"] = "auto"
    nodata: str = ""
    subsampling: tuple[int, int] = (1, 1)
    is_planar: bool = False
    is_tiled: bool = False
    rows_per_strip: int = 8
    compression: int = tw.NONE
    has_predictor: bool = False
    is_lsb_first: bool = False
    order: str = "<"
    later_pages: int = 0
    begins_with_thumbnail: bool = False
    height: int = 40
    width: int = 48
    seed: int = 0

    @property
    def may_be_refused(self) -> bool:
        """What few programs write, and few read; anything else has to be seen."""
        odd_bits = self.bits > 8 or (self.bits and self.family not in ("grey", "white is 0", "palette"))
        odd_white = self.family == "white is 0" and self.dtype[0] != "u"
        odd_cmyk = self.family == "cmyk" and self.dtype != "u1"
        return bool(odd_bits or odd_white or odd_cmyk or self.family in ("ycbcr", "cielab", "icclab"))

    @property
    def is_blended(self) -> bool:
        """Whether its last band is to be taken for opacity."""
        if self.alpha in (None, tw.UNSPECIFIED) or self.use_of_alpha == "ignore":
            return False
        return self.use_of_alpha == "use" or not self.is_graded

    @property
    def most(self) -> float:
        """The largest number that a sample can hold; 1.0 of floats."""
        if self.dtype[0] == "f":
            return 1.0
        return 2.0**self.bits - 1 if self.bits else float(np.iinfo(self.dtype).max)

    @property
    def is_bytes(self) -> bool:
        """Whether samples are bytes, or less, which are shown as they are."""
        return self.dtype == "u1"

    @property
    def is_plain_in(self) -> tuple[Stretch, ...]:
        """The stretches of which it is written down what they show: of numbers without a scale only `auto`."""
        return (
            ("auto",) if self.bits > 8 or (self.family == "white is 0" and self.dtype[0] != "u") else ("auto", "none")
        )


@st.composite
def kinds(draw: st.DrawFn, family: Family) -> Kind:
    """Any of a family that makes sense."""
    dtype, bits = draw(_types(family))
    direct = family in ("grey", "colours", "bands")
    alpha = draw(st.sampled_from([None, *_alphas(family)])) if direct and not bits else None
    compression = draw(st.sampled_from([tw.NONE, tw.LZW, tw.DEFLATE]))
    whole_bytes = bits % 8 == 0
    subsampling = draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])) if family == "ycbcr" else (1, 1)
    return Kind(
        family=family,
        dtype=dtype,
        bits=bits,
        alpha=alpha,
        opaque=draw(st.sampled_from([0, 255])) if alpha and dtype in ("u2", "i2", "f4") else 0,
        is_graded=alpha is not None and dtype == "u1" and draw(st.booleans()),
        use_of_alpha=draw(st.sampled_from(["auto", "auto", "use", "ignore"])) if alpha is not None else "auto",
        nodata=draw(st.sampled_from(["", "", *_nodata(dtype)])) if direct and alpha is None and not bits else "",
        subsampling=subsampling,
        is_planar=family != "ycbcr" and draw(st.booleans()),
        is_tiled=draw(st.booleans()),
        rows_per_strip=draw(st.sampled_from([2, 8, 40])),
        compression=compression,
        has_predictor=compression != tw.NONE
        and dtype[0] != "f"
        and whole_bytes
        and subsampling == (1, 1)
        and draw(st.booleans()),
        is_lsb_first=bits == 1 and compression == tw.NONE and draw(st.booleans()),
        order=draw(st.sampled_from("<>")),
        later_pages=draw(st.integers(0, 2)),
        begins_with_thumbnail=draw(st.sampled_from([False, False, False, True])),
        height=draw(st.sampled_from([33, 40])),
        width=draw(st.sampled_from([37, 48])),
        seed=draw(st.integers(0, 99)),
    )


def _types(family: Family) -> st.SearchStrategy[tuple[str, int]]:
    if family == "palette":
        return st.sampled_from([("u1", 0), ("u1", 2), ("u1", 4)])
    if family in _BYTES:
        return st.just(("u1", 0))
    if family == "cmyk":
        return st.sampled_from([("u1", 0), ("u2", 0)])
    whole = [(name, 0) for name in _TYPES]
    return st.sampled_from([*whole, ("u1", 0), ("u1", 0), *(("u1" if bits < 8 else "u2", bits) for bits in _ODD_BITS)])


def _alphas(family: Family) -> list[int]:
    """A further band of several is just another, unless it is said to be an opacity."""
    return [tw.UNSPECIFIED, tw.ASSOCIATED, tw.UNASSOCIATED] if family != "grey" else [tw.ASSOCIATED, tw.UNASSOCIATED]


def _nodata(dtype: str) -> list[str]:
    if dtype[0] == "f":
        return ["-999", "nan", *(["-3.40282e+38"] if dtype == "f4" else [])]
    return ["0", "-9999"] if dtype[0] == "u" else ["-100", "-9999"]


# --- the file ---


def written(kind: Kind) -> bytes:
    """The file of a kind, always the same."""
    page = tw.Page(
        samples=_samples(kind),
        photometric=_PHOTOMETRIC[kind.family],
        bits=kind.bits,
        extras=_extras(kind),
        is_planar=kind.is_planar,
        is_tiled=kind.is_tiled,
        rows_per_strip=kind.rows_per_strip,
        compression=kind.compression,
        has_predictor=kind.has_predictor,
        is_lsb_first=kind.is_lsb_first,
        subsampling=kind.subsampling,
        palette=_palette(kind) if kind.family == "palette" else None,
        nodata=kind.nodata,
    )
    grey = np.full((kind.height, kind.width, 1), 90, np.uint8)
    thumbnail = tw.Page(samples=grey[::8, ::8], photometric=tw.BLACK_IS_0, subfile=tw.REDUCED)
    later = tw.Page(samples=grey, photometric=tw.BLACK_IS_0)
    pages = [*([thumbnail] if kind.begins_with_thumbnail else []), page, *[later] * kind.later_pages]
    return tw.tiff(pages, order=kind.order)


def _extras(kind: Kind) -> tuple[int, ...]:
    more = (tw.UNSPECIFIED,) * 3 if kind.family == "bands" else ()
    return more if kind.alpha is None else (*more, kind.alpha)


def _samples(kind: Kind) -> NDArray[Any]:
    """H×W×samples as they are stored."""
    if kind.family in ("cielab", "icclab"):
        return _lab(kind)
    if kind.family == "ycbcr":
        picture = Image.fromarray(_smooth(kind)).convert("YCbCr")
        return np.asarray(picture)
    count = {"colours": 3, "bands": 4, "cmyk": 4}.get(kind.family, 1)
    return _with_alpha(_with_nodata(_drawn(kind, count), kind), kind)


def _drawn(kind: Kind, count: int) -> NDArray[Any]:
    random, shape = np.random.default_rng(kind.seed), (kind.height, kind.width, count)
    if kind.dtype[0] == "f":
        return random.random(shape).astype(kind.dtype)
    lowest, above = (0, 2**kind.bits) if kind.bits else _GRADES[kind.dtype]
    return random.integers(lowest, above, shape).astype(kind.dtype)


def _smooth(kind: Kind) -> NDArray[np.uint8]:
    """A picture whose colours change slowly, so that neither a coarse colour nor a rounding is seen."""
    corners = np.random.default_rng(kind.seed).integers(60, 200, (3, 3, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((kind.width, kind.height), Image.Resampling.BILINEAR))


def _lab(kind: Kind) -> NDArray[np.uint8]:
    lab = ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(
        Image.fromarray(_smooth(kind)), ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
    )
    assert made is not None
    signed = np.asarray(made).copy()  # as CIELAB has its a and b; ICCLab begins at -128
    return signed if kind.family == "cielab" else signed ^ np.array([0, 128, 128], np.uint8)


def _with_nodata(samples: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """A collar above of the value that the tag names, where the type can hold it."""
    if not kind.nodata:
        return samples
    value = -3.4028235e38 if kind.nodata.endswith("+38") else float(kind.nodata)
    if kind.dtype[0] != "f" and not np.iinfo(kind.dtype).min <= value <= np.iinfo(kind.dtype).max:
        return samples
    held = samples.copy()
    held[: kind.height // 4] = value
    return held


def _with_alpha(samples: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """One more band: a collar is transparent, and a strip half so where it is graded; or just another band."""
    if kind.alpha is None:
        return samples
    if kind.alpha == tw.UNSPECIFIED:
        return np.concatenate([samples, samples[::-1, :, :1]], axis=2)
    opaque = kind.opaque or kind.most
    alpha = np.full((*samples.shape[:2], 1), opaque, kind.dtype)
    alpha[: kind.height // 4] = 0
    if kind.is_graded:
        alpha[kind.height // 4 : kind.height // 3] = 128
    share = alpha / opaque
    held = samples * (share if kind.alpha == tw.ASSOCIATED else share > 0)  # exporters leave nothing under it
    return np.concatenate([held.astype(kind.dtype), alpha], axis=2)


def _palette(kind: Kind) -> NDArray[np.uint16]:
    colours = np.random.default_rng(kind.seed + 1).integers(0, 256, (3, 2 ** (kind.bits or 8)))
    return (colours * 257).astype(np.uint16)


# --- how it is to be seen ---


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A picture, and where it is one."""

    rgb: NDArray[np.float64]
    """H×W×3, 0..255."""
    means: NDArray[np.bool_]
    """H×W: neither nodata nor wholly transparent."""
    is_lossy: bool = False
    """Whether a rounding of colours may show."""


def seen(kind: Kind, stretch: Stretch) -> Seen:
    """As the readers that know the kind have its page, alone in a file."""
    alone = replace(kind, begins_with_thumbnail=False, later_pages=0)
    everywhere = np.ones((kind.height, kind.width), np.bool_)
    if kind.family in ("ycbcr", "cielab", "icclab"):
        # GDAL refuses YCbCr in uncompressed tiles, Pillow makes noise of it and knows no ICCLab: the picture itself.
        return Seen(rgb=_smooth(kind).astype(float), means=everywhere, is_lossy=True)
    if kind.family == "palette":
        return Seen(rgb=_by_pillow(alone), means=everywhere)
    if kind.family == "cmyk":
        # As Pillow converts it, which makes noise of 16 bits and takes separate planes for other inks.
        inks = _samples(kind) / kind.most
        light = (1 - inks[:, :, :3]) * (1 - inks[:, :, 3:]) * kind.most
        return Seen(rgb=_as_bytes(light, everywhere, kind, stretch), means=everywhere)
    return _by_rasterio(alone, stretch)


def _by_pillow(kind: Kind) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(written(replace(kind, is_planar=False)))) as picture:  # it knows no plane of a palette
        return np.asarray(picture.convert("RGB")).astype(float)


def _by_rasterio(kind: Kind, stretch: Stretch) -> Seen:
    """GDAL gives samples as they are stored; that 0 is white, and that 15 is of 4 bits, is left to who asks."""
    with MemoryFile(written(kind)) as memory, memory.open() as opened:
        samples = np.moveaxis(opened.read().astype(float), 0, -1)
        # Its mask knows neither that an opacity of 1 is not 1/255, nor bands that are not bytes or 16 bits.
        means = opened.dataset_mask() > 0 if kind.alpha is None else np.ones(samples.shape[:2], np.bool_)
    light = kind.most - samples if kind.family == "white is 0" else samples
    if kind.alpha is not None and not kind.is_blended:
        light, means = light[:, :, :-1], np.ones(samples.shape[:2], np.bool_)
    if not kind.is_blended:
        return Seen(rgb=_as_bytes(light, means, kind, stretch), means=means)
    share = samples[:, :, -1:] / (kind.opaque or kind.most)
    means = share[:, :, 0] > 0
    rgb = _as_bytes(light[:, :, :-1], means, kind, stretch)
    is_whole = kind.alpha == tw.ASSOCIATED or not kind.is_bytes
    return Seen(rgb=(rgb if is_whole else rgb * share) * (share > 0) + 255 * (1 - share), means=means)


def _as_bytes(light: NDArray[Any], means: NDArray[np.bool_], kind: Kind, stretch: Stretch) -> NDArray[np.float64]:
    """H×W×3: bytes and less as they are, all else by the 2nd and 98th percentile of each band, or cut off."""
    bands = [light[:, :, i] for i in (range(3) if light.shape[2] >= 3 else (0, 0, 0))]
    if kind.is_bytes:
        return np.stack(bands, axis=2) * (255 / kind.most)
    if stretch == "none":
        return np.clip(np.stack(bands, axis=2), 0, 255)
    ranges = [np.percentile(band[means], (2, 98)) for band in bands]
    scaled = [(band - low) / (high - low) for band, (low, high) in zip(bands, ranges, strict=True)]
    return 255 * np.clip(np.nan_to_num(np.stack(scaled, axis=2)), 0, 1)
