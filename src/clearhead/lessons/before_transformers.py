"""What came before the Transformer, and where each stops: n-grams, one fixed vector, recurrent networks.

Sutskever et al. (2014) and Bahdanau et al. (2015); own errors: Ranzato et al. (2016); distance: Bengio et al. (1994).
"""

from dataclasses import dataclass
from math import exp
from statistics import fmean

import torch
from torch import Tensor, nn

from clearhead.data.demo_corpus import demo_pairs
from clearhead.decode.decoding import RNNDecoding
from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.ngram import Ngram, NgramConfig
from clearhead.models.rnn import Recurrent, RNNConfig, RNNTranslator
from clearhead.nn.attention import SelfAttention
from clearhead.progress import Progress, silent
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"lines": (200, 10_000), "steps": (1, 1000), "back": (8, 256)}
SHORT = {"lines": 1000, "steps": 50}
LENGTHS, LETTERS, PIECES, BEGIN, SIZE, KINDS = (2, 4, 6, 8), 20, 3 + 20 * 8, 1, 32, ("fixed", "attention", "plain")


@dataclass(frozen=True)
class Before:
    """What was measured."""

    ngrams: list[tuple[int, float, float]]
    """Order; perplexity of lines that were not counted; share of their n-grams that the counted lines do not have."""
    right: dict[str, list[float]]
    seen: dict[str, list[int]]
    """Share of letters repeated right, and numbers that the decoder sees of the source, for each length."""
    by_place: dict[str, list[float]]
    """Share of letters right at each place, if those before it are given, and if the translator has written them."""
    gradients: dict[str, list[float]]
    """Of the last output by the input so far back, relative to that by the last input."""


def run(*, lines: int = 3000, steps: int = 150, back: int = 63, seed: int = 0, progress: Progress = silent) -> Before:
    """Counts n-grams, trains translators to repeat rows of letters, and takes gradients."""
    models = {kind: trained(kind, steps, seed, progress) for kind in KINDS}
    sources, right, seen = [letters("numbered", 512, length) for length in LENGTHS], {}, {}
    for kind in ("fixed", "attention"):
        right[kind] = [fmean(repeated(models[kind], source)) for source in sources]
        seen[kind] = [sum(part[0].numel() for part in models[kind].begin(source).source[:2]) for source in sources]
    plain = models["plain"], letters("plain", 512, LENGTHS[-1])
    by_place = {"given": repeated(*plain), "written": repeated(*plain, alone=True)}
    return Before(ngrams(lines, seed), right, seen, by_place, gradients(back, seed))


def ngrams(lines: int, seed: int) -> list[tuple[int, float, float]]:
    """Counts n-grams of one to five pieces in lines of the demo, and asks for others."""
    text = [english for _, english in demo_pairs(lines + lines // 10, seed)]
    tokenizer, measured = Tokenizer.train(text[:lines], TokenizerConfig(vocab_size=1000)), []
    rows = [[*ids, tokenizer.ids.eos] for ids in tokenizer.encode_batch(text)]
    counted, new = (torch.tensor([piece for row in part for piece in row]) for part in (rows[:lines], rows[lines:]))
    for order in range(1, 6):
        model = Ngram.train(counted.numpy(), NgramConfig(order), vocab_size=tokenizer.vocab_size)
        known, asked = (list(map(tuple, ids.unfold(0, order, 1).tolist())) for ids in (counted, new))
        unseen = fmean(map(set(asked).difference(known).__contains__, asked))
        measured.append((order, exp(-model.log_probs(new.numpy()).mean()), unseen))
    return measured


def letters(kind: str, rows: int, length: int) -> Tensor:
    """Draws rows of distinct letters; unless they are ``plain``, each piece also says its place in the row."""
    return 3 + torch.rand(rows, LETTERS).argsort(1)[:, :length] + (kind != "plain") * LETTERS * torch.arange(length)


def trained(kind: str, steps: int, seed: int, progress: Progress) -> RNNTranslator:
    """Trains a translator to repeat rows of every length up to the longest; it is given the letters before each."""
    torch.manual_seed(seed)
    config = RNNConfig(SIZE, 1, cell="gru", attention="additive" if kind == "attention" else "none", dropout=0.0)
    model = RNNTranslator(config, src_vocab_size=PIECES, vocab_size=PIECES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
    for step in range(steps):
        source = letters(kind, 64, int(torch.randint(1, LENGTHS[-1] + 1, ())))
        logits = model(source, nn.functional.pad(source[:, :-1], (1, 0), value=BEGIN))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.flatten(0, 1), source.flatten()).backward()
        optimizer.step()
        progress(KINDS.index(kind) * steps + step + 1, len(KINDS) * steps)
    return model.requires_grad_(False)


def repeated(model: RNNTranslator, source: Tensor, *, alone: bool = False) -> list[float]:
    """Returns the share of rows that are right at each place; ``alone``, a translator reads what it has written."""
    decoding, ids, right = RNNDecoding(model, source, None), torch.full_like(source[:, 0], BEGIN), []
    for letter in source.T:
        written = decoding.advance(ids).argmax(-1)
        right.append(fmean((written == letter).tolist()))
        ids = written if alone else letter
    return right


def gradients(back: int, seed: int) -> dict[str, list[float]]:
    """Returns how much the last output of networks that have learned nothing depends on each input before it."""
    torch.manual_seed(seed)
    x, sizes = torch.randn(64, back + 1, SIZE, requires_grad=True), {}
    rnn, lstm = nn.RNN(SIZE, SIZE, batch_first=True), Recurrent(SIZE, SIZE, RNNConfig(n_layers=1))
    outputs = {"rnn": rnn(x)[0], "lstm": lstm(x, None)[0], "direct": SelfAttention(SIZE, n_heads=1)(x, causal=True)}
    for name, output in outputs.items():
        norms = torch.autograd.grad((output[:, -1] * torch.randn(64, SIZE)).sum(), x)[0].norm(dim=-1).mean(0).flip(0)
        sizes[name] = (norms / norms[0]).tolist()
    return sizes


def check(measured: Before) -> Claims:
    """Returns whether each sentence of the answer holds; the last one needs 48 steps back or more."""
    (one, two, three, _, five), seen = (ppl for _, ppl, _ in measured.ngrams), measured.seen
    (fixed, attention), (given, written) = measured.right.values(), measured.by_place.values()
    rnn, lstm, direct = (sizes[-1] for sizes in measured.gradients.values())
    return {
        "counts": two < 0.5 * one and three < 0.9 * two,
        "unseen": measured.ngrams[-1][2] > 0.5 and five > 0.98 * three,
        "vector": len(set(seen["fixed"])) == 1 and 2 * seen["attention"][1] == seen["attention"][-1],
        "length": fixed[0] > 0.85 and fixed[-1] < 0.65,
        "attention": fmean(attention[1:]) > fmean(fixed[1:]) + 0.08,
        "errors": given[0] == written[0] and fmean(given[2:]) > fmean(written[2:]) + 0.06,
        "far": rnn < 1e-9 and lstm < 1e-6 and direct > 0.05,
    }


def facts(measured: Before) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    texts = {f"order_{order}": f"{ppl:.1f}" for order, ppl, _ in measured.ngrams if order != 4}
    shares = {"unseen": measured.ngrams[-1][2], "two": measured.right["fixed"][0], "guess": measured.right["fixed"][-1]}
    shares |= {name: right[-1] for name, right in measured.right.items()}
    texts |= {name: f"{share:.0%}" for name, share in shares.items()}
    texts |= {name: f"{fmean(right[2:]):.0%}" for name, right in measured.by_place.items()}
    texts |= {"numbers": str(measured.seen["fixed"][-1]), "back": str(len(measured.gradients["rnn"]) - 1)}
    return texts | {name: f"{sizes[-1]:.1g}" for name, sizes in measured.gradients.items()}


def show(measured: Before, say: Say) -> list[Part]:
    """Returns tables of n-grams, of letters by length and by place, and of gradients by distance."""
    orders = [(str(order), f"{ppl:.1f}", f"{unseen:.0%}") for order, ppl, unseen in measured.ngrams]
    parts: list[Part] = [Table(say("ngrams"), (say("order"), f">{say('perplexity')}", f">{say('unseen')}"), orders)]
    back = range(0, len(measured.gradients["rnn"]), len(measured.gradients["rnn"]) // 3)
    sizes = {name: [its[at] for at in back] for name, its in measured.gradients.items()}
    by_axis = [("length", LENGTHS, measured.right), ("place", range(1, 1 + LENGTHS[-1]), measured.by_place)]
    for axis, ends, values in [*by_axis, ("back", back, sizes)]:
        form = "{:.1g}" if axis == "back" else "{:.0%}"
        rows = [(say(name), *map(form.format, its)) for name, its in values.items()]
        parts.append(Table(say(f"by_{axis}"), (say(axis), *(f">{end}" for end in ends)), rows))
    return parts
