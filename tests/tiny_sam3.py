"""A SAM3 of 200,000 random weights with its tokenizer, written as a folder of weights: real arithmetic, no meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_WIDTH = 32
_SCORE_SHIFT = -1.0
_MERGES = (("t", "r"), ("e", "e</w>"), ("tr", "ee</w>"), ("c", "a"), ("ca", "r</w>"))
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"


def write_tiny_sam3(folder: Path, *, seed: int = 0, queries: int = 20, as_published: bool = False) -> Path:
    """Write config.json, model.safetensors and the tokenizer's files into `folder`, the same bytes for the same seed.

    Takes 1008×1008 pixels and gives masks of 288×288, like the real one. A few queries of nearly every picture score
    above 0.4, and which ones depends on picture and prompt. `as_published`: named as in the published checkpoint,
    which holds the detector besides a tracker of video.
    """
    from transformers.models.sam3.modeling_sam3 import Sam3Model

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    model = Sam3Model(_config(queries, vocabulary)).eval()
    _draw_weights(model, seed)
    model.save_pretrained(folder)
    if as_published:
        _rename(folder)
    return folder


def _config(queries: int, vocabulary: dict[str, int]) -> Any:
    from transformers.models.sam3.configuration_sam3 import Sam3Config

    layers: dict[str, Any] = {"hidden_size": _WIDTH, "num_attention_heads": 2, "intermediate_size": 64}
    backbone = {"model_type": "sam3_vit_model", "num_hidden_layers": 2, "global_attn_indexes": [1], "image_size": 1008}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": len(vocabulary),
        "projection_dim": 16,
        "num_hidden_layers": 1,
        "max_position_embeddings": 32,
        "bos_token_id": vocabulary[_BEGIN],
        "eos_token_id": vocabulary[_END],
        "pad_token_id": vocabulary[_END],
    }
    return Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": _WIDTH,
            "backbone_config": layers | backbone,
        },
        text_config=layers | text,
        geometry_encoder_config=layers | {"num_layers": 1},
        detr_encoder_config=layers | {"num_layers": 1},
        detr_decoder_config=layers | {"num_layers": 2, "num_queries": queries},
        mask_decoder_config={"hidden_size": _WIDTH, "num_attention_heads": 2},
    )


def _draw_weights(model: Any, seed: int) -> None:
    """Variance kept from layer to layer, so that answers depend on picture and prompt; numpy's draws never change."""
    import torch

    drawn = np.random.default_rng(seed)
    with torch.no_grad():
        for name, weights in sorted(model.named_parameters()):
            if "norm" in name or name.endswith("bias"):
                continue
            fan_in = weights[0].numel() if weights.dim() > 1 and "embed" not in name else 1
            values = drawn.standard_normal(tuple(weights.shape), dtype=np.float32) / np.sqrt(fan_in)
            weights.copy_(torch.from_numpy(values))
        _spread_answers(model)


def _spread_answers(model: Any) -> None:
    """Without this all queries would answer alike, and with masks of single pixels: the scales below were tried out."""
    scoring, decoder = model.dot_product_scoring, model.detr_decoder
    decoder.presence_head.layer3.bias.fill_(6.0)
    decoder.query_embed.weight.mul_(4)
    for name, weights in decoder.layers.named_parameters():
        if name.endswith(("o_proj.weight", "fc2.weight")):
            weights.mul_(0.3)
    scoring.query_proj.weight.mul_(2)
    # One channel of the dot product is a constant that lowers every score.
    for projection, constant in ((scoring.text_proj, 1.0), (scoring.query_proj, _SCORE_SHIFT / scoring.scale)):
        projection.weight[0] = 0
        projection.bias[0] = constant
    model.mask_decoder.mask_embedder.layers[-1].weight.mul_(0.02)
    for fine in model.vision_encoder.neck.fpn_layers[:2]:
        fine.proj2.weight.mul_(0.1)


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """CLIP's byte-level tokenizer with five merges, so that `tree` and `car` are one token each."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in _MERGES), _BEGIN, _END]
    vocabulary = {word: number for number, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=list(_MERGES), model_max_length=32).save_pretrained(folder)
    return vocabulary


def _rename(folder: Path) -> None:
    """Weights below `detector_model.` beside a tracker's, and a config that holds the detector's."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    published = {f"detector_model.{name}": values for name, values in weights.items()}
    published["tracker_model.mask_decoder.iou_token.weight"] = torch.zeros(1, 4)
    save_file(published, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    video = {"architectures": ["Sam3VideoModel"], "detector_config": config, "model_type": "sam3_video"}
    (folder / "config.json").write_text(json.dumps(video, indent=2, sort_keys=True))
