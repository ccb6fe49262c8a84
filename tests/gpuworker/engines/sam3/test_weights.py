"""A folder of weights: loaded whole or refused, in any of the forms it is published in, without asking anybody."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_sam3 import write_tiny_sam3

from gpuworker.engines import make_engine
from gpuworker.engines.sam3.weights import identity, load_model, load_tokenizer
from gpuworker.models import ModelError


class Touching:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    model = load_model(folder, device="cpu", dtype=dtype)
    assert isinstance(model, torch.nn.Module)
    return model


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights, tmp_path / "copy"))


class TestWhole:
    def test_the_published_form_holds_the_same_detector(self, weights: Path, tmp_path: Path) -> None:
        published = write_tiny_sam3(tmp_path, as_published=True)
        plain, detector = load(weights).state_dict(), load(published).state_dict()
        assert plain.keys() == detector.keys()
        assert all(torch.equal(values, detector[name]) for name, values in plain.items())

    def test_it_is_ready_to_run_and_not_to_train(self, weights: Path) -> None:
        model = load(weights, torch.bfloat16)
        assert not any(module.training for module in model.modules())
        assert not any(values.requires_grad for values in model.parameters())
        assert {values.dtype for values in model.parameters()} == {torch.bfloat16}

    def test_positions_stay_exact_in_fast_numbers(self, weights: Path) -> None:
        exact, fast = (dict(load(weights, kind).named_buffers()) for kind in (torch.float32, torch.bfloat16))
        places = [name for name in exact if name.endswith(("position_ids", "inv_freq"))]
        assert len(places) >= 4
        assert all(torch.equal(exact[name], fast[name]) for name in places)

    def test_nobody_is_asked(self, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object, **__: object) -> None:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket.socket, "connect", refused)
        monkeypatch.setattr(socket, "getaddrinfo", refused)
        load(weights)
        load_tokenizer(weights, words=600)


class TestRefused:
    def test_weights_that_lack_a_part_are_not_filled_with_random_numbers(self, copy: Path) -> None:
        values = load_file(copy / "model.safetensors")
        lost = [name for name in values if name.startswith("mask_decoder.")]
        save_file(
            {name: values[name] for name in values if name not in lost}, copy / "model.safetensors", {"format": "pt"}
        )
        with pytest.raises(ModelError, match=rf"lacks {len(lost)} weights, mask_decoder\."):
            load(copy)

    def test_weights_of_another_shape(self, copy: Path) -> None:
        values = load_file(copy / "model.safetensors")
        values["text_projection.weight"] = torch.zeros(3, 3)
        save_file(values, copy / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match="SAM3 from copy"):
            load(copy)

    def test_a_pickle_is_not_opened(self, copy: Path) -> None:
        torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
        (copy / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="safetensors"):
            load(copy)

    @pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt"])
    def test_code_in_weights_is_never_run(self, copy: Path, tmp_path: Path, name: str) -> None:
        # given a pickle, renamed or named by the index
        (copy / "model.safetensors").unlink()
        (copy / name).write_bytes(pickle.dumps(Touching(tmp_path / "it ran")))
        index = {"metadata": {}, "weight_map": {"text_projection.weight": name}}
        (copy / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ModelError, match="copy"):
            load(copy)
        assert not (tmp_path / "it ran").exists()

    def test_code_beside_weights_is_never_run(self, copy: Path, tmp_path: Path) -> None:
        (copy / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'it ran')!r}).touch()\n")
        config = json.loads((copy / "config.json").read_text())
        config |= {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"config\.json.*wants code to be run \(auto_map\)"):
            load(copy)
        assert not (tmp_path / "it ran").exists()

    def test_weights_that_are_cut_short(self, copy: Path) -> None:
        whole = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ModelError, match="SAM3 from copy"):
            load(copy)

    @pytest.mark.parametrize("text", ["", "{", '{"model_type": "bert"}', '{"model_type": "sam3", "vision_config": 3}'])
    def test_a_config_of_nothing_or_of_something_else(self, copy: Path, text: str) -> None:
        (copy / "config.json").write_text(text)
        with pytest.raises(ModelError, match="copy"):
            load(copy)

    def test_no_tokenizer(self, copy: Path) -> None:
        for path in copy.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(ModelError, match="tokenizer of SAM3 from copy"):
            load_tokenizer(copy, words=600)

    def test_a_tokenizer_with_words_that_the_text_encoder_does_not_know(self, copy: Path) -> None:
        with pytest.raises(ModelError, match="knows 519 words, its text encoder 518"):
            load_tokenizer(copy, words=518)

    def test_without_torch_the_engine_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.startswith("gpuworker.engines.sam3")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(ModelError, match=r"sam3 needs torch.*gpupipe-aws\[worker\]"):
            make_engine("sam3")


class TestIdentity:
    def test_it_depends_on_the_weights_and_not_on_where_they_lie(self, weights: Path, copy: Path) -> None:
        assert identity(weights) == identity(copy)
        changed = bytearray((copy / "model.safetensors").read_bytes())
        changed[-1] ^= 1
        (copy / "model.safetensors").write_bytes(changed)
        assert identity(weights) != identity(copy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_decoders_grid_is_known_without_asking_the_device(weights: Path, dtype: torch.dtype) -> None:
    decoder = load(weights).get_submodule("detr_decoder")
    size, device = torch.tensor(72), torch.device("cpu")
    usual = type(decoder)._get_coords(decoder, size, size, dtype=dtype, device=device)
    unread = torch.empty((), dtype=torch.long, device="meta")  # whose value nobody can read
    known = decoder._get_coords(unread, unread, dtype=dtype, device=device)
    assert all(torch.equal(one, other) for one, other in zip(known, usual, strict=True))
