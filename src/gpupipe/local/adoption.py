"""What to do with a stack's folder that somebody else has made, or that is a copy: take its objects over, or delete it.

Neither starts, asks or ends anything that the folder names, and neither follows a link that is in it.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from gpupipe.errors import TargetError
from gpupipe.local import control, ownership
from gpupipe.local.adopted_buckets import rewrite
from gpupipe.local.documents import read_small, write_json
from gpupipe.local.emulators import Account
from gpupipe.local.state import Folder, remove, walk

# What S3's objects are made of: their bytes, and what ministack knows of their buckets.
_NOTE = "ministack/state/s3.json"
_OBJECTS = ("ministack/s3", _NOTE)
_ACCOUNT = "account.json"


def adopt(config_path: Path, *, stack_id: str, region: str) -> bool:
    """Make a foreign folder this user's own; False where it is that already, or where there is none.

    The objects in its buckets are kept, and the account's number, which is in the buckets' names. Killed in the middle,
    the folder is still foreign and can be adopted again. Raises TargetError.
    """
    folder = Folder.at(config_path, stack_id).path
    reason = ownership.why_foreign(folder)
    if not reason:
        return False
    if folder.is_symlink() or folder.parent.is_symlink() or folder.stat().st_uid != os.getuid():
        raise TargetError(f"{folder} cannot be adopted: {reason}.", hint="Put a copy of your own in its place first.")
    folder.chmod(0o700)
    account = Account.new(region).with_number(_account_number(folder))
    for path in list(_dropped(folder)):
        remove(path)
    if (folder / _NOTE).exists():
        rewrite(folder / _NOTE, account.account_id)
    write_json(folder / _ACCOUNT, asdict(account))
    ownership.claim(folder)
    return True


def forget(config_path: Path, *, stack_id: str) -> bool:
    """Delete a stack's folder, whoever has made it; False where there is none. One's own is stopped first.

    Raises TargetError.
    """
    folder = Folder.at(config_path, stack_id)
    if not ownership.why_foreign(folder.path):
        existed = folder.path.exists()
        control.stop(config_path, stack_id=stack_id, remove=True)
        return existed
    try:
        remove(folder.path.parent if folder.path.parent.is_symlink() else folder.path)
    except OSError as error:
        raise TargetError(f"{folder.path} cannot be deleted: {error}.") from error
    folder.remove_parent()
    return True


def _account_number(folder: Path) -> str:
    """That of the folder's buckets; nothing where it says none."""
    number = str((read_small(folder / _ACCOUNT) or {}).get("account_id", ""))
    return number if re.fullmatch(r"[1-9][0-9]{11}", number) else ""


def _dropped(folder: Path) -> Iterator[Path]:
    """All that is no object: first whole files and folders, then what is no plain file among the kept ones."""
    kept = [folder / name for name in _OBJECTS]
    above = {parent for path in kept for parent in path.parents if parent.is_relative_to(folder)}
    for parent in sorted(above):
        if _is_folder(parent):
            yield from (
                path for path in parent.iterdir() if path not in kept and not (path in above and _is_folder(path))
            )
    for path in kept:
        yield from (one for one in walk(path) if not _may_stay(one))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _may_stay(path: Path) -> bool:
    """A folder, or a file that is nowhere else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
