"""What the local target asks of the rest of gpupipe after a restart: apply the configuration again, rebuild the ledger.

moto keeps nothing and ministack may have lost seconds, so whatever `gpupipe up` made is made again from the
configuration as it was when last applied: a line edited since is not applied behind the person's back.
"""

import logging
import shutil
from pathlib import Path

import psutil

from gpupipe.aws import Aws
from gpupipe.config import Config, load
from gpupipe.holder import LOCK_KEY, Holder
from gpupipe.jobs import JobsContext
from gpupipe.jobs.rebuild import rebuild
from gpupipe.local.state import Folder
from gpupipe.process_identity import boot_id
from gpupipe.provision import up
from gpupipe.state import Inventory, put_if

log = logging.getLogger(__name__)


def remember(config_path: Path, stack_id: str) -> None:
    """Keep the configuration as it was just applied; to be called at the end of an `up` with target = "local"."""
    folder = Folder.of(config_path, stack_id)
    folder.create()
    draft = folder.applied_file.with_suffix(".draft")
    shutil.copyfile(config_path, draft)
    draft.replace(folder.applied_file)


def forget(config_path: Path, stack_id: str) -> None:
    """Have nothing applied again from now on: a `down` begins, and an emulator that dies meanwhile loses only what is
    to go anyway."""
    Folder.of(config_path, stack_id).applied_file.unlink(missing_ok=True)


def applied_config(folder: Folder) -> Config | None:
    """The configuration as it was last applied, or None before the first `up`."""
    return load(folder.applied_file) if folder.applied_file.is_file() else None


def apply_again(config: Config, aws: Aws) -> None:
    """Make what the emulators lost, jobs included; keeps what is there. Raises LockedError while a command changes the
    stack, and whatever else `gpupipe up` raises."""
    _release_lock_of_the_dead(aws)
    made = _as_it_was(config, aws)
    log.info("applied again: %s", up(made, aws))
    for pipeline in made.pipelines:
        log.info("ledger of %s: %s", pipeline, rebuild(JobsContext.of(aws, made, pipeline)))


def _as_it_was(config: Config, aws: Aws) -> Config:
    """Without the pipelines that nobody has made yet, where `up` was asked for one of them."""
    there = {entry.pipeline for entry in Inventory.read(aws).entries.values()}
    made = {name: settings for name, settings in config.pipelines.items() if name in there}
    return config.model_copy(update={"pipelines": made}) if made else config


def free_leases(config: Config, aws: Aws) -> None:
    """Free what functions held that were killed together with ministack: the guard's lease above all.

    They come back with the snapshot, and the next guard would wait until they end. To be called before anything calls a
    function again. Raises what boto3 raises.
    """
    for pipeline in config.pipelines:
        JobsContext.of(aws, config, pipeline).ledger.end_leases(pipeline)


def _release_lock_of_the_dead(aws: Aws) -> None:
    """Free the stack's lock if its holder is gone, also where it said nothing of its machine or ran before a restart.

    Here, unlike on AWS, every holder is a process of this machine. Those of this boot are the lock's own affair.
    """
    holder, _ = Holder.read(aws)
    if holder is None or holder.damage or not holder.is_held or holder.boot == boot_id() != "":
        return
    if not psutil.pid_exists(holder.pid):
        put_if(aws, LOCK_KEY, {**holder.document(), "released": True}, holder.etag)
