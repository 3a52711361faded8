"""A module of one's own in a recipe's run: each feed-forward network of a GPT becomes a mixture of two experts.

    python examples/own_module.py

All the rest is as the recipe says. ``open_run`` prepares a run as ``clearhead.train`` does, for its model to change.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from clearhead import GenerationConfig, LanguageModel
from clearhead.data.demo_corpus import demo_pairs
from clearhead.nn.mlp import build_mlp
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.recipe import build_language_model
from clearhead.training.job import fresh_state
from clearhead.types import GPT, SavedRun
from clearhead.verbs.train import open_run, train_run

RECIPE = ["tokenizer.kind=wordpiece", "data.separator=line", "model.d_model=64", "model.d_ff=64", "model.n_layers=2"]
RECIPE += ["model.max_seq_len=24", "optim.ema_decay=0.9", "train.batch_tokens=768", "train.lr=0.01"]


class Experts(nn.Module):
    """Two feed-forward networks; a gate says for each piece how much of either it gets (after Jacobs et al. 1991)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, 1)
        self.first, self.second = build_mlp("relu", d_model, d_ff), build_mlp("relu", d_model, d_ff)

    def forward(self, x: Tensor) -> Tensor:
        """Maps states [batch, seq, d_model], each position for itself."""
        share = self.gate(x).sigmoid()
        return share * self.first(x) + (1 - share) * self.second(x)


def with_experts(model: nn.Module) -> GPT:
    """Puts experts in place of the feed-forward network of each layer."""
    assert isinstance(model, GPT)
    for layer in model.layers:
        layer.mlp = Experts(model.config.d_model, model.config.d_ff)
    return model


def main(folder: Path, steps: int = 120) -> None:
    """Trains in ``folder``, loads the run again, writes a sentence, and says which words each expert took."""
    (folder / "text.txt").write_text("\n".join(english for _, english in demo_pairs(4000, seed=0)), encoding="utf-8")
    recipe = [*RECIPE, f"train.max_steps={steps}", f"train.warmup_steps={steps // 10 or 1}"]
    with open_run("gpt-char-cpu", folder / "text.txt", folder / "run", overrides=recipe) as opened:
        job = opened.job
        assert isinstance(job, LanguageModelJob)
        # a new state, since optimizer and moving average belong to the parameters that the model had before
        job = replace(job, state=fresh_state(with_experts(job.model), job.recipe))
        job.arrange()
        result = train_run(job, opened.path)
    print(f"{job.parameters:,} parameters, {result.scores['loss']:.2f} nats a piece on the valid split")

    model = with_experts(build_language_model(job.recipe, job.parts.sizes))
    SavedRun.open(result.run).load_into(model)
    writer = LanguageModel(job.recipe, job.parts.tokenizer, model.eval(), torch.device("cpu"))

    text, shares = "My mother bought a new book yesterday.", list[Tensor]()
    *_, last = (module for module in model.modules() if isinstance(module, Experts))
    last.gate.register_forward_hook(lambda gate, args, output: shares.append(output.sigmoid().flatten()))
    writer.log_probs(text)
    written = writer.generate("He", GenerationConfig(max_new=16)).text
    print(f"He{written}\n\nshare of the first expert of the last layer")
    pieces = ["<s>", *writer.tokenizer.pieces(writer.tokenizer.encode(text))]
    for piece, share in zip(pieces[:-1], shares[0].tolist(), strict=True):
        print(f"{piece:>12} {share:4.0%} {'#' * round(40 * share)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
