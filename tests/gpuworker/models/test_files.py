import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuworker.models.files import ModelFile, from_manifest, is_taken, to_manifest

NAMES = st.from_regex(r"[a-z0-9_]{1,20}(\.safetensors|\.json)", fullmatch=True)
FILES = st.lists(
    st.builds(ModelFile, path=NAMES, size=st.integers(0, 2**40), sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
    min_size=1,
    unique_by=lambda one: one.path,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["version", "files", "path", "size", "sha256"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(FILES)
def test_a_manifest_is_read_as_it_was_written_in_whatever_order(files: list[ModelFile]) -> None:
    assert set(from_manifest(to_manifest(files)) or ()) == set(files)
    assert to_manifest(files[::-1]) == to_manifest(files)


@given(JSON)
def test_what_is_no_manifest_is_none(document: Any) -> None:
    found = from_manifest(json.dumps(document).encode())
    assert found is None or all(is_taken(one.path) for one in found)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b'{"version": 2, "files": []}'])
def test_what_was_cut_off_is_none(data: bytes) -> None:
    assert from_manifest(data) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("vocab.json", True),
        ("merges.txt", True),
        ("tokenizer.model", True),
        ("pytorch_model.bin", False),
        ("sam3.pt", False),
        ("modeling_trees.py", False),
        ("README.md", False),
        ("onnx/config.json", False),
        ("../config.json", False),
        ("/etc/x.json", False),
        (".hidden.json", False),
        ("a\nb.json", False),
        ("", False),
    ],
)
def test_only_what_cannot_run_code_and_lies_at_the_top_is_taken(path: str, expected: bool) -> None:
    assert is_taken(path) is expected


def test_a_file_is_known_by_either_checksum(tmp_path: Path) -> None:
    # given
    data = b'{"a": 1}'
    (tmp_path / "config.json").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    git = hashlib.sha1(b"blob 8\0" + data, usedforsecurity=False).hexdigest()
    by_sha256 = ModelFile(path="config.json", size=8, sha256=sha256)
    by_git = ModelFile(path="config.json", size=8, sha256="", git_sha1=git)
    # then
    assert by_git.verified(tmp_path) == by_sha256.verified(tmp_path) == by_sha256
    (tmp_path / "config.json").write_bytes(b'{"a": 2}')
    assert by_git.verified(tmp_path) is by_sha256.verified(tmp_path) is None
    assert by_sha256.is_at(tmp_path), "of its size it still is"
    assert ModelFile(path="gone.json", size=8, sha256=sha256).verified(tmp_path) is None
