"""What things cost: a dated table of list prices, and estimates made from it. Every figure is US dollars before tax.

Prices are on-demand list prices of us-east-1 as of `DATED`; other regions are that times a factor measured on
g4dn.xlarge, spot is a share of on-demand, so both are estimates and say so (`Price.is_estimate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpupipe.errors import UsageError

DATED = "2026-11"
HOME = "us-east-1"
HOURS_PER_MONTH = 730.0
SPOT_SHARE = 0.45
"""Of the on-demand price; spot moves by the hour and the zone."""
VOLUME_USD_PER_GB_MONTH = 0.08
"""gp3; also charged while the machine is stopped."""

Market = Literal["on-demand", "spot"]

INSTANCE_USD_PER_HOUR: Mapping[str, float] = {
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g4dn.4xlarge": 1.204,
    "g4dn.8xlarge": 2.176,
    "g4dn.12xlarge": 3.912,
    "g4dn.16xlarge": 4.352,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.4xlarge": 1.624,
    "g5.8xlarge": 2.448,
    "g5.12xlarge": 5.672,
    "g5.16xlarge": 4.096,
    "g5.24xlarge": 8.144,
    "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "g6.4xlarge": 1.3232,
    "g6.8xlarge": 2.0144,
    "g6.12xlarge": 4.6016,
    "g6.16xlarge": 3.3968,
    "g6.24xlarge": 6.6752,
    "g6.48xlarge": 13.3504,
    "g6e.xlarge": 1.861,
    "g6e.2xlarge": 2.24208,
    "g6e.4xlarge": 3.00424,
    "g6e.8xlarge": 4.52856,
    "g6e.12xlarge": 10.49264,
    "g6e.16xlarge": 7.57719,
    "g6e.24xlarge": 15.06559,
    "g6e.48xlarge": 30.13118,
    # SageMaker real-time and asynchronous inference; on-demand only, its own price list.
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.m5.12xlarge": 2.765,
    "ml.m5.24xlarge": 5.53,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
    "ml.c5.9xlarge": 1.836,
    "ml.c5.18xlarge": 3.672,
    "ml.g4dn.xlarge": 0.736,
    "ml.g4dn.2xlarge": 0.94,
    "ml.g4dn.4xlarge": 1.505,
    "ml.g4dn.8xlarge": 2.72,
    "ml.g4dn.12xlarge": 4.89,
    "ml.g4dn.16xlarge": 5.44,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
    "ml.g5.4xlarge": 2.03,
    "ml.g5.8xlarge": 3.06,
    "ml.g5.12xlarge": 7.09,
    "ml.g5.16xlarge": 5.12,
    "ml.g5.24xlarge": 10.18,
    "ml.g5.48xlarge": 20.36,
    "ml.g6.xlarge": 1.1267,
    "ml.g6.2xlarge": 1.222,
    "ml.g6.4xlarge": 1.654,
    "ml.g6.8xlarge": 2.518,
    "ml.g6.12xlarge": 5.752,
    "ml.g6.16xlarge": 4.246,
    "ml.g6.24xlarge": 8.344,
    "ml.g6.48xlarge": 16.688,
    "ml.g6e.xlarge": 2.61,
    "ml.g6e.2xlarge": 2.80,
    "ml.g6e.4xlarge": 3.755,
    "ml.g6e.8xlarge": 5.661,
    "ml.g6e.12xlarge": 13.116,
    "ml.g6e.24xlarge": 18.832,
    "ml.g6e.48xlarge": 37.664,
}

REGION_FACTOR: Mapping[str, float] = {
    **dict.fromkeys(("us-east-1", "us-east-2", "us-west-2"), 1.0),
    "us-west-1": 1.20,
    "ca-central-1": 1.11,
    "sa-east-1": 1.70,
    "eu-west-1": 1.12,
    "eu-west-2": 1.17,
    "eu-west-3": 1.17,
    "eu-north-1": 1.06,
    "eu-central-1": 1.25,
    "ap-south-1": 1.10,
    "ap-northeast-1": 1.35,
    "ap-northeast-2": 1.23,
    "ap-southeast-1": 1.40,
    "ap-southeast-2": 1.30,
}
UNKNOWN_REGION_FACTOR = 1.30


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an hour of an instance costs."""

    usd_per_hour: float
    is_estimate: bool
    """Is it worked out from another region's or market's price?"""
    dated: str = DATED


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What something costs while it stands; `usage` says in words what using it costs beside that."""

    usd_per_month: float = 0.0
    usage: str = ""

    @property
    def usd_per_hour(self) -> float:
        return self.usd_per_month / HOURS_PER_MONTH


FREE = Cost()

# By kind. Without the free tier, which an account may have used up.
_STANDING: Mapping[str, Cost] = {
    "alarm": Cost(usd_per_month=0.10),
    "bucket": Cost(usage="$0.023 a GB a month"),
    # Lambda polls a queue with five long polls of 20 s: 657,000 requests a month at $0.40 a million.
    "event source": Cost(usd_per_month=0.26, usage="$0.40 a million messages"),
    "function": Cost(usage="$0.20 a million calls, and $0.0000167 a GB second"),
    "log group": Cost(usage="$0.50 a GB written, $0.03 a GB kept a month"),
    "metric alarm": Cost(usd_per_month=0.10),
    "queue": Cost(usage="$0.40 a million requests"),
    # The guard each minute: 43,800 calls of half a second with 256 MB.
    "schedule": Cost(usd_per_month=0.10),
    "secret": Cost(usd_per_month=0.40),
    "state bucket": Cost(usd_per_month=0.01),
    "table": Cost(usage="$0.625 a million writes, $0.25 a GB a month"),
    "topic": Cost(usage="$0.50 a million messages"),
}


def standing_cost(kind: str, fields: Mapping[str, Any] | None = None) -> Cost:
    """What a resource of `kind` costs while it stands, used or not; `fields` where the price depends on them."""
    if kind == "scalable target":
        return _least_instances(fields or {})
    return _STANDING.get(kind, FREE)


def _least_instances(fields: Mapping[str, Any]) -> Cost:
    """The instances of an endpoint that run day and night, whether anybody calls them or not."""
    instance_type, region = str(fields.get("instance_type", "")), str(fields.get("region", HOME))
    hour = price_usd_per_hour(instance_type, region=region)
    if not hour:
        return Cost(usage=f"the price of {instance_type} is not known") if instance_type else FREE
    idle = round(int(fields.get("instances", 0)) * hour * HOURS_PER_MONTH, 2)
    return Cost(usd_per_month=idle, usage=f"{usd(hour)} an hour for each {instance_type}")


def instance_price(instance_type: str, *, market: Market = "on-demand", region: str = HOME) -> Price:
    """The price of an instance hour. Raises UsageError for a type that is not in the table."""
    listed = INSTANCE_USD_PER_HOUR.get(instance_type)
    if listed is None:
        raise UsageError(
            f"the price of {instance_type} is not known.", hint=f"Known: {', '.join(INSTANCE_USD_PER_HOUR)}."
        )
    usd = listed * REGION_FACTOR.get(region, UNKNOWN_REGION_FACTOR) * (SPOT_SHARE if market == "spot" else 1.0)
    exact = market == "on-demand" and REGION_FACTOR.get(region) == 1.0
    return Price(usd_per_hour=round(usd, 4), is_estimate=not exact)


def price_usd_per_hour(instance_type: str, market: Market = "on-demand", region: str = HOME) -> float:
    """The price of an instance hour, or 0 where it is not known: a budget then counts what it can."""
    if instance_type not in INSTANCE_USD_PER_HOUR:
        return 0.0
    return instance_price(instance_type, market=market, region=region).usd_per_hour


def volume_usd_per_month(volume_gb: int, region: str = HOME) -> float:
    """A machine's disk, whether the machine runs or not."""
    return round(volume_gb * VOLUME_USD_PER_GB_MONTH * REGION_FACTOR.get(region, UNKNOWN_REGION_FACTOR), 2)


def usd_per_1000_items(seconds_per_item: float, usd_per_hour: float) -> float:
    """What 1,000 images cost on a machine that is kept busy; start and idle time come on top."""
    return 1000 * seconds_per_item * usd_per_hour / 3600


def usd(amount: float) -> str:
    """`$0.526`, `$0.50`, `$2.10`, `$1,234`: as many digits as mean something."""
    if amount >= 100:
        return f"${amount:,.0f}"
    cents, exact = f"{amount:.2f}", f"{amount:.3g}"
    return f"${cents if amount >= 1 or len(exact) < len(cents) else exact}"
