"""Prompts as tokens: 32 of them, ended, lowercase, encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gpuworker.engines.sam3.text import Texts
from gpuworker.engines.sam3.weights import load_model, load_tokenizer


class Encoder:
    """Gives back the tokens it was asked to encode, and remembers in which batches."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        self.batches.append(len(input_ids))
        return type("Output", (), {"pooler_output": input_ids})


@pytest.fixture(scope="module")
def tokenizer(weights: Path) -> Any:
    return load_tokenizer(weights, words=600)


def tokens(tokenizer: Any, prompt: str) -> list[str]:
    encoded = Texts(Encoder(), tokenizer).encoded([prompt])
    assert encoded.features.shape == encoded.mask.shape == (1, 32)
    count = int(encoded.mask.sum())
    assert encoded.mask[0].tolist() == [1] * count + [0] * (32 - count)
    return list(tokenizer.convert_ids_to_tokens(encoded.features[0, :count].tolist()))


def test_a_prompt_is_begun_and_ended_and_words_are_their_longest_pieces(tokenizer: Any) -> None:
    assert tokens(tokenizer, "tree car") == ["<|startoftext|>", "tree</w>", "car</w>", "<|endoftext|>"]


@pytest.mark.parametrize("same", ["Tree", "TREE", "  tree ", "tree\n"])
def test_case_and_space_do_not_matter(tokenizer: Any, same: str) -> None:
    assert tokens(tokenizer, same) == tokens(tokenizer, "tree")


def test_what_is_too_long_is_cut_and_still_ended(tokenizer: Any) -> None:
    assert tokens(tokenizer, "tree " * 50) == ["<|startoftext|>", *["tree</w>"] * 30, "<|endoftext|>"]


def test_any_letters_at_all_are_tokens(tokenizer: Any) -> None:
    assert "<|endoftext|>" not in tokens(tokenizer, "Bäume 木 🌳")[:-1]


def test_each_prompt_is_encoded_once_and_new_ones_together(tokenizer: Any) -> None:
    encoder = Encoder()
    texts = Texts(encoder, tokenizer)
    first = texts.encoded(["a", "b", "a"])
    again = texts.encoded(["b", "c", "a"])
    assert encoder.batches == [2, 1]
    assert torch.equal(first.features[[1, 0]], again.features[[0, 2]])
    assert torch.equal(first.features[0], first.features[2])


def test_a_prompt_is_encoded_the_same_whatever_is_encoded_with_it(weights: Path, tokenizer: Any) -> None:
    model = load_model(weights, device="cpu", dtype=torch.float32)
    with torch.inference_mode():
        alone = Texts(model, tokenizer).encoded(["tree"])
        among = Texts(model, tokenizer).encoded(["a much longer prompt", "tree"])
    assert torch.allclose(alone.features[0][:3], among.features[1][:3], atol=1e-5)


def test_prompts_of_many_jobs_do_not_pile_up(tokenizer: Any) -> None:
    encoder = Encoder()
    texts = Texts(encoder, tokenizer, at_most=3)
    texts.encoded(["a", "b", "c"])
    texts.encoded(["a"])
    texts.encoded(["d"])
    texts.encoded(["a", "c", "d"])
    assert encoder.batches == [3, 1], "the one that was not asked for the longest has gone"
    texts.encoded(["b"])
    assert encoder.batches == [3, 1, 1]
