"""Commands in a cloned repository that brought a `.gpupipe/` along: nothing of it is started, asked or ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.cli.conftest import Types
from tests.recording import recording

from gpupipe.local import control, ownership, processes
from gpupipe.local.emulators import Account
from gpupipe.local.state import Folder
from gpupipe.process_identity import boot_id

CONFIG = """
[stack]
name = "demo"
target = "local"
[pipelines.segment]
kind = "queue"
task = "segment"
"""
STACK = "demo-dev"
COMMANDS = [
    ("status",),
    ("plan",),
    ("up", "--yes"),
    ("down", "--yes"),
    ("down", "--yes", "--keep-data"),
    ("submit", "images", "--project", "p"),
    ("run", "images", "--project", "p"),
    ("jobs",),
    ("watch",),
    ("fetch",),
    ("logs",),
    ("retry", "20260101-000000-p-0000", "--failed"),
    ("cancel", "20260101-000000-p-0000"),
    ("dlq", "list"),
    ("secrets", "list"),
    ("local", "env"),
    ("local", "interrupt"),
    ("local", "stop"),
]


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """Where the folder's addresses lead, and the requests that came."""
    with recording() as server:
        yield server


@pytest.fixture
def cloned(folder: Path, listener: tuple[str, list[str]]) -> Path:
    """A folder's whole state as somebody wrote it: processes that are there, and addresses that answer."""
    (folder / "gpupipe.toml").write_text(CONFIG)
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(b"\x89PNG")
    state = Folder.at(folder / "gpupipe.toml", STACK).path
    victim = {
        "pid": os.getpid(),
        "boot": boot_id(),
        "started_at": psutil.Process().create_time(),
        "since_boot_s": psutil.Process().create_time() - psutil.boot_time(),
        "token": "",
    }
    url = listener[0]
    made: dict[str, Any] = {
        "account.json": {"account_id": "1" * 12, "secret_key": "known", "region": "us-east-1"},
        "record.json": {
            "phase": "ready",
            "generation": 1,
            "started_at": 1.0,
            "supervisor": {**victim, "pid": 1},
            "emulators": {"moto": victim, "ministack": victim},
            "ports": {"moto": 1, "ministack": 1},
            "must_apply": True,
            "problem": "",
        },
        "endpoint.json": {
            "account_id": "1" * 12,
            "region": "us-east-1",
            "access_key": "1" * 12,
            "secret_key": "known",
            "endpoints": {"default": url, "sagemaker": url},
            "generation": 1,
            "supervisor_pid": 1,
            "started_at": 1.0,
        },
        "machines/i-1/host.json": {"process": victim, "crashes": 0},
        "machines/i-1/run.json": {"worker_pid": os.getpid(), "off": None},
        "endpoints/e/i-1/container.json": {
            "identity": {"endpoint": "e", "config": "c", "variant": "v", "number": 1},
            "process": victim,
            "started_at": 1.0,
            "failures": 0,
            "was_ready": True,
            "url": url,
            "token": "t",
        },
        "ministack/state/lambda.json": {"__ministack_format__": 3, "payload": {}},
        "ministack/state/s3.json": {"__ministack_format__": 2, "payload": {}},
        "ministack/s3/111111111111/bucket/key": {"an": "object"},
        "notices/1.json": {"at": 1.0, "text": "visit me"},
    }
    for name, document in made.items():
        file = state / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    (state / "applied.toml").write_text(CONFIG)
    return state


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that commands wanted to start, none of which is."""
    started: list[Any] = []

    def spawn(command: list[str], **_: Any) -> None:
        started.append(command)
        raise AssertionError(f"starts {command}")

    monkeypatch.setattr(processes, "spawn", spawn)
    return started


def all_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_it_is_reported_and_left_alone(
    types: Types, cloned: Path, listener: tuple[str, list[str]], started: list[Any], command: tuple[str, ...]
) -> None:
    before = all_of(cloned)
    # when
    typed = types(*command)
    # then
    assert typed.code == 1
    assert f"{cloned} is not yours: nothing in it says that you made it on this machine" in typed.err.replace("\n", " ")
    assert "visit me" not in typed.err + typed.out
    assert (listener[1], started) == ([], [])
    assert all_of(cloned) == before


def test_forgetting_deletes_the_folder_and_nothing_else(
    types: Types, cloned: Path, listener: tuple[str, list[str]], started: list[Any]
) -> None:
    # given a link to what is dear to somebody
    dear = cloned.parents[1] / "images" / "a.png"
    (cloned / "notices" / "link").symlink_to(dear.parent)
    # when nobody agrees
    assert types("down", "--forget").code == 2
    assert cloned.exists()
    # and when somebody does
    typed = types("down", "--forget", "--yes", "--json")
    assert (typed.code, typed.document) == (0, {"forgotten": str(cloned)})
    assert not cloned.parent.exists()
    assert dear.exists()
    assert (listener[1], started) == ([], [])
    # then there is nothing, as before the first `up`
    assert types("down", "--forget", "--yes", "--json").document == {"forgotten": None}
    assert "is not up" in types("status").err


@pytest.mark.parametrize("level", ["", ".gpupipe"])
def test_forgetting_a_link_leaves_what_it_leads_to(types: Types, cloned: Path, level: str) -> None:
    # given a folder that is a link out of the repository
    linked = cloned.parent if level else cloned
    away = linked.rename(cloned.parents[1] / "away")
    linked.symlink_to(away)
    before = all_of(away)
    assert f"{linked} is a link" in types("status").err.replace("\n", " ")
    # when
    assert types("down", "--forget", "--yes").code == 0
    # then
    assert not linked.is_symlink()
    assert all_of(away) == before


def test_adopting_keeps_objects_and_nothing_that_works(cloned: Path, listener: tuple[str, list[str]]) -> None:
    from gpupipe.local.adoption import adopt

    # given what only pretends to be an object
    s3 = cloned / "ministack" / "s3" / "111111111111" / "bucket"
    (s3 / "passwd").symlink_to("/etc/passwd")
    (s3 / "folder").symlink_to("/etc")
    os.mkfifo(s3 / "fifo")
    os.link(cloned / "applied.toml", s3 / "twice")
    (cloned / "ministack" / "tmp").symlink_to("/etc")
    config = cloned.parents[1] / "gpupipe.toml"
    # when
    assert adopt(config, stack_id=STACK, region="eu-west-1")
    # then
    assert set(all_of(cloned)) == {
        "account.json",
        "owner.json",
        "ministack/s3/111111111111/bucket/key",
        "ministack/state/s3.json",
    }
    assert Path("/etc/passwd").exists()
    # and the account has its number, which is in the buckets' names, and a key that nobody knows
    folder = Folder.of(config, STACK)
    account = folder.account("eu-west-1")
    assert (account.account_id, account.region) == ("1" * 12, "eu-west-1")
    assert len(account.secret_key) == 40
    # and nothing runs
    status = control.status(config, stack_id=STACK)
    assert (status["phase"], status["processes"], status["machines"], status["containers"]) == ("stopped", [], [], [])
    assert listener[1] == []
    # and it is one's own from now on
    assert not adopt(config, stack_id=STACK, region="eu-west-1")


def test_of_its_buckets_names_versions_and_tags_are_kept_and_nothing_that_acts(cloned: Path) -> None:
    from gpupipe.local.adoption import adopt

    # given a note that has every object written to a folder of somebody's choice, too
    note = cloned / "ministack" / "state" / "s3.json"
    ours, odd = "1" * 12 + "\0'demo-dev-data'", [f"{'1' * 12}\0'{name}'" for name in ("/tmp/x", "../x", "a..b", "A_b")]
    strangers = ["2" * 12 + "\0'demo-dev-data'", ours + "'", "x"]
    meta = {"created": "2026", "region": "us-east-1", "objects": {"k": {}}, "_ownership_controls": "<x/>"}
    scoped = {
        "buckets_meta": dict.fromkeys([ours, *odd, *strangers], meta),
        "bucket_versioning": {ours: "Enabled", **dict.fromkeys(odd, "Enabled")},
        "bucket_tags": {ours: {"gpupipe:stack": "demo-dev"}},
        "bucket_replication": {ours: {"Rule": {"Destination": {"Bucket": "arn:aws:s3:::/tmp/x"}}}},
        "bucket_notifications": {ours: "<NotificationConfiguration/>"},
    }
    payload = {name: {"__scoped__": True, "data": data} for name, data in scoped.items()}
    note.write_text(json.dumps({"__ministack_format__": 2, "payload": {**payload, "access_points": {"a": 1}}}))
    # when
    adopt(cloned.parents[1] / "gpupipe.toml", stack_id=STACK, region="us-east-1")
    # then
    kept = json.loads(note.read_text())["payload"]
    assert {name: section["data"] for name, section in kept.items()} == {
        "buckets_meta": {ours: {"created": "2026", "region": "us-east-1"}},
        "bucket_versioning": {ours: "Enabled"},
        "bucket_tags": {ours: {"gpupipe:stack": "demo-dev"}},
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"payload": 7}', '{"payload": {"bucket_tags": []}}', '{"a":' * 100_000]
)
def test_a_note_of_buckets_that_makes_no_sense_goes(cloned: Path, text: str) -> None:
    from gpupipe.local.adoption import adopt

    note = cloned / "ministack" / "state" / "s3.json"
    note.write_text(text)
    assert adopt(cloned.parents[1] / "gpupipe.toml", stack_id=STACK, region="us-east-1")
    assert not note.exists() or json.loads(note.read_text())["payload"]["bucket_tags"]["data"] == {}


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
@pytest.mark.parametrize("name", ["account.json", "ministack/state/s3.json", "start.lock", "owner.json"])
def test_what_is_no_file_is_neither_waited_for_nor_read(types: Types, cloned: Path, name: str, kind: str) -> None:
    file = cloned / name
    file.unlink(missing_ok=True)
    make = {"pipe": lambda: os.mkfifo(file), "link": lambda: file.symlink_to("/dev/zero"), "folder": file.mkdir}
    make[kind]()
    from gpupipe.local.adoption import adopt

    assert types("status").code == 1
    assert adopt(cloned.parents[1] / "gpupipe.toml", stack_id=STACK, region="us-east-1")
    assert types("down", "--forget", "--yes").code == 0


@pytest.mark.parametrize("locks", ["pipe", "link"])
def test_a_folder_with_nothing_but_a_lock_that_is_none_is_not_waited_for(
    types: Types, folder: Path, started: list[Any], locks: str
) -> None:
    (folder / "gpupipe.toml").write_text(CONFIG)
    lock = Folder.at(folder / "gpupipe.toml", STACK).path / "start.lock"
    lock.parent.mkdir(parents=True)
    os.mkfifo(lock) if locks == "pipe" else lock.symlink_to(folder / "outside")
    assert types("plan").code == 1
    assert started == []
    assert not (folder / "outside").exists()


def test_however_deep_it_is_it_can_be_adopted_and_forgotten(types: Types, cloned: Path) -> None:
    from gpupipe.local.adoption import adopt

    for place in (cloned, cloned / "ministack" / "s3" / "111111111111"):
        deep = str(place)
        for _ in range(1_200):
            deep = f"{deep}/d"
            os.mkdir(deep)
    assert adopt(cloned.parents[1] / "gpupipe.toml", stack_id=STACK, region="us-east-1")
    (cloned / ownership.OWNER_FILE).unlink()
    typed = types("down", "--forget", "--yes")
    assert typed.code == 0, typed
    assert not cloned.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"account_id": "../x"}', '{"account_id": 7}', '{"a":' * 100_000])
def test_an_account_that_makes_no_sense_is_a_new_one(cloned: Path, text: str) -> None:
    from gpupipe.local.adoption import adopt

    (cloned / "account.json").write_text(text)
    config = cloned.parents[1] / "gpupipe.toml"
    assert adopt(config, stack_id=STACK, region="us-east-1")
    assert Folder.of(config, STACK).account("us-east-1").account_id.isdecimal()


def test_a_link_is_not_adopted(types: Types, cloned: Path) -> None:
    cloned.rename(cloned.with_name("away"))
    cloned.symlink_to(cloned.with_name("away"))
    typed = types("up", "--yes", "--adopt")
    assert typed.code == 1
    assert "cannot be adopted" in typed.err
    assert not (cloned / ownership.OWNER_FILE).exists()


@pytest.mark.parametrize("url", ["http://169.254.169.254", "https://127.0.0.1", "http://127.0.0.1@evil.example", ""])
def test_an_address_elsewhere_is_never_asked(types: Types, cloned: Path, url: str) -> None:
    # given a folder of one's own into which somebody wrote
    ownership.claim(cloned)
    endpoint = json.loads((cloned / "endpoint.json").read_text())
    (cloned / "endpoint.json").write_text(json.dumps({**endpoint, "endpoints": {"default": url}}))
    folder = Folder.of(cloned.parents[1] / "gpupipe.toml", STACK)
    with pytest.raises(Exception, match="which is not on this machine"):
        folder.read_target()


def test_forgetting_and_keeping_data_exclude_each_other(types: Types, cloned: Path) -> None:
    typed = types("down", "--forget", "--keep-data", "--yes")
    assert typed.code == 2
    assert cloned.exists()


@pytest.mark.parametrize("option", [("up", "--adopt"), ("down", "--forget")])
def test_on_aws_there_is_no_such_folder(types: Types, folder: Path, option: tuple[str, ...]) -> None:
    (folder / "gpupipe.toml").write_text(CONFIG.replace('"local"', '"aws"'))
    typed = types(*option, "--yes")
    assert typed.code == 2
    assert f"`{option[1]}` is for the local target" in typed.err.replace("\n", " ")


def test_accounts_keep_their_key_with_another_number() -> None:
    account = Account.new("us-east-1")
    assert account.with_number("") == account
    assert account.with_number("2" * 12).secret_key == account.secret_key
