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
from clearhead.lessons.lesson import read_words
from clearhead.messages import Language
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.attention import ScaledDotProduct, SelfAttention
from clearhead.nn.cache import KVCache
from clearhead.optim.schedule import lr_factor
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
    kind = "what_moves_forward" if in_forward else "what_moves_step"
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


def attention_parameters(rng: random.Random) -> Question:
    """How many numbers a self-attention with grouped queries learns."""
    heads, head_dim = rng.choice([4, 8]), rng.choice([4, 8, 16])
    kv_heads, d_model = rng.choice([kv for kv in (1, 2, 4) if kv < heads]), heads * head_dim
    layer = SelfAttention(d_model, n_heads=heads, n_kv_heads=kv_heads, bias=False)
    count, square = sum(parameter.numel() for parameter in layer.parameters()), d_model * d_model
    values = {"d_model": d_model, "heads": heads, "kv_heads": kv_heads}
    wrong: list[object] = [4 * square, 3 * square, 2 * square, count - square, square * heads]
    return mixed("attention_parameters", values, count, wrong, rng)


def causal_reach(rng: random.Random) -> Question:
    """How many outputs of a causal self-attention change with one input."""
    length, place = rng.randint(6, 12), rng.randint(2, 5)
    layer, x = SelfAttention(8, n_heads=2), torch.randn(1, length, 8)
    other = x.clone()
    other[0, place - 1] += 1.0
    with torch.no_grad():
        moved = layer(x, causal=True) != layer(other, causal=True)
    wrong: list[object] = [place, length, 1, length - place, place - 1]
    values = {"length": length, "place": place}
    return mixed("causal_reach", values, int(moved.any(-1).sum()), wrong, rng)


def masked_weight(rng: random.Random) -> Question:
    """The weight of a key whose score all others share, some of them masked."""
    keys, masked = rng.randint(5, 10), rng.randint(1, 3)
    core, seen = ScaledDotProduct(), list[Tensor]()
    core.tap.register_forward_hook(lambda module, inputs, weights: seen.append(weights))
    q, k = torch.ones(1, 1, 1, 4), torch.ones(1, 1, keys, 4)
    core(q, k, k, mask=torch.arange(keys)[None, None, None] < keys - masked)
    wrong: list[object] = [round(1 / keys, 3), round(1 / masked, 3), round(masked / keys, 3), 1.0]
    values = {"keys": keys, "masked": masked}
    return mixed("masked_weight", values, round(float(seen[0][0, 0, 0, 0]), 3), wrong, rng)


def detached_gradient(rng: random.Random) -> Question:
    """The gradient of a product, one factor of which is detached."""
    at, times = rng.randint(2, 6), rng.randint(2, 5)
    x = torch.tensor(float(at), requires_grad=True)
    ((times * x).detach() * x).backward()
    assert x.grad is not None
    wrong: list[object] = [2 * times * at, times, 0, at, times * at * at]
    return mixed("detached_gradient", {"at": at, "times": times}, int(x.grad), wrong, rng)


def rate_at(rng: random.Random) -> Question:
    """The learning rate at a step: in the warmup, or behind it where it falls as 1/sqrt(step)."""
    warmup, peak = rng.choice([100, 400, 1000]), rng.choice([1e-3, 2e-3, 4e-3])
    share = rng.choice([0.25, 0.5, 4, 16])
    step = round(share * warmup)
    rate = peak * lr_factor("inverse_sqrt", step, warmup_steps=warmup, max_steps=100 * warmup)
    wrong: list[object] = [f"{peak * other:.6g}" for other in (1.0, 0.0625, 0.125, 0.75, 0.25, 0.5)]
    values = {"warmup": warmup, "peak": f"{peak:g}", "step": step}
    return mixed("rate_at", values, f"{rate:.6g}", wrong, rng)


def perplexity_of(rng: random.Random) -> Question:
    """The perplexity of two pieces from their probabilities."""
    first, second = rng.sample([2, 8, 32, 128], 2)
    parts = torch.tensor([[1 / first, 1 - 1 / first], [1 / second, 1 - 1 / second]])
    loss = nn.functional.cross_entropy(parts.log(), torch.tensor([0, 0]))
    wrong: list[object] = [(first + second) // 2, first * second, first + second, max(first, second)]
    return mixed("perplexity_of", {"first": first, "second": second}, round(float(loss.exp())), wrong, rng)


def autocast_dtype(rng: random.Random) -> Question:
    """Which operator gives bfloat16 under autocast on a CPU."""
    x, target = torch.randn(4, 4), torch.tensor([0, 1, 2, 3])
    with torch.autocast("cpu", torch.bfloat16):
        results = {
            "nn.Linear(4, 4)(x)": nn.Linear(4, 4)(x),
            "x @ x": x @ x,
            "torch.bmm(x[None], x[None])": torch.bmm(x[None], x[None]),
            "x + x": x + x,
            "x.exp()": x.exp(),
            "cross_entropy(x, target)": nn.functional.cross_entropy(x, target),
            "x.sum()": x.sum(),
        }
    half = [call for call, result in results.items() if result.dtype == torch.bfloat16]
    return mixed("autocast_dtype", {}, rng.choice(half), [call for call in results if call not in half], rng)


def norm_numbers(rng: random.Random) -> Question:
    """How many numbers the state dict of a norm holds."""
    size = rng.choice([16, 24, 64, 96])
    norms = {"BatchNorm1d": nn.BatchNorm1d(size), "LayerNorm": nn.LayerNorm(size), "RMSNorm": nn.RMSNorm(size)}
    kind = rng.choice(list(norms))
    held = sum(value.numel() for value in norms[kind].state_dict().values())
    wrong: list[object] = [size, 2 * size, 3 * size, 4 * size + 1, 0]
    return mixed("norm_numbers", {"kind": kind, "size": size}, held, wrong, rng)


def positions_computed(rng: random.Random) -> Question:
    """How many positions a GPT computes to write some pieces, with and without a cache."""
    prompt, pieces, cached = rng.randint(4, 9), rng.randint(3, 6), rng.random() < 0.5
    config, computed = GPTConfig(d_model=8, d_ff=8, n_heads=2, n_layers=1, max_seq_len=16), list[int]()
    model = GPT(config, vocab_size=11).eval()
    model.layers[0].register_forward_hook(lambda module, inputs, output: computed.append(output.shape[1]))
    ids, cache = torch.arange(prompt)[None] % 11, model.new_cache(1) if cached else None
    with torch.no_grad():
        for number in range(pieces):
            logits = model(ids[:, -1:] if cached and number else ids, cache=cache)
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    whole, once = sum(range(prompt, prompt + pieces)), prompt + pieces - 1
    values = {"prompt": prompt, "pieces": pieces}
    wrong: list[object] = [whole, once, prompt + pieces, prompt * pieces, pieces]
    return mixed("positions_computed_cached" if cached else "positions_computed", values, sum(computed), wrong, rng)


POOL: dict[str, list[Callable[[random.Random], Question]]] = {
    "layers": [what_moves, norm_numbers],
    "training": [adam_bytes, smoothed_floor, padded_mean, rate_at, autocast_dtype],
    "attention": [attention_parameters, causal_reach, masked_weight],
    "inference": [cache_bytes, positions_computed],
    "text": [lost_characters, perplexity_of],
    "pytorch": [which_copies, which_hook, what_moves, detached_gradient],
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
