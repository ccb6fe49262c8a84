"""What other programs may want to know of a pipeline that takes its jobs from a bucket."""

from __future__ import annotations

from gpupipe.kinds.kind import AnySite


def intake_outputs(site: AnySite) -> dict[str, str]:
    """Where files are dropped in and results lie, and the ledger's table."""
    return {"bucket": site.stack.data_bucket(site.pipeline), "table": site.stack.table}


def work_queue_outputs(site: AnySite) -> dict[str, str]:
    """Where shards wait, and where those end that nobody could finish."""
    names = {
        "work_queue_url": site.stack.work_queue(site.pipeline),
        "dead_letter_queue_url": site.stack.dead_letter_queue(site.pipeline),
    }
    return {output: site.queue_url(name) for output, name in names.items()}
