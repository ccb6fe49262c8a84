"""What people have to know of a result that is one all the same: stable words, their meaning, and what to do.

A worker writes the words into COCO (`image["warnings"]`, their meaning into `info["warnings"]`) and counts images by
them; `watch`, `fetch` and the report tell them in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Caveat:
    """One word's meaning, said of an image, and what a person can do."""

    meaning: str
    advice: str

    def __str__(self) -> str:
        return f"{self.meaning} {self.advice}"


CAVEATS: Mapping[str, Caveat] = {
    "saturated": Caveat(
        meaning="Parts of the image hold more than the model can tell apart, however close it looks; some are missing.",
        advice="Submit it again with a smaller tile_size (--option tile_size=256), or with prompts that ask for less.",
    ),
    "more_found": Caveat(
        meaning="More instances were found in the image than max_instances lets through; the least sure are left out.",
        advice="Submit it again with a larger max_instances, or a higher score_threshold.",
    ),
    "pages_left": Caveat(
        meaning="The file holds more pages with pictures than the one that was looked at.",
        advice="Look at each of them with --option pages=all, or at one by its number (pages=2).",
    ),
    "pictures_left": Caveat(
        meaning="The file holds more pictures or frames than the one looked at: its primary one, or the first.",
        advice="Export the others as files of their own where they matter, and submit those.",
    ),
    "preview": Caveat(
        meaning="It is a raw camera file: the preview that the camera put into it was looked at, not its raw pixels.",
        advice="Where that is too small, develop it to TIFF or JPEG and submit that.",
    ),
    "mask_left": Caveat(
        meaning="Its mask is stored in one piece, too large to be read for every part: what it hides was looked at.",
        advice="Write it again in tiles (gdal_translate -co TILED=YES), and submit it.",
    ),
    "blank": Caveat(
        meaning="Nothing is in the image: its strips or tiles were left out, or every pixel is nodata, NaN or hidden.",
        advice="Where it should show something, look at its nodata value, its mask and its opacity, or write it again.",
    ),
    "alpha_as_band": Caveat(
        meaning="A band is marked as opacity and does not look like it (infrared often is); it was left out.",
        advice="If it is opacity, submit it again with --option alpha=use; alpha=ignore leaves it out unasked.",
    ),
    "no_rooms": Caveat(
        meaning="No rooms were found in the plan; its record (`reason`, `hint`) says why.",
        advice="Submit it again with what the hint names: --option min_area=…, max_gap=… or polarity=light (light "
        "lines on dark paper).",
    ),
    "no_crs": Caveat(
        meaning="Neither its tags nor a file beside it name a coordinate reference system that PROJ knows, so there is "
        "no instances.geojson of it; instances_native.geojson has its polygons in its own coordinates.",
        advice="Submit it again with its system: in its tags (gdal_edit -a_srs EPSG:CODE), or as IMAGE.prj beside it.",
    ),
    "not_placed": Caveat(
        meaning="Its place is missing, damaged, given by control points or RPC only, or lies nowhere on earth in "
        "its coordinate reference system, so there is no instances.geojson of it.",
        advice="Write it again with a transform and its true system (gdalwarp -t_srs EPSG:CODE), and submit it.",
    ),
    "other_place": Caveat(
        meaning="A world file or .prj beside it says another place than its own tags, which were believed.",
        advice="Remove what is wrong: the file beside it, or its tags (gdal_edit -unsetgt), and submit it again.",
    ),
    "rough_place": Caveat(
        meaning="Its coordinate reference system does not say how its datum lies to WGS 84, so its polygons in "
        "instances.geojson may lie some hundred metres off; those in instances_native.geojson do not.",
        advice="Give it a system whose datum is known (gdal_edit -a_srs EPSG:CODE), and submit it again.",
    ),
}


def caveats_in(words: Iterable[str]) -> dict[str, str]:
    """Meaning and advice by word, of those words that are caveats, in the order of the table."""
    given = set(words)
    return {word: str(caveat) for word, caveat in CAVEATS.items() if word in given}
