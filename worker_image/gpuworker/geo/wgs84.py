"""The way from a reference system to longitude and latitude of WGS 84, with what PROJ's own database says of datums."""

from __future__ import annotations

import threading
from collections import OrderedDict

from pyproj import CRS, Transformer
from pyproj._network import set_network_enabled  # which pyproj.network hands on without saying so
from pyproj.exceptions import CRSError, ProjError

_KEPT = 16
"""Transformers of one thread: a shard rarely has images of more systems."""

_kept = threading.local()


class OffTheMapError(Exception):
    """A place that the image's system gives coordinates, but that lies nowhere on earth."""


def to_wgs84(definition: str) -> Transformer:
    """This thread's own, longitude before latitude: PROJ's must not be used by two at once.

    Raises OffTheMapError for a system from which no way leads there, such as one of the Moon.
    """
    kept: OrderedDict[str, Transformer] | None = getattr(_kept, "transformers", None)
    if kept is None:
        set_network_enabled(active=False)
        kept = _kept.transformers = OrderedDict()
    if definition not in kept:
        try:
            kept[definition] = Transformer.from_crs(CRS.from_user_input(definition), "EPSG:4326", always_xy=True)
        except (CRSError, ProjError) as error:
            raise OffTheMapError(str(error)) from error
    kept.move_to_end(definition)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return kept[definition]
