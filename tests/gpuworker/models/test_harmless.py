"""Weights of any form but the allowed ones, and folders of weights that hold more than data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpuworker.contract import ModelSource
from gpuworker.models import ModelError
from gpuworker.models.harmless import require_harmless
from gpuworker.models.opening import require_form

COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("weights", "revision"), [("", ""), ("/opt/weights", ""), ("~/weights", ""), ("facebook/sam3", COMMIT)]
)
def test_weights_of_the_allowed_forms_are_asked_for(weights: str, revision: str) -> None:
    require_form(ModelSource(weights=weights, revision=revision))


@pytest.mark.parametrize(
    ("weights", "revision"),
    [
        ("https://example.com/x.pt", ""),
        ("s3://other/weights", ""),
        ("file:///etc", ""),
        ("../weights", ""),
        ("weights", ""),
        ("facebook/sam3", ""),
        ("facebook/sam3", "main"),
        ("facebook/sam3", "../" * 10 + COMMIT),
        ("../../x", COMMIT),
        ("/opt/weights", COMMIT),
        ("https://example.com/x", COMMIT),
        ("", COMMIT),
    ],
)
def test_weights_of_any_other_form_are_not(weights: str, revision: str) -> None:
    with pytest.raises(ModelError, match="neither a hub's"):
        require_form(ModelSource(weights=weights, revision=revision))


HARMFUL: dict[str, tuple[str, Any]] = {
    "a pickle by the index": ("model.safetensors.index.json", {"weight_map": {"a": "pytorch_model.bin"}}),
    "a .pt by the index": ("model.safetensors.index.json", {"weight_map": {"a": "model.pt"}}),
    "another folder by the index": ("model.safetensors.index.json", {"weight_map": {"a": "../x.safetensors"}}),
    "an absolute path by the index": ("model.safetensors.index.json", {"weight_map": {"a": "/x.safetensors"}}),
    "no name by the index": ("model.safetensors.index.json", {"weight_map": {"a": ["model.safetensors"]}}),
    "an adapter": ("adapter_config.json", {"base_model_name_or_path": "evil/base"}),
    "code by auto_map": ("config.json", {"auto_map": {"AutoModel": "evil.Evil"}}),
    "code by auto_map, inside": ("config.json", {"vision_config": [{"auto_map": {"AutoConfig": "evil.Evil"}}]}),
    "code that is trusted": ("config.json", {"trust_remote_code": True}),
    "code of a tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}),
    "attention of a hub": ("config.json", {"attn_implementation": "evil/kernels"}),
    "attention of a hub, inside": ("config.json", {"text_config": {"_attn_implementation": {"": "evil/kernels@main"}}}),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_weights_that_would_run_code_or_lie_elsewhere_are_refused(tmp_path: Path, kind: str) -> None:
    name, document = HARMFUL[kind]
    (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(ModelError, match=name):
        require_harmless(tmp_path)


def test_a_plain_folder_of_weights_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "sam3", "auto_map": null, "attn_implementation": "sdpa"}')
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-2.safetensors"}}')
    (tmp_path / "tokenizer.json").write_text("[" * 50_000)
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle beside them, which nobody opens")
    require_harmless(tmp_path)
