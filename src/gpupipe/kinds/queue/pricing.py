"""What the machines of a `queue` pipeline cost, in words."""

from __future__ import annotations

from gpupipe.costs import DATED, price_usd_per_hour, usd, usd_per_1000_items, volume_usd_per_month
from gpupipe.kinds.queue.settings import QueuePipeline


def cost_note(settings: QueuePipeline, pipeline: str, region: str) -> str:
    """What it costs while it works, and what a machine at rest costs."""
    compute = settings.compute
    first = compute.instance_types[0]
    hour = price_usd_per_hour(first, compute.market, region)
    if not hour:
        return f"{pipeline}: the price of {first} is not in the table of {DATED}."
    thousand = usd_per_1000_items(settings.task_options.seconds_per_item(), hour)
    note = f"{pipeline}: no machine runs until there is work. One {first} ({compute.market}, {region}) costs "
    note += f"{usd(hour)} an hour while it runs, about {usd(thousand)} per 1,000 images"
    if compute.on_idle == "stop":
        note += f"; stopped, its disk costs {usd(volume_usd_per_month(compute.volume_gb, region))} a month"
    return f"{note}. At most {compute.max_instances} at once. Prices of {DATED}."
