"""What `[pipelines.<name>.model]` may say: a hub's weights at one commit, or a folder; and the names of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gpupipe.tasks import TaskOptions
from gpuworker.contract import COMMIT, HUB_NAME

SECRET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,38}[a-z0-9]")
SECRET_NAME_RULE = "2 to 40 lower-case letters, digits, - and _, starting with a letter"


def is_folder(weights: str) -> bool:
    """Is it a folder, not a hub's name? Always a whole path: nobody knows where a worker is started."""
    return weights.startswith(("/", "~"))


def mistakes(weights: str, revision: str, token_secret: str) -> Iterator[str]:
    """What is wrong with the table `model`, each with its key."""
    if is_folder(weights):
        if revision:
            yield "revision: is for weights from a hub; a folder has none"
        if token_secret:
            yield "token_secret: is for weights from a hub; a folder needs none"
    elif weights:
        yield from _of_hub(weights, revision)
    elif revision or token_secret:
        yield 'weights: is missing; it names what revision and token_secret are for: "owner/name"'
    if token_secret and not SECRET_NAME.fullmatch(token_secret):
        # What is written here may be the token itself: it is not repeated.
        yield f"token_secret: is the name of a secret, {SECRET_NAME_RULE}; its value is for `gpupipe secrets set`"


def _of_hub(weights: str, revision: str) -> Iterator[str]:
    if not HUB_NAME.fullmatch(weights):
        yield f'weights: {weights!r} is neither a hub\'s "owner/name" nor the whole path of a folder (/… or ~/…)'
    if not COMMIT.fullmatch(revision):
        yield (
            "revision: must be a commit of the hub's repository, 40 hexadecimal digits: "
            "what a branch or tag names may change behind your back"
        )


def lacking(options: TaskOptions) -> str:
    """What these options need weights for where none are named; "" where they need none."""
    if getattr(options, "engine", "") != "sam3":
        return ""
    return (
        'model.weights: is missing; engine "sam3" carries none: name "owner/name" of a hub and a revision, or a folder'
    )


def missing_folder(weights: str) -> str:
    """What is wrong with a folder on this machine; "" where it can be used, or is none."""
    if not is_folder(weights):
        return ""
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        return f"model.weights: there is no folder {folder}"
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        return f"model.weights: {folder} does not hold weights (config.json and *.safetensors)"
    return ""
