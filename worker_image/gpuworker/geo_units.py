"""Units of reference systems: their size, and which of EPSG's projected systems are not in metres.

A GeoTIFF need not repeat the unit of a system that it names by code; where it does and contradicts the code, it means
another system (as GDAL reads it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache

METRE = 9001
METRES: Mapping[int, float] = {
    METRE: 1.0,
    9002: 0.3048,
    9003: 1200 / 3937,
    9005: 0.3047972654,
    9031: 1.0000135965,
    9036: 1000.0,
    9037: 0.9143917962,
    9039: 0.201166195164,
    9040: 0.9143984146160287,
    9041: 0.3047994715386762,
    9042: 20.116765121552632,
    9062: 20.116782494375872,
    9084: 0.9143985307444408,
    9094: 0.3047997101815088,
    9098: 0.201168,
    9301: 20.116756,
}
"""EPSG's units of length: metre, foot, US survey foot, and what surveyors of older days used."""
RADIANS: Mapping[int, float] = {9101: 1.0, 9102: math.pi / 180, 9105: math.pi / 200, 9106: math.pi / 200}
"""Radian, degree, grad and gon."""
DEGREE = 9102

NOT_METRES: Mapping[int, str] = {
    9002: (
        "2222-2224 2251-2253 2256 2265-2266 2269-2270 2273 2280-2282 2867-2869 2896-2898 2901 2909-2910 2913-2914 "
        "2921-2923 2992-2994/2 3080 3359-3361/2 3479-3483/2 3588-3590/2 3593 3605 3634-3636/2 3644-3648/2 3656 "
        "3676 3679 3682 5588 6128-6141 6391 6405-6409/2 6494-6496/2 6499 6515 6545-6547/2 6557-6561/2 6570 "
        "6785-6863/2 6868 6885-6887/2 7119-7127 8065-8068 8312-8348/2 10980-10987 20050"
    ),
    9003: (
        "2155 2194 2204 2225-2250 2254-2255 2257-2264 2267-2268 2271-2272 2274-2279 2283-2289 2870-2895 2899-2900 "
        "2902-2908 2911-2912 2915-2920 2924-2930 2964-2968 3089-3091/2 3102 3363-3365/2 3404 3417-3438 3441-3446 "
        "3451-3459 3485-3487/2 3490-3512/2 3515-3553/2 3560-3570 3582-3586/2 3598-3600/2 3608-3632/2 3640-3642/2 "
        "3650-3654/2 3658-3664/2 3668-3674/2 3677 3680 3683 3686-3692/2 3696-3700/2 3728-3739 3753-3760 3991-3992 "
        "4217 4399-4413 4418-4433 4438-4439 4455-4457 5623-5625 5646 5654-5655 6200-6202 6411-6413/2 6416-6438/2 "
        "6441-6479/2 6484-6492/2 6501-6507/2 6510 6517-6543/2 6549-6555/2 6563-6565/2 6568 6572-6578/2 "
        "6582-6590/2 6593-6609/2 6612-6618/2 6625-6627 6633 6880 6923-6925/2 6966 6997 7057-7070 7128-7132/2 "
        "7258-7370/2 7587-7645 8035-8036 8091-8093/2 8096-8172/2 8177 8180-8182/2 8185 8189 8193-8197/2 "
        "8200-8210/2 8213 8216 8220 8224-8226/2 8380-8384/2 8387 8518-8540 9748-9749 10481 10516 10622 "
        "10911-10916 23301-23333 26729-26813 26847-26870 32001-32058 32064-32077 32099 32164-32167 32664-32667"
    ),
    9005: "2314 3407 5589 24100",
    9031: "29371-29385",
    9036: "22300",
    9037: "5472",
    9039: "2066 30200",
    9040: "27291-27292",
    9041: "29872",
    9042: "29871",
    9062: "24571",
    9084: "24370-24374 24382",
    9094: "2136 2159-2160",
    9098: "3139-3140",
    9301: "3167",
}
"""Unit -> the projected systems of the EPSG dataset (12.029) that have it: codes, and ranges with their step."""


def unit_of(projected: int) -> int:
    """The unit that EPSG gives a projected system; metres are what all others have."""
    return _units().get(projected, METRE)


@cache
def _units() -> Mapping[int, int]:
    return {code: unit for unit, ranges in NOT_METRES.items() for code in _codes(ranges)}


def _codes(ranges: str) -> Iterator[int]:
    for one in ranges.split():
        span, _, step = one.partition("/")
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))
