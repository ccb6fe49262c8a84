"""Whose a stack's folder is: what came with a repository or is a copy is not taken for one's own.

A folder holds code that is run, processes that are ended and addresses that are asked, so it is trusted only if this
user has made it here. It counts as theirs if it holds a random token that is noted, with the folder's path, below
XDG_STATE_HOME: outside of whatever can be cloned, copied or unpacked. A folder that was moved takes its note along; so
neither a reboot nor another host name matters.
"""

import os
import re
import secrets
from pathlib import Path

from gpupipe.errors import TargetError
from gpupipe.local.documents import is_plain, read_small, write_json

OWNER_FILE = "owner.json"
_TOKEN = re.compile(r"[0-9a-f]{64}")


def state_home() -> Path:
    """Where this user's programs keep what belongs to no project. Raises TargetError where there is no such place."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise _unwritable("your home folder", error) from error


def claim(folder: Path) -> None:
    """Note that a folder, which is there, is this user's, if that is not known. Raises TargetError if it cannot be."""
    if _why_unknown(folder):
        token = secrets.token_hex(32)
        _note(token, folder)
        write_json(folder / OWNER_FILE, {"token": token})


def release(folder: Path) -> None:
    """Forget a folder of this user's that is about to go."""
    if token := _token_of(folder):
        _note_file(token).unlink(missing_ok=True)


def why_foreign(folder: Path) -> str:
    """Why a folder is not this user's own, in words; nothing where it is, or where there is nothing in it."""
    if link := next((path for path in (folder, folder.parent) if path.is_symlink()), None):
        return f"{link} is a link"
    try:
        owner = folder.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if owner != os.getuid():
        return f"it belongs to the user with the number {owner}"
    return "" if all(map(says_nothing, folder.iterdir())) else _why_unknown(folder)


def says_nothing(path: Path) -> bool:
    """Is this a file of a stack's folder that is there before anything is in it, and the last to go?"""
    return is_plain(path) and (path.name == OWNER_FILE or path.suffix in {".lock", ".draft"})


def _why_unknown(folder: Path) -> str:
    token = _token_of(folder)
    if not token:
        return "nothing in it says that you made it on this machine"
    noted = read_small(_note_file(token))
    if noted is None or noted.get("uid") != os.getuid():
        return f"{state_home() / 'gpupipe'} does not know it"
    return _why_elsewhere(folder, token, Path(str(noted.get("folder", ""))))


def _why_elsewhere(folder: Path, token: str, noted: Path) -> str:
    if noted == folder.resolve():
        return ""
    if _token_of(noted) == token:
        return f"it is a copy of {noted}"
    _note(token, folder)  # it was moved
    return ""


def _note(token: str, folder: Path) -> None:
    file = _note_file(token)
    try:
        write_json(file, {"folder": str(folder.resolve()), "uid": os.getuid()})
    except OSError as error:
        raise _unwritable(str(file.parent), error) from error


def _note_file(token: str) -> Path:
    return state_home() / "gpupipe" / "stacks" / f"{token}.json"


def _token_of(folder: Path) -> str:
    token = str((read_small(folder / OWNER_FILE) or {}).get("token", ""))
    return token if _TOKEN.fullmatch(token) else ""


def _unwritable(where: str, error: Exception) -> TargetError:
    return TargetError(
        f"gpupipe notes in {where} which local targets are yours, and that cannot be written: {error}.",
        hint="Set XDG_STATE_HOME to a folder of your own.",
    )
