"""A folder of weights -> the model, ready to run; never a byte of anybody's code, never a question to a hub."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model, Sam3ViTLayer
from transformers.utils import logging

from gpuworker.engines.sam3.geometry import use_own_roi_align
from gpuworker.models import ModelError
from gpuworker.models.harmless import require_harmless

_KINDS = ("sam3", "sam3_video")
"""The second one is the published form: the detector, and a tracker for video that is left alone."""
_LETTERS = 256
_EDGE_BYTES = 1 << 20


def load_model(folder: Path, *, device: str, dtype: torch.dtype) -> Any:
    """The model in evaluation mode on `device`. Raises ModelError where the folder does not hold a whole SAM3."""
    _require_config(folder)
    require_harmless(folder)
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # the published weights hold a tracker of video besides, which is no news
    try:
        model, loading = Sam3Model.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except MemoryError:
        raise
    except Exception as error:  # a dozen kinds, of three libraries, for what may be wrong with config and weights
        raise ModelError(f"could not load SAM3 from {folder.name}: {type(error).__name__}: {error}") from error
    # transformers fills what is missing with random numbers and goes on.
    lacking = [*loading["missing_keys"], *(str(name) for name, *_ in loading["mismatched_keys"])]
    if lacking:
        count, first = len(lacking), lacking[0]
        raise ModelError(f"{folder.name} does not hold a whole SAM3: it lacks {count} weights, {first} among them")
    use_own_roi_align(model)
    _keep_places_exact(model)
    _know_the_grid(model)
    return model.eval().requires_grad_(False).to(device)


def _require_config(folder: Path) -> None:
    """Or transformers would make a whole SAM3 of random numbers for another model's config."""
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"could not read config.json of the weights in {folder.name}: {error}") from error
    if kind not in _KINDS:
        raise ModelError(f"{folder.name} does not hold SAM3 but {kind!r}, by its config.json")


def _keep_places_exact(model: Any) -> None:
    """Rotary positions in float32: loaded in bfloat16, places of the 72×72 patches are off by up to 1/23 of a patch."""
    for module in model.modules():
        if isinstance(module, Sam3ViTLayer):
            module.position_ids = module.precompute_positions(module.config, module.window_size).float()


def _know_the_grid(model: Any) -> None:
    """The decoder's own grid of places, for the one size of pictures there is.

    transformers keeps the grid's size on the device and asks for it twice a layer: the processor would wait twelve
    times a batch, under the lock, for all that it has given to the GPU.
    """
    vision = model.config.vision_config.backbone_config
    side = vision.image_size // vision.patch_size

    @functools.cache
    def places(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.arange(side, dtype=dtype, device=device) / side

    def coordinates(
        height: torch.Tensor, width: torch.Tensor, dtype: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return places(dtype, device), places(dtype, device)

    model.detr_decoder._get_coords = coordinates


def load_tokenizer(folder: Path, *, words: int) -> Any:
    """CLIP's byte-level tokenizer, which lowercases, of at most so many `words` as the text encoder knows.

    Raises ModelError where the folder has none.
    """
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise ModelError(f"could not load the tokenizer of SAM3 from {folder.name}: {problem}") from error
    # transformers makes one of three words where the files are missing: every prompt would mean the same.
    if not _LETTERS < len(tokenizer) <= words:
        count = len(tokenizer)
        raise ModelError(f"the tokenizer of SAM3 from {folder.name} knows {count:,} words, its text encoder {words:,}")
    return tokenizer


def identity(folder: Path) -> str:
    """Twelve hexadecimal digits that name these weights wherever they lie.

    Of each file's size and first and last megabyte: reading all of several gigabytes would take as long as loading.
    """
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()[:12]
