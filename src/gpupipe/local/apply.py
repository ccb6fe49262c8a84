"""What the local target asks of the rest of gpupipe after a restart: apply the configuration again, rebuild the ledger.

moto keeps nothing and ministack may have lost seconds, so whatever `gpupipe up` made is made again from the
configuration as it was when last applied: a line edited since is not applied behind the person's back.
"""

import logging
import shutil
from pathlib import Path

from gpupipe.aws import Aws
from gpupipe.config import Config, load
from gpupipe.local.state import Folder

log = logging.getLogger(__name__)


def remember(config_path: Path, stack_id: str) -> None:
    """Keep the configuration as it was just applied; to be called at the end of an `up` with target = "local"."""
    folder = Folder.of(config_path, stack_id)
    folder.create()
    draft = folder.applied_file.with_suffix(".draft")
    shutil.copyfile(config_path, draft)
    draft.replace(folder.applied_file)


def applied_config(folder: Folder) -> Config | None:
    """The configuration as it was last applied, or None before the first `up`."""
    return load(folder.applied_file) if folder.applied_file.is_file() else None


def apply_again(config: Config, aws: Aws) -> None:
    """Make what the emulators lost; keeps what is there. Raises ApplyError."""
    raise NotImplementedError


def rebuild(config: Config, aws: Aws) -> None:
    """Bring the ledger in line with what S3 holds, after ministack lost seconds of it."""
    raise NotImplementedError
