"""What an endpoint costs, in words: at rest, for being made, and while it works."""

from __future__ import annotations

from gpupipe.costs import DATED, HOURS_PER_MONTH, price_usd_per_hour, usd, usd_per_1000_items
from gpupipe.kinds.endpoint.settings import EndpointPipeline


def cost_note(settings: EndpointPipeline, pipeline: str, region: str) -> str:
    """Some sentences for `plan`."""
    types = [variant.instance_types[0] for variant in settings.deployed]
    prices = {one: price_usd_per_hour(one, region=region) for one in types}
    if unknown := [one for one, price in prices.items() if not price]:
        return f"{pipeline}: the price of {unknown[0]} is not in the table of {DATED}."
    first = types[0]
    thousand = usd_per_1000_items(settings.task_options.seconds_per_item(), prices[first])
    return (
        f"{pipeline}: {_at_rest(settings, sum(prices[one] for one in types), len(types))} "
        f"{_kept_warm(settings, sum(prices[one] for one in types), len(types))}"
        f"One {first} ({region}) costs {usd(prices[first])} an hour while it runs, about {usd(thousand)} per 1,000 "
        f"images. At most {settings.compute.max_instances * len(types)} at once. Prices of {DATED}."
    )


def _at_rest(settings: EndpointPipeline, usd_per_hour: float, variants: int) -> str:
    """Of one instance of each variant, `usd_per_hour` together."""
    kept = settings.compute.min_instances
    if not kept:
        return (
            "no instance runs until there is work: $0 at rest. SageMaker starts an instance of each variant when the "
            "endpoint is made or deployed anew; scaling takes it away."
        )
    number = kept * variants
    always = "1 instance always runs" if number == 1 else f"{number} instances always run"
    return f"{always}: {usd(kept * usd_per_hour * HOURS_PER_MONTH)} a month, used or not."


def _kept_warm(settings: EndpointPipeline, usd_per_hour: float, variants: int) -> str:
    """What the hours of `keep_warm` add; "" where it is off."""
    warm = settings.keep_warm
    if not warm.start:
        return ""
    more = warm.min_instances - settings.compute.min_instances
    added = usd(more * usd_per_hour)
    return f"From cron({warm.start}) to cron({warm.end}) {more * variants} more run: {added} an hour. "
