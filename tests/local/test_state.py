import json
import stat
import threading
from pathlib import Path

import pytest

from gpupipe.errors import TargetError
from gpupipe.local.processes import ProcessName
from gpupipe.local.state import Folder, Record, Target, write_json

TARGET = Target(
    account_id="1" * 12,
    region="us-east-1",
    access_key="1" * 12,
    secret_key="secret",
    endpoints={"default": "http://127.0.0.1:1"},
    generation=3,
    supervisor_pid=7,
    started_at=1.5,
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder.of(tmp_path / "gpupipe.toml", "demo-dev")
    folder.create()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_is_private_and_out_of_version_control(folder: Folder, tmp_path: Path) -> None:
    assert folder.path == tmp_path / ".gpupipe" / "demo-dev"
    assert mode(folder.path) == 0o700
    assert (tmp_path / ".gpupipe" / ".gitignore").read_text() == "*\n"


def test_endpoint_is_private_and_comes_back(folder: Folder) -> None:
    assert folder.read_target() is None
    folder.write_target(TARGET)
    assert folder.read_target() == TARGET
    assert mode(folder.endpoint_file) == 0o600
    assert "secret" not in repr(TARGET)


def test_record_comes_back(folder: Folder) -> None:
    assert folder.read_record() == Record(phase="stopped")
    process = ProcessName(pid=1, boot="b", started_at=2.0, since_boot_s=1.0, token="t")
    record = Record(
        phase="ready", generation=2, started_at=3.0, supervisor=process, emulators={"moto": process}, ports={"moto": 4}
    )
    folder.write_record(record)
    assert folder.read_record() == record


def test_account_is_made_once(folder: Folder) -> None:
    account = folder.account("us-east-1")
    assert len(account.account_id) == 12
    assert folder.account("us-east-1") == account
    assert mode(folder.path / "account.json") == 0o600


def test_the_account_of_a_folder_has_the_same_number_when_it_is_made_again(folder: Folder) -> None:
    # given a plan before the first `up`, which leaves nothing behind
    planned = folder.account("us-east-1")
    folder.remove()
    folder.create()
    # when
    again = folder.account("us-east-1")
    # then
    assert again.account_id == planned.account_id
    assert again.secret_key != planned.secret_key


def test_accounts_of_two_folders_differ(folder: Folder) -> None:
    other = Folder(folder.path.with_name("other-dev"))
    other.create()
    assert other.account("us-east-1").account_id != folder.account("us-east-1").account_id


def test_notice_is_handed_out_once(folder: Folder) -> None:
    folder.add_notice("first")
    folder.add_notice("second")
    assert folder.notices(take=False) == ("first", "second")
    assert folder.notices(take=True) == ("first", "second")
    assert folder.notices(take=True) == ()


def test_news_reach_all_who_are_at_work_once(folder: Folder) -> None:
    # given two commands that are at work since something was told
    folder.add_notice("before")
    assert folder.notices(take=True) == ("before",)
    one, other = folder.handed_out(), folder.handed_out()
    # when something happens, and a third command comes
    folder.add_notice("first")
    assert folder.news(one) == ("first",)
    folder.add_notice("second")
    assert folder.notices(take=True) == ("second",)
    # then the two hear all of it, and nobody else anything twice
    assert folder.news(one) == ("second",)
    assert folder.news(other) == ("first", "second")
    assert folder.news(one) == folder.news(other) == folder.notices(take=True) == ()


def test_notices_that_everybody_has_heard_are_thrown_away(folder: Folder) -> None:
    told = folder.path / "notices" / "told"
    told.mkdir(parents=True)
    (told / "1.json").write_text('{"at": 1.0, "text": "of 1970"}')
    folder.add_notice("now")
    assert folder.notices(take=True) == ("now",)
    assert len(list(told.iterdir())) == 1


def test_damaged_file_says_so(folder: Folder) -> None:
    folder.endpoint_file.write_text("{")
    with pytest.raises(TargetError, match="is damaged"):
        folder.read_target()


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    # given a file that is rewritten all the time
    file = tmp_path / "file.json"
    write_json(file, {"text": "x" * 100_000})
    ended = threading.Event()

    def rewrite() -> None:
        while not ended.is_set():
            write_json(file, {"text": "x" * 100_000})

    thread = threading.Thread(target=rewrite)
    thread.start()
    # when it is read again and again
    try:
        for _ in range(200):
            # then it is always whole
            assert len(json.loads(file.read_text())["text"]) == 100_000
    finally:
        ended.set()
        thread.join(timeout=10)


def test_second_supervisor_gets_no_lock(folder: Folder) -> None:
    first = folder.supervisor_lock()
    assert first is not None
    assert folder.supervisor_lock() is None
    first.close()
    second = folder.supervisor_lock()
    assert second is not None
    second.close()


def test_second_command_waits_for_the_first(folder: Folder) -> None:
    with (
        folder.starting(patience_s=1),
        pytest.raises(TargetError, match="Another command"),
        folder.starting(patience_s=0.1),
    ):
        raise AssertionError("two commands hold one lock")


def test_lock_survives_the_folders_removal(folder: Folder) -> None:
    # given a command that removes the folder while it holds the lock
    with folder.starting(patience_s=1):
        (folder.path / "start.lock").unlink()
        # when another comes, then it locks the folder's successor
        with folder.starting(patience_s=1):
            assert (folder.path / "start.lock").exists()
