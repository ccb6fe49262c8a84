"""An agronomist with pictures of fields from a drone: from nothing to plants on the map, and back to nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from tests.walks.transcript import Walk

PIXEL_M, RADIUS_PX = 0.1, 40
PLANTS_PX = ((150, 150), (420, 300))
"""Column and row of the plants in each picture."""
ORIGINS_M = ((500_000.0, 5_400_000.0), (500_060.0, 5_400_000.0))
"""Upper left corners, in UTM zone 33 north."""


def draw_fields(folder: Path) -> None:
    """Brown soil with two round green plants, 60 by 60 metres a picture."""
    folder.mkdir()
    rows, columns = np.mgrid[:600, :600]
    for number, (east, north) in enumerate(ORIGINS_M):
        soil = np.random.default_rng(number).normal((120, 90, 60), 6, (600, 600, 3)).clip(0, 255).astype(np.uint8)
        for x, y in PLANTS_PX:
            soil[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS_PX**2] = (40, 160, 50)
        place = {"crs": "EPSG:32633", "transform": Affine(PIXEL_M, 0, east, 0, -PIXEL_M, north)}
        size = {"width": 600, "height": 600, "count": 3, "dtype": "uint8"}
        with rasterio.open(folder / f"plot {number}.tif", "w", driver="GTiff", **size, **place) as written:
            written.write(soil.transpose(2, 0, 1))


def plants_on_earth() -> list[tuple[float, float]]:
    """Longitude and latitude of what was drawn, west to east."""
    to_earth = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    return sorted(
        to_earth.transform(east + (x + 0.5) * PIXEL_M, north - (y + 0.5) * PIXEL_M)
        for east, north in ORIGINS_M
        for x, y in PLANTS_PX
    )


def middles(layer: Path) -> list[tuple[float, float]]:
    """Of the polygons of a GeoJSON file, west to east."""
    rings = [one["geometry"]["coordinates"][0] for one in json.loads(layer.read_text())["features"]]
    boxes = [(np.min(ring, axis=0) + np.max(ring, axis=0)) / 2 for ring in rings]
    return sorted((float(x), float(y)) for x, y in boxes)


def test_from_drone_pictures_to_plants_on_the_map(walk: Walk) -> None:
    folder = walk.person.folder
    draw_fields(folder / "fields")
    walk.may_hear(
        """
        JOB: submitted
        JOB: pending
        JOB: running
        JOB: finished
        N of N images
        N of N images, N things (about N m²) found
        N images/s
        N images/s, N s left
        engine vegetation
        MACHINE g4dn.xlarge us-east-1a on-demand, launched for N s
        MACHINE g4dn.xlarge us-east-1a on-demand, running for N s
        cost: nothing here, about $N on AWS
        Submitted, waiting for dispatch.
        Waiting for the guard's first look, which comes within a minute.
        Waiting for a machine to take a shard.
        Machine MACHINE (g4dn.xlarge, us-east-1a) was just launched.
        """
    )
    walk.goes(
        """
        $ gpupipe init --name farm
        wrote FOLDER/gpupipe.toml; next: `gpupipe plan`, then `gpupipe up`
        """
    )
    walk.goes(
        """
        $ gpupipe up --yes
        2>     what                                                               change   $/month
        2> ───────────────────────────────────────────────────────────────────────────────────────
        2> +   state bucket farm-dev-state-ACCOUNT-us-east-1                             N
        2> +   table farm-dev-ledger
        2> +   bucket farm-dev-segment-data-ACCOUNT-us-east-1
        2> +   queue farm-dev-segment-dead
        2> +   queue farm-dev-segment-events
        2> +   queue farm-dev-segment-undelivered
        2> +   queue farm-dev-segment-work
        2> +   log group /aws/lambda/farm-dev-segment-dispatch
        2> +   log group /aws/lambda/farm-dev-segment-guard
        2> +   log group /gpupipe/farm-dev/segment/worker
        2> +   role farm-dev-segment-dispatch
        2> +   role farm-dev-segment-guard
        2> +   role farm-dev-segment-schedule
        2> +   role farm-dev-segment-worker
        2> +   instance profile farm-dev-segment-worker
        2> +   security group farm-dev-segment-worker
        2> +   launch template farm-dev-segment-worker
        2> +   function farm-dev-segment-dispatch
        2> +   function farm-dev-segment-guard
        2> +   bucket notification farm-dev-segment-data-ACCOUNT-us-east-1
        2> +   event source farm-dev-segment-events                                           N
        2> +   queue policy farm-dev-segment-events
        2> +   schedule farm-dev-segment-guard                                                N
        2> 23 to create.
        2> Standing cost about $N a month, used or not.
        2> EmulatedAccount: nothing is billed. The prices are what it would cost on AWS.
        2> segment: no machine runs until there is work. One g4dn.xlarge (on-demand, us-east-1) costs $N an hour
            ... while it runs, about $N per 1,000 images; stopped, its disk costs $N a month. At most 1 at once.
            ... Prices of 2026-11.
        segment.bucket = farm-dev-segment-data-ACCOUNT-us-east-1
        segment.table = farm-dev-ledger
        segment.work_queue_url = http://EMULATOR/ACCOUNT/farm-dev-segment-work
        segment.dead_letter_queue_url = http://EMULATOR/ACCOUNT/farm-dev-segment-dead
        The stack is up. Next: `gpupipe submit FOLDER --project NAME`
        """
    )
    walk.goes(
        """
        $ gpupipe submit fields --project field7 --option engine=vegetation --prompt maize
        2> 2 images in 1 shard: 2 uploaded (N MB), 0 were there already
        2> note: Engine vegetation finds green plants by colour alone; it knows no species and takes all that is
            ... green.
        JOB1
        $ gpupipe watch
        JOB1: finished; 2 of 2 images, 4 things (about N m²) found; N images/s; cost: nothing here, about $N on AWS
        next: gpupipe fetch JOB1
        $ gpupipe fetch -o field7
        2 done, 0 failed, 4 annotations (N m²)
        10 files fetched (N MB), 0 were here already
        COCO:     field7/annotations.json
        map:      field7/instances.geojson
        report:   FOLDER/field7/report.html
        $ gpupipe open
        2> job JOB1
        2> note: no browser could be started here; open it yourself: file://FOLDER/field7/report.html
        FOLDER/field7/report.html
        """
    )
    found = middles(folder / "field7" / "instances.geojson")
    assert len(found) == 4
    for (longitude, latitude), (x, y) in zip(found, plants_on_earth(), strict=True):
        off_m = math.hypot((longitude - x) * 111_320 * math.cos(math.radians(y)), (latitude - y) * 111_320)
        assert off_m < 2 * PIXEL_M
    walk.goes(
        """
        $ gpupipe down --yes
        2>     what                                                               change   $/month
        2> ───────────────────────────────────────────────────────────────────────────────────────
        2> -   bucket notification farm-dev-segment-data-ACCOUNT-us-east-1
        2> -   event source farm-dev-segment-events
        2> -   queue policy farm-dev-segment-events
        2> -   schedule farm-dev-segment-guard
        2> -   function farm-dev-segment-dispatch
        2> -   function farm-dev-segment-guard
        2> -   launch template farm-dev-segment-worker
        2> -   alarm farm-dev-segment-idle-MACHINE
        2> -   machine MACHINE
        2> -   instance profile farm-dev-segment-worker
        2> -   security group farm-dev-segment-worker
        2> -   role farm-dev-segment-dispatch
        2> -   role farm-dev-segment-guard
        2> -   role farm-dev-segment-schedule
        2> -   role farm-dev-segment-worker
        2> -   log group /aws/lambda/farm-dev-segment-dispatch
        2> -   log group /aws/lambda/farm-dev-segment-guard
        2> -   log group /gpupipe/farm-dev/segment/worker
        2> -   table farm-dev-ledger
        2> -   bucket farm-dev-segment-data-ACCOUNT-us-east-1
        2> -   queue farm-dev-segment-dead
        2> -   queue farm-dev-segment-events
        2> -   queue farm-dev-segment-undelivered
        2> -   queue farm-dev-segment-work
        2> -   state bucket farm-dev-state-ACCOUNT-us-east-1
        2> 25 to delete.
        Deleted 25 things.
        Searched the account for leftovers by tag and by name: none.
        $ gpupipe down --yes
        Nothing is there to delete: the local target has no files.
        """
    )
