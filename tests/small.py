"""Small models with no weight at its neutral start, padded batches, and closeness: what several tests share."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clearhead.decode.rows import Begin, NgramRowsDecoding, RNNRowsDecoding, RowsDecoding
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.ngram import Ngram, NgramConfig
from clearhead.models.rnn import RNNConfig, RNNLanguageModel
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.layer import BlockConfig

VOCAB = 13
SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_encoder_layers": 2, "n_decoder_layers": 2}


def shake(model: nn.Module) -> nn.Module:
    """Moves gammas, betas, biases and running statistics off 1 and 0, where a wrong one would not be seen."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.ndim == 1 and name.split(".")[-1] in ("weight", "bias", "running_mean", "running_var"):
            tensor.data += 0.3 * torch.rand_like(tensor)
    return model


def small(*, vocab_size: int = VOCAB, seed: int = 0, block: BlockConfig | None = None, **sizes: Any) -> Transformer:
    """Returns a shaken random model in evaluation mode."""
    torch.manual_seed(seed)
    config = TransformerConfig(**{**SIZES, "max_seq_len": 64, "dropout": 0.0, **sizes}, block=block or BlockConfig())
    model = Transformer(config, src_vocab_size=vocab_size, vocab_size=vocab_size)
    shake(model)
    return model.eval()


def small_gpt(*, vocab_size: int = VOCAB, seed: int = 0, **sizes: Any) -> GPT:
    """Returns a random language model in evaluation mode, far from uniform."""
    torch.manual_seed(seed)
    plain = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 2, "max_seq_len": 16, "dropout": 0.0, "tie": False}
    model = GPT(GPTConfig(**{**plain, **sizes}), vocab_size=vocab_size)
    for weight in model.parameters():
        weight.data *= 8.0
    return model.eval()


def small_rnn(*, vocab_size: int = VOCAB, seed: int = 0, **sizes: Any) -> RNNLanguageModel:
    """Returns the same of a recurrent one; its longest call is of 5 pieces."""
    torch.manual_seed(seed)
    plain = {"d_model": 12, "n_layers": 2, "max_seq_len": 5, "dropout": 0.0, "tie": False}
    model = RNNLanguageModel(RNNConfig(**{**plain, **sizes}), vocab_size=vocab_size)
    for weight in model.parameters():
        weight.data *= 2.0
    model.lm_head.weight.data *= 8.0
    return model.eval()


def small_ngram(*, vocab_size: int = VOCAB, seed: int = 0, order: int = 3) -> Ngram:
    """Returns n-grams of a random walk, so that the piece before tells much of the next."""
    steps = np.random.default_rng(seed).geometric(0.5, 400)
    return Ngram.train(np.cumsum(steps) % vocab_size, NgramConfig(order), vocab_size=vocab_size)


def begin_of(model: GPT | RNNLanguageModel | Ngram) -> Begin:
    """Returns what starts texts of a model."""
    match model:
        case GPT():
            return partial(RowsDecoding, model)
        case RNNLanguageModel():
            return partial(RNNRowsDecoding, model)
        case Ngram():
            return partial(NgramRowsDecoding, model)


def padded(rows: list[list[int]], side: str = "right", extra: int = 0) -> tuple[Tensor, Tensor]:
    """Returns ids and mask [batch, longest + extra] with the rows' padding on one side."""
    width = max(map(len, rows)) + extra
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.bool)
    for row, content in enumerate(rows):
        place = slice(0, len(content)) if side == "right" else slice(width - len(content), width)
        ids[row, place], mask[row, place] = torch.tensor(content), True
    return ids, mask


def random_rows(lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Returns rows of real pieces."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(4, VOCAB, (length,), generator=draw).tolist() for length in lengths]


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The largest difference is at most ``tolerance`` of the largest expected value (or of 1)."""
    scale = max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale)
