"""Questions with numbers drawn anew, whose answers are measured: nothing can be learnt by heart.

Each function below makes a question from a random generator. It measures the answer, on PyTorch or on clearhead's own
modules, and puts wrong ones beside it that a usual mistake would give. Words are in ``words/quiz.toml``.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.errors import UsageError, nearest
from clearhead.lessons.catalog import THEMES
from clearhead.lessons.lesson import Language, read_words
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.cache import KVCache
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig


@dataclass(frozen=True)
class Question:
    """A question with several answers."""

    kind: str
    """Which function made it."""
    values: dict[str, str]
    """The numbers and words that it names."""
    choices: list[str]
    """Answers; what begins with ``@`` is a key of the words."""
    right: int
    """Number of the right one in ``choices``."""

    def text(self, language: Language) -> str:
        """Returns the question."""
        return str(words(language)[self.kind]["question"]).format(**self.values)

    def why(self, language: Language) -> str:
        """Returns the reason of the right answer."""
        return str(words(language)[self.kind]["why"]).format(**self.values)

    def shown(self, language: Language) -> list[str]:
        """Returns the answers in a language."""
        answers = words(language)["answers"]
        return [answers[choice[1:]] if choice.startswith("@") else choice for choice in self.choices]


def words(language: Language) -> dict[str, Any]:
    """Returns the words of all questions in a language."""
    table: dict[str, Any] = read_words("quiz")[language]
    return table


def mixed(
    kind: str, values: Mapping[str, object], right: object, wrong: Sequence[object], rng: random.Random
) -> Question:
    """Puts the right answer at a random place among the wrong ones; of equal answers one is kept."""
    others = [str(each) for each in dict.fromkeys(map(str, wrong)) if str(each) != str(right)]
    rng.shuffle(others)
    choices = [str(right), *others[:3]]
    rng.shuffle(choices)
    return Question(kind, {name: str(value) for name, value in values.items()}, choices, choices.index(str(right)))


def cache_bytes(rng: random.Random) -> Question:
    """Bytes that a step of writing adds to the K-V cache of a GPT with grouped queries."""
    heads, head_dim, layers = rng.choice([4, 8]), rng.choice([8, 16]), rng.randint(1, 4)
    kv_heads = rng.choice([kv for kv in (1, 2, 4) if kv < heads])
    d_model = heads * head_dim
    config = GPTConfig(
        d_model=d_model, d_ff=d_model, n_heads=heads, n_kv_heads=kv_heads, n_layers=layers, max_seq_len=8
    )
    model, like = GPT(config, vocab_size=11).eval(), torch.zeros(1)
    cache = KVCache(n_layers=layers, rows=1, kv_heads=kv_heads, head_dim=head_dim, capacity=8, like=like)
    with torch.no_grad():
        model(torch.arange(3)[None], cache=cache)
        read = cache.bytes_read()
        model(torch.arange(1)[None], cache=cache)
    step = cache.bytes_read() - read  # what the step of one piece has added
    values = {"layers": layers, "d_model": d_model, "heads": heads, "kv_heads": kv_heads}
    wrong: list[object] = [layers * 2 * d_model * 4, step // 2, step // layers if layers > 1 else step * 2, step * 4]
    return mixed("cache_bytes", values, step, wrong, rng)


def which_copies(rng: random.Random) -> Question:
    """Which of four calls copies its numbers."""
    rows, columns = rng.sample(range(2, 7), 2)
    x = torch.arange(rows * columns * 2).view(rows, columns, 2)
    calls: dict[str, Tensor] = {
        "x.permute(2, 0, 1)": x.permute(2, 0, 1),
        "x.transpose(0, 1)": x.transpose(0, 1),
        f"x.view({rows * columns}, 2)": x.view(rows * columns, 2),
        "x[:, ::2]": x[:, ::2],
        "x.expand(3, -1, -1, -1)": x.expand(3, -1, -1, -1),
        "x.transpose(0, 1).reshape(-1)": x.transpose(0, 1).reshape(-1),
        "x.permute(2, 0, 1).contiguous()": x.permute(2, 0, 1).contiguous(),
        f"x[[0, {rows - 1}]]": x[[0, rows - 1]],
    }
    home = x.untyped_storage().data_ptr()
    copies = [call for call, result in calls.items() if result.untyped_storage().data_ptr() != home]
    right = rng.choice(copies)
    wrong: list[object] = [call for call in calls if call not in copies]
    return mixed("which_copies", {"shape": f"{rows}, {columns}, 2"}, right, wrong, rng)


def what_moves(rng: random.Random) -> Question:
    """What of a small model changes at ``optimizer.step()`` or in a forward pass."""
    in_forward = rng.random() < 0.5
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = {"0.weight": "@weight", "1.weight": "@gamma", "1.running_mean": "@running_mean", "1.bias": "@beta"}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = model(torch.randn(8, 4)).pow(3).sum()
    if not in_forward:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        loss.backward()
        optimizer.step()
    after = model.state_dict()
    moved = [key for name, key in names.items() if not torch.equal(before[name], after[name])]
    still: list[object] = [key for key in names.values() if key not in moved]
    kind = "moves_forward" if in_forward else "moves_step"
    if in_forward:
        return mixed(kind, {}, moved[0], still, rng)
    return mixed(kind, {}, still[0], [*moved], rng)  # asked is what does not move


def which_hook(rng: random.Random) -> Question:
    """Which kind of hook fires right behind another."""
    layer, fired = nn.Linear(2, 2), list[str]()
    layer.register_forward_pre_hook(lambda *_: fired.append("forward_pre_hook"))
    layer.register_forward_hook(lambda *_: fired.append("forward_hook"))
    layer.register_full_backward_pre_hook(lambda *_: fired.append("full_backward_pre_hook"))
    layer.register_full_backward_hook(lambda *_: fired.append("full_backward_hook"))
    layer.weight.register_post_accumulate_grad_hook(lambda _: fired.append("post_accumulate_grad_hook"))
    layer(torch.randn(1, 2, requires_grad=True)).sum().backward()
    order = list(dict.fromkeys(fired))
    at = rng.randrange(len(order) - 1)
    return mixed("which_hook", {"hook": order[at]}, order[at + 1], [each for each in order if each != order[at]], rng)


def adam_bytes(rng: random.Random) -> Question:
    """Bytes that an optimizer keeps for a layer, once it has taken a step."""
    rows, columns = rng.choice([16, 32, 64]), rng.choice([8, 24, 48])
    kind = rng.choice(["SGD", "SGD(momentum=0.9)", "AdamW"])
    layer = nn.Linear(columns, rows, bias=False)
    made: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "SGD": lambda: torch.optim.SGD(layer.parameters(), lr=0.1),
        "SGD(momentum=0.9)": lambda: torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9),
        "AdamW": lambda: torch.optim.AdamW(layer.parameters()),
    }
    optimizer = made[kind]()
    layer(torch.randn(2, columns)).sum().backward()
    optimizer.step()
    held = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    size = sum(value.numel() * value.element_size() for value in held if value.numel() > 1)
    weights = rows * columns * 4
    values = {"rows": rows, "columns": columns, "optimizer": kind}
    return mixed("adam_bytes", values, size, [0, weights, 2 * weights, 3 * weights, weights // 2], rng)


def smoothed_floor(rng: random.Random) -> Question:
    """Which probability of the right piece label smoothing asks for."""
    classes, smoothing = rng.choice([4, 5, 10]), rng.choice([0.1, 0.2])
    logits = torch.zeros(1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=smoothing)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    best = round(float(logits.detach().softmax(-1)[0, 0]), 3)
    values = {"classes": classes, "smoothing": smoothing}
    wrong: list[object] = [1.0, round(1 - smoothing, 3), round(1 - smoothing * 2, 3), round(1 / classes, 3)]
    return mixed("smoothed_floor", values, best, wrong, rng)


def padded_mean(rng: random.Random) -> Question:
    """The loss of a batch with padding: over what it is divided."""
    lengths = rng.sample(range(1, 7), 2)
    targets = torch.full((2, max(lengths)), -100)
    for row, length in enumerate(lengths):
        targets[row, :length] = 1
    logits = torch.randn(2 * max(lengths), 4)
    total, mean = (nn.functional.cross_entropy(logits, targets.flatten(), reduction=how) for how in ("sum", "mean"))
    values = {"first": lengths[0], "second": lengths[1], "longest": max(lengths)}
    wrong: list[object] = [2 * max(lengths), max(lengths), 2, min(lengths)]
    return mixed("padded_mean", values, round(float(total / mean)), wrong, rng)


def lost_characters(rng: random.Random) -> Question:
    """Which kind of tokenizer spells a character that its training text did not have."""
    text = rng.choice(["鲸", "é", "ß", "龙", "Ω"])
    kinds: list[TokenizerKind] = ["byte_bpe", "bpe", "wordpiece", "unigram", "char"]
    lines = ["the cat sat on the mat and a dog ran home"] * 20
    configs = {kind: TokenizerConfig(kind=kind, vocab_size=300 if kind == "byte_bpe" else 40) for kind in kinds}
    trained = {kind: Tokenizer.train(lines, config) for kind, config in configs.items()}
    whole = [kind for kind, tokenizer in trained.items() if tokenizer.decode(tokenizer.encode(text)) == text]
    return mixed("lost_characters", {"text": text}, rng.choice(whole), [k for k in kinds if k not in whole], rng)


POOL: dict[str, list[Callable[[random.Random], Question]]] = {
    "layers": [what_moves],
    "training": [adam_bytes, smoothed_floor, padded_mean],
    "inference": [cache_bytes],
    "text": [lost_characters],
    "pytorch": [which_copies, which_hook, what_moves],
}
"""The functions that ask about a theme."""


def ask(theme: str | None, rng: random.Random, again: list[str]) -> Question:
    """Returns a question of a theme, or of any; kinds in ``again`` come first.

    Raises:
        UsageError: there is no such theme.
    """
    if theme is not None and theme not in POOL:
        raise UsageError(f"theme {theme!r}: unknown{nearest(theme, POOL)}")
    makers = [make for name in ([theme] if theme else THEMES) for make in POOL.get(name, [])]
    due = [make for make in makers if any(kind.startswith(make.__name__) for kind in again)]
    return rng.choice(due or makers)(rng)
