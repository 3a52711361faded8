"""Compares an exported folder with its run, and says what a certificate holds about it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.evaluate.paired import Bleu, Counts, Quality, paired
from clearhead.export.certificate import digest_of, exported_files, rounded, sha256, tools
from clearhead.export.compare import Difference, Same, compare_outputs
from clearhead.export.onnx.write import checked_opset
from clearhead.export.ours import Ours
from clearhead.export.runtime import Row, Runtime
from clearhead.manifest import weights_file
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.family import LearnedFamily
from clearhead.verbs.exports.formats import FORMATS, Source, Target

NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Compared:
    """What came out of a comparison."""

    evidence: Evidence
    runtime: Runtime
    outputs: Difference
    tokenization: Same | None
    tokens: Same | None
    ties: int
    """Texts in which two pieces were equally probable, up to the bound of outputs, and the two sides chose apart."""
    text: Same | None
    quality: Quality | None
    speed: tuple[float, float]
    """Pieces a second of ours and of theirs."""

    @property
    def equal(self) -> bool:
        """Whether everything that was compared is the same."""
        parts = (self.tokenization, self.tokens, self.text)
        return self.outputs.equal and all(part is None or part.all for part in parts)

    def line(self, number: int) -> str:
        """Returns how a message names a line."""
        if self.evidence.drawn:
            return f"row {number + 1} of random pieces"
        return f"line {self.evidence.texts[number][:40]!r}"

    def difference(self) -> str:
        """Says in a few words what is computed otherwise first; empty where nothing is."""
        if not self.outputs.equal:
            shown = f"{self.outputs.max_abs:.2g}, more than {self.outputs.bound:.2g}"
            return f"{self.line(self.outputs.worst)}: outputs differ by {shown}"
        for what, part in (("the greedy text has other pieces", self.tokens), ("the text reads otherwise", self.text)):
            if part is not None and part.first_difference is not None:
                return f"{self.line(part.first_difference)}: {what} there"
        return ""


def compare(source: Source, folder: Path, target: Target, evidence: Evidence) -> Compared:
    """Runs a folder and the run that it came from on the same lines; raises ImportError without its library."""
    runtime = FORMATS[target].run(source, folder, evidence)
    ours, metric = source.ours(evidence), evidence.metric
    judge = None if metric is None or isinstance(metric, Bleu) else evidence.judge
    try:
        outputs, before, after = compare_outputs(ours, runtime, evidence.rows, judge)
    except ValueError as error:
        raise ModelError(f"--to {target}: the folder is of another model: {error}") from error
    encoded = runtime.encode(evidence.texts) if evidence.texts else None
    tokenization = None if encoded is None else Same.count(evidence.ids, encoded)
    pieces = sum(len(row.ids) for row in evidence.rows)
    result = Compared(
        evidence,
        runtime,
        outputs,
        tokenization,
        tokens=None,
        ties=0,
        text=None,
        quality=None,
        speed=(pieces / outputs.seconds[0], pieces / outputs.seconds[1]),
    )
    if evidence.prompts:
        result = _with_texts(result, source, ours)
    if metric is not None and result.quality is None:
        result = replace(result, quality=paired(metric, _counts(before), _counts(after)))
    return result


def _counts(rows: Sequence[Sequence[int | float]]) -> Counts:
    return np.array(rows, np.float64)


def _with_texts(compared: Compared, source: Source, ours: Ours) -> Compared:
    """Adds what the greedy texts of both sides have in common, and of a translator its BLEU."""
    evidence, runtime = compared.evidence, compared.runtime
    (own, first), (other, second) = (_written(each, evidence) for each in (ours, runtime))
    limit = compared.outputs.bound
    ties = [at for at, pair in enumerate(zip(own, other, strict=True)) if _tied(ours, evidence, at, *pair, limit)]
    apart = [own[at] if at in ties else ids for at, ids in enumerate(other)]
    tokens = Same.count(own, apart)
    parts = source.parts
    tokenizer = parts.target or parts.tokenizer
    texts, theirs = [tokenizer.decode(ids).strip() for ids in own], runtime.decode(other)
    text = None
    if theirs is not None and not evidence.drawn:
        theirs = [line.strip() for line in theirs]
        alike = [at for at in range(len(own)) if own[at] == other[at]]
        text = Same.count([texts[at] for at in alike], [theirs[at] for at in alike])
        if text.first_difference is not None:
            text = replace(text, first_difference=alike[text.first_difference])
    quality = None
    if isinstance(evidence.metric, Bleu):
        lines = theirs if theirs is not None else [tokenizer.decode(ids).strip() for ids in other]
        quality = paired(evidence.metric, evidence.metric.counts(texts), evidence.metric.counts(lines))
    speed = sum(map(len, own)) / first, sum(map(len, other)) / second
    return replace(compared, tokens=tokens, ties=len(ties), text=text, quality=quality, speed=speed)


def _written(runtime: Runtime, evidence: Evidence) -> tuple[list[list[int]], float]:
    """Returns greedy texts and the seconds that they took, after a first one that packs weights and starts threads."""
    runtime.greedy(evidence.prompts[:1], [1])
    started = time.perf_counter()
    written = runtime.greedy(evidence.prompts, evidence.limits)
    assert written is not None, "a format of models that write must have a loop"
    return written, time.perf_counter() - started


def _tied(ours: Ours, evidence: Evidence, number: int, own: list[int], other: list[int], limit: float) -> bool:
    """Says whether two texts part where two pieces are equally probable: then either may come first."""
    if own == other:
        return False
    shared = min(len(own), len(other))
    at = next((at for at in range(shared) if own[at] != other[at]), shared)
    first, second = (ids[at] if at < len(ids) else evidence.ends[0] for ids in (own, other))
    row = evidence.prompts[number]
    read = Row([*row.ids, *own[:at]]) if row.target is None else Row(row.ids, [row.target[0], *own[:at]])
    logits = ours.giving("logits").outputs([read])[0][-1]
    return abs(float(logits[first] - logits[second])) <= 2 * limit


def source_of(source: Source) -> Tree:
    """Returns what identifies a run: names without their folders, and digests of what the model was read from."""
    checkpoint = source.run.checkpoint
    tokenizers = [content for name, content in source.parts.contents().items() if name.startswith("tokenizer/")]
    return {
        "run": source.run.path.resolve().name,
        "checkpoint": checkpoint.name,
        "weights": weights_file(checkpoint).stem,
        "manifest_sha256": digest_of(checkpoint / "manifest.json"),
        "recipe_sha256": digest_of(source.run.path / "recipe.toml"),
        "tokenizer_sha256": sha256(b"".join(tokenizers)),
    }


def predicate_of(source: Source, folder: Path, target: Target, stored: str, compared: Compared | None) -> Tree:
    """Returns the predicate of a certificate but its verdict."""
    entry, checkpoint = FORMATS[target], source.run.checkpoint
    size = sum((folder / name).stat().st_size for name in exported_files(folder))
    opset: Tree = {"opset": checked_opset(source.opset)} if target == "onnx" else {}
    tree: Tree = {
        "source": source_of(source),
        "format": {"name": target, "quantize": None if stored in entry.exact else stored} | opset,
        "tool": tools(compared.runtime.name if compared else None),
        "runtime": {"name": compared.runtime.name, "version": compared.runtime.version} if compared else None,
        "inputs": {"split": None, "count": 0},
    }
    if compared is not None:
        tree |= _comparison(compared)
    tree["bytes"] = {"before": weights_file(checkpoint).stat().st_size, "after": size}
    tree["limits"] = [*_limits(source, target, compared)]
    return tree


def _comparison(compared: Compared) -> Tree:
    evidence, outputs, metric = compared.evidence, compared.outputs, compared.evidence.metric
    inputs: Tree = {"split": None, "drawn": len(evidence.rows)}
    if not evidence.drawn:
        inputs = {"split": "valid", "sha256": evidence.digest, "count": len(evidence.rows), "dropped": evidence.dropped}
    inputs["pieces"] = sum(len(row.ids) for row in evidence.rows)
    relative = outputs.max_abs / max(outputs.largest, 1e-30)
    logits = {"of": compared.runtime.gives, "max_abs": outputs.max_abs, "max_rel": relative, "mean_kl": outputs.mean_kl}
    tree: Tree = {
        "inputs": inputs,
        "tokenization": _counted(compared.tokenization),
        "logits": {**logits, "positions": outputs.positions, "bound": outputs.bound},
        "tokens": compared.tokens and {"mode": "greedy", **asdict(compared.tokens), "ties": compared.ties},
        "text": _counted(compared.text),
    }
    if metric is not None and compared.quality is not None:
        quality = compared.quality
        scores = {"before": quality.before, "after": quality.after, "loss": quality.loss, "unit": metric.unit}
        tree["quality"] = {
            "metric": metric.name,
            "signature": metric.signature,
            **scores,
            "interval95": list(quality.interval),
        }
    unit = "pieces/s, written greedily" if compared.tokens else "pieces/s, read"
    tree["speed"] = {"unit": unit, "before": compared.speed[0], "after": compared.speed[1]}
    return dict[str, Any](rounded(tree))


def _counted(part: Same | None) -> Tree | None:
    return None if part is None else asdict(part)


def _limits(source: Source, target: Target, compared: Compared | None) -> list[str]:
    config = source.model.config
    limits = [f"at most {config.max_seq_len} pieces and marks", *FORMATS[target].notes]
    if compared is None:
        return [*limits, "the folder was not run"]
    if compared.tokenization is None and not compared.evidence.drawn:
        limits.append("the tokenizer was not run")
    return [*limits, *compared.runtime.notes]


def evidence_of(source: Source, data: Path | None, count: int) -> Evidence:
    """Returns the lines of a run's valid split, or random pieces without ``data``."""
    assert isinstance(source.family, LearnedFamily)
    evidence: Evidence = source.family.evidence(source.trained, data, count)
    return evidence


def check_pieces(target: Target, compared: Compared) -> None:
    """Raises ModelError if the tokenizer that was written cuts a text into other pieces than ours."""
    same = compared.tokenization
    if same is None or same.first_difference is None:
        return
    text, advice = compared.evidence.texts[same.first_difference][:40], ""
    if target == "gguf":
        advice = "a tokenizer trained with tokenizer.words = 'gpt2' has the same there; "
    raise ModelError(
        f"--to {target}: {same.of - same.equal} of {same.of} texts have other pieces there, such as {text!r}: not "
        f"written; {advice}--allow-token-differences keeps it"
    )


def verdict_of(
    target: Target, stored: str, compared: Compared | None, max_loss: float | None, *, other_pieces: bool = False
) -> str:
    """Returns equal, close or not compared; ``other_pieces`` lets the tokenizer differ, which is close at best.

    Raises:
        ModelError: a format that loses nothing differs, or a smaller one loses too much.
    """
    if compared is None:
        return NOT_COMPARED
    if not other_pieces:
        check_pieces(target, compared)
    alike = compared.tokenization is None or compared.tokenization.all
    differs = compared.difference()
    if stored in FORMATS[target].exact and differs:
        raise ModelError(f"--to {target}: {differs}: not written, since float32 must be equal")
    if compared.evidence.drawn:
        return NOT_COMPARED
    metric, quality = compared.evidence.metric, compared.quality
    if metric is not None and quality is not None:
        most = metric.most_loss if max_loss is None else max_loss
        if not quality.loss <= most:
            low, high = quality.interval
            lost = f"{quality.loss:.2f} {metric.unit} (95 %: {low:.2f} to {high:.2f})"
            raise ModelError(
                f"--to {target} with --quantize {stored}: {metric.name} gets worse by {lost}, "
                f"more than --max-loss {most:g}: not written"
            )
    return "equal" if alike and not differs else "close"
