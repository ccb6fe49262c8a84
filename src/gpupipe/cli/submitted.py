"""What `submit` and `run` say of a submission, a line a fact."""

from __future__ import annotations

from gpupipe.cli.screen import plural
from gpupipe.jobs.submit import SubmittedJob
from gpupipe.tasks import inputs_of

LINKS_SHOWN = 5


def lines_of(job: SubmittedJob, *, hold: bool = False) -> list[str]:
    """`hold`: what was asked for."""
    how = "resumed: " if job.is_resumed else ""
    words = inputs_of(job.task)
    lines = [
        f"{how}{plural(job.items, *words)} in {plural(job.shards, 'shard')}: {job.uploaded:,} uploaded "
        f"({job.uploaded_bytes / 1e6:,.1f} MB), {job.unchanged:,} were there already"
    ]
    if job.with_sidecar:
        lines.append(
            f"{plural(job.with_sidecar, 'image')} with boxes beside {'it' if job.with_sidecar == 1 else 'them'}"
        )
    if job.with_place:
        beside = "it" if job.with_place == 1 else "them"
        lines.append(f"{plural(job.with_place, 'image')} with a world file or .prj beside {beside}")
    if job.skipped:
        lines.append("passed over: " + job.passed_over)
    if job.links_left_out:
        first = ", ".join(job.links_left_out[:LINKS_SHOWN])
        more = ", …" if len(job.links_left_out) > LINKS_SHOWN else ""
        lines.append(f"links passed over: {first}{more}")
    if job.results_named:
        first = ", ".join(job.results_named[:LINKS_SHOWN])
        more = ", …" if len(job.results_named) > LINKS_SHOWN else ""
        lines.append(f"taken though they are results that gpupipe fetched, because they were named: {first}{more}")
    lines += _standing(job, hold=hold)
    return [*lines, *([f"note: {job.notice}"] if job.notice else [])]


def _standing(job: SubmittedJob, *, hold: bool) -> list[str]:
    """Whether it is a new job, and what it waits for."""
    lines, inputs = [], inputs_of(job.task)[1]
    if job.attached:
        lines.append(
            f"attached to job {job.job} of the same {inputs}, which is {job.state}: nothing is started or paid "
            "twice; --again makes another job"
        )
    if job.replaces:
        lines.append(
            f"a new job: {job.replaces} of the same {inputs} is over; `gpupipe fetch {job.replaces}` brings "
            "what came of it"
        )
    if job.is_held:
        lines.append("held: no machine starts for it before `gpupipe start`")
    elif hold:
        lines.append(f"--hold changes nothing: job {job.job} was started without it; `gpupipe stop` stops its machines")
    if job.state == "stalled":
        lines.append(f"it is stalled: `gpupipe watch {job.job}` says why, `gpupipe start` goes on with it")
    return lines
