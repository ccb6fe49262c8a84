"""What a stack's machines cost now, today and this month, by the ledger's books; pure."""

from __future__ import annotations

import calendar
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from gpupipe.costs import INSTANCE_USD_PER_HOUR, REGION_FACTOR
from gpupipe.jobs.pulse import cost_usd
from gpuworker.ledger import MachineRecord
from gpuworker.ledger.machines import RUNS_KEPT
from gpuworker.ledger.records import month_of


@dataclass(frozen=True, kw_only=True)
class Spending:
    """US dollars before tax for the hours of machines and instances; disks, storage and requests are not in it.

    Days and months are UTC's, as on AWS's bill.
    """

    hour_usd: float
    """What an hour of all that are up costs."""
    today_usd: float
    is_least_today: bool
    """More of today's runs were forgotten than are known: it was more than that."""
    month_usd: float
    estimated_for: tuple[str, ...]
    """What is no list price: "spot", and a region whose prices are worked out from another's."""
    unpriced: tuple[str, ...]
    """Instance types whose price is not known: they are counted as nothing."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        rounded = {name: round(getattr(self, name), 4) for name in ("hour_usd", "today_usd", "month_usd")}
        return {**asdict(self), **rounded}


def spending(machines: Collection[MachineRecord], *, region: str, now: float) -> Spending:
    """Of these machines, those that are gone included; `now` in Unix seconds."""
    midnight = _midnight(now)
    billed = [one for one in machines if one.seconds_in(month_of(now), now)]
    return Spending(
        hour_usd=sum(one.price_usd_per_hour for one in machines if one.is_up),
        today_usd=sum(_since(midnight, one, now) for one in billed),
        is_least_today=any(_has_forgotten(one, midnight) for one in billed),
        month_usd=sum(one.cost_usd(now, month_of(now)) for one in billed),
        estimated_for=tuple(_estimated(billed, region)),
        unpriced=tuple(sorted({one.instance_type for one in billed if not one.price_usd_per_hour})),
    )


def _midnight(now: float) -> float:
    day = time.gmtime(now)
    return float(calendar.timegm((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0)))


def _since(midnight: float, machine: MachineRecord, now: float) -> float:
    """Of a machine that is new today all is today's; of an older one only the last runs are known."""
    return machine.cost_usd(now) if machine.launched_at >= midnight else cost_usd([machine], midnight, now)


def _has_forgotten(machine: MachineRecord, midnight: float) -> bool:
    is_full = len(machine.runs) >= RUNS_KEPT and machine.runs[0].started_at >= midnight
    return is_full and machine.launched_at < midnight


def _estimated(machines: Iterable[MachineRecord], region: str) -> Iterable[str]:
    priced = [one for one in machines if one.instance_type in INSTANCE_USD_PER_HOUR]
    if any(one.market == "spot" for one in priced):
        yield "spot"
    if priced and REGION_FACTOR.get(region) != 1.0:
        yield region
