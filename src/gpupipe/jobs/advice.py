"""What a person can do about each failure code of an item, in one sentence; and warnings of results in words."""

from __future__ import annotations

from collections.abc import Mapping

from gpupipe.jobs.time_limits import time_advice
from gpuworker.contract import CAVEATS

IMAGES = ("image", "images")
RETRY = "`gpupipe retry JOB --failed` processes it again."

ADVICE: Mapping[str, str] = {
    "empty": "The file has no content: export or copy it again, and submit it.",
    "unreadable": "The file is damaged, or is not what its name says: open it, export it again, submit it.",
    "truncated": "The file ends early, usually after a broken copy: copy it from its source again, and submit it.",
    "unsupported": "Convert it to JPEG, PNG, WebP or TIFF, and submit it.",
    "unsuitable": "Submit it with other prompts or options: these do not suit it, or the engine that it met.",
    "too_large": "Cut it up or convert it to a tiled TIFF, raise max_bytes or max_pixels in task_options, or take a "
    "machine with more memory, and submit it.",
    "timeout": f"It took longer than an item may. {RETRY} If it happens again, use a smaller image.",
    "out_of_memory": f"It did not fit into memory. {RETRY} If it happens again, use a smaller image or machine type.",
    "killed_worker": "It brought the worker down each time; the file is probably damaged: export it again, submit it.",
    "not_found": "The uploaded file was deleted before it was processed: submit it again.",
    "changed": "The uploaded file was replaced before it was processed: submit the folder again.",
    "internal_error": f"A mistake in gpupipe. {RETRY} If it happens again, please report it with `gpupipe logs`.",
    "not_processed": f"Its part of the job was given up; `gpupipe logs` says why. {RETRY}",
}

ABOUT_VALUES: Mapping[str, str] = {
    "empty": "The value says nothing that the task could work on: mend it, and submit it.",
    "unreadable": "The task cannot read the value: mend it, and submit it.",
    "truncated": "The task cannot read the value: mend it, and submit it.",
    "unsupported": "The value asks for what the task does not do: change it, and submit it.",
    "unsuitable": "Change the value, or submit it with other options or to a pipeline of another task.",
    "too_large": "The value asks for more than the task may do: ask for less, and submit it.",
    "timeout": f"It took longer than an item may. {RETRY} If it happens again, ask for less.",
    "out_of_memory": f"It did not fit into memory. {RETRY} If it happens again, ask for less or take a larger machine.",
    "killed_worker": "It brought the worker down each time: ask for less; `gpupipe logs` says more.",
}
"""What is said differently of an item that has no file."""

TIMED = ("timeout", "not_processed")
"""Codes of what a limit of time may have ended."""


def advice(code: str, message: str = "", *, is_value: bool = False) -> str:
    """What to do about an item that failed with `code`; `message` may name the setting that ended it."""
    told = time_advice(message, is_value=is_value) if code in TIMED else ""
    usual = ADVICE.get(code, RETRY)
    return f"{told} {RETRY}" if told else ABOUT_VALUES.get(code, usual) if is_value else usual


def failures_told(counts: Mapping[str, int], *, words: tuple[str, str] = IMAGES, is_value: bool = False) -> list[str]:
    """`3 images (truncated): …`, of failed images by code: how many, and what to do. `words`: one and many."""
    return [
        f"{number:,} {words[number != 1]} ({code}): {advice(code, is_value=is_value)}"
        for code, number in counts.items()
    ]


def warnings_told(counts: Mapping[str, int]) -> list[str]:
    """`3 images (saturated): …`: those of the counts that are images with a warning, and what to do."""
    return [f"{_images(counts[word])} ({word}): {caveat}" for word, caveat in CAVEATS.items() if counts.get(word)]


def _images(number: int) -> str:
    return f"{number:,} {IMAGES[number != 1]}"
