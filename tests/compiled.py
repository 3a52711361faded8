"""What compiling does to models of each family, in a process of its own, where no annotation is checked at run time.

The checks of shapes wrap every method, and the compiler does not look through so many wrappers.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.data.masked import MaskedBatch
from clearhead.data.stream import StreamBatch
from clearhead.data.translation import collate
from clearhead.loss import LossConfig
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.nn.dropout import Dropout
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.tasks.language_model.recipe import language_model_loss
from clearhead.tasks.masked.recipe import masked_loss
from clearhead.tasks.translation.recipe import translation_loss
from clearhead.training.arrangement import arrange, layers_of
from clearhead.training.config import MachineConfig
from clearhead.training.distributed import Engine, LossModule
from clearhead.training.generators import seed_generators
from clearhead.training.precision import Precision, PrecisionName
from clearhead.training.step import train_step
from tests.limits import HANGS
from tests.small import VOCAB, random_rows, small, small_gpt

FAMILIES = ("translation", "language_model", "masked")
BERT: dict[str, Any] = {"d_model": 32, "d_ff": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 16}
LOSS = LossConfig(label_smoothing=0.1, z_loss=1e-3, chunk_size=16)
Loss = Callable[[Any], tuple[Tensor, int]]


def family(
    name: str, *, dropout: float = 0.0, device: str = "cpu", rows: int = 4, length: int = 12, layers: int = 2
) -> tuple[nn.Module, Any, Loss]:
    """Returns a model in training, a batch with padding, and its loss on it; the same on any device."""
    torch.manual_seed(0)
    model: Any
    batch: Any
    loss: Any
    lengths = [length - row % 3 for row in range(rows)]
    if name == "translation":
        sizes = {"d_model": 32, "d_ff": 48, "n_encoder_layers": layers, "n_decoder_layers": layers}
        model, loss = small(**sizes, dropout=dropout), translation_loss
        batch = collate(random_rows(lengths, seed=1), random_rows(lengths[::-1], seed=2))
    elif name == "language_model":
        model = small_gpt(d_model=32, d_ff=48, dropout=dropout, tie=True, n_layers=layers)
        for weight in model.parameters():
            weight.data /= 8  # as a model begins, whose gradients float16 holds
        text = torch.randint(1, VOCAB, (rows, length + 1))
        targets = text[:, 1:].clone()
        targets[-1, length // 2 :] = -100
        batch, loss = StreamBatch(text[:, :-1], targets, int((targets != -100).sum())), language_model_loss
    else:
        sizes = {**BERT, "n_layers": layers}
        model, loss = BertPretraining(BertConfig(**sizes, dropout=dropout), vocab_size=VOCAB, pad_id=0), masked_loss
        model.bert.layers.apply(lambda part: setattr(part, "p", dropout) if isinstance(part, Dropout) else None)
        ids, places = torch.randint(7, VOCAB, (rows, length)), torch.arange(1, rows * length, 7)
        mask = torch.arange(length) < torch.tensor(lengths)[:, None]
        segments = (torch.arange(length) > length // 2).long().expand(rows, length).contiguous()
        found = ids.flatten()[places]
        batch = MaskedBatch(ids, segments, mask, places, found, torch.arange(rows) % 2, len(places))
    model = model.to(device).train()
    return model, batch.to(device), lambda one: loss(model, one, LOSS)


def graphs(name: str) -> list[int]:
    """Returns how many graphs ten layers of each kind are after each of some batches; a break in one is an error."""
    count, counts = [0], []

    def counting(graph: Any, examples: Any) -> Any:
        count[0] += 1
        return graph.forward

    model, _, _ = family(name, layers=10)
    own: Any = {"translation": translation_loss, "language_model": language_model_loss, "masked": masked_loss}[name]
    for layer in layers_of(model):
        layer.compile(backend=counting, fullgraph=True)
    for rows, length in [(6, 12), (6, 12), (5, 12), (7, 9), (9, 10)]:
        _, batch, _ = family(name, rows=rows, length=length)
        own(model, batch, LOSS)[0].backward()
        counts.append(count[0])
    return counts


def steps(name: str, device: str, precision: PrecisionName) -> list[list[tuple[float, float]]]:
    """Returns loss and gradient norm of two steps: plain, compiled, and twice compiled with dropout."""

    def taken(*, compiled: bool, dropout: float) -> list[tuple[float, float]]:
        model, batch, loss = family(name, device=device, dropout=dropout)
        inside = arrange(model, MachineConfig(compile=True)) if compiled else LossModule(model)
        step = partial(train_step, model, [batch, batch], loss, build_optimizers(model, OptimConfig(eps=1e-6), 1e-3))
        found = []
        for number in range(2):
            seed_generators(number)
            outcome = step(grad_clip_norm=1.0, precision=Precision(precision, device), engine=Engine(inside))
            found.append((outcome.loss, outcome.grad_norm))
        return found

    return [taken(compiled=compiled, dropout=0.0) for compiled in (False, True)] + [
        taken(compiled=True, dropout=0.2) for _ in range(2)
    ]


def told(*words: str) -> Any:
    """Runs a function of this module in a process of its own and returns what it does."""
    command = [sys.executable, "-m", "tests.compiled", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    sys.stdout.write(json.dumps({"graphs": graphs, "steps": steps}[what](*rest)) + "\n")  # type: ignore[operator]
