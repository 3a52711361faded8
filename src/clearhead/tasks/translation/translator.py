"""A trained translator: loads a run, translates texts and traces its decoding."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from clearhead.data.batching import sequential_batches
from clearhead.data.translation import collate, collate_sources
from clearhead.decode.decoding import start_decoding
from clearhead.decode.search import Hypothesis, SearchConfig, beam_search
from clearhead.decode.trace import MakeMeter, TraceStep, trace_greedy, translation_reader
from clearhead.decode.tree import BeamTree, grow_tree
from clearhead.engine.choose import choose
from clearhead.errors import DataError
from clearhead.evaluate.translation import default_tokenize
from clearhead.models.transformer import Transformer
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import Tokenizers, load_both_sides
from clearhead.tasks.family import open_for
from clearhead.tasks.translation.alignment import attention_to_source, source_shapes
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.recipe import WORDS, Net, TranslationRecipe, build_translator, parse_translation
from clearhead.tasks.translation.search_rules import phrase_constraints, search_rules
from clearhead.text.normalize import denormalize
from clearhead.text.overlong import OverlongSource
from clearhead.text.phrase_book import Demand, PhraseBook, Phrases
from clearhead.text.sentences import split_sentences
from clearhead.text.special import SpecialIds
from clearhead.training.device import pick_device

BATCH_TOKENS = 4096  # source pieces times beams that are decoded together


@dataclass(frozen=True)
class Translation:
    """One translation of one text."""

    text: str
    score: float
    """Sum of ``log_probs``, in nats."""
    rank_score: float
    """Score with its length penalty."""
    pieces: list[str]
    """Target pieces, including the end mark if the model generated it."""
    log_probs: list[float]
    """The log-probability of each piece, in nats."""
    source_pieces: list[str]
    """Source pieces, with the end mark."""
    complete: bool = True
    """False if the translation reached the length limit before an end mark."""
    cut_better: bool = False
    """True if the length limit cut off another translation, which has a better rank score; complete ones go first."""
    alignment: list[int] | None = None
    """For each target piece the source piece with the most attention; None unless asked for."""
    parts: int = 1
    """How many parts the text was split into because it was too long."""
    dropped: int = 0
    """Source pieces left out under the policy ``truncate``."""
    unmet: list[str] = field(default_factory=list)
    """Required phrases that it does not contain."""
    source_ids: list[int] = field(default_factory=list, repr=False)
    """Source pieces as ids, without the end mark."""
    target_ids: list[int] = field(default_factory=list, repr=False)
    """Ids of ``pieces``."""


@dataclass(frozen=True)
class Trace:
    """One sentence followed through the model."""

    text: str
    translation: str
    source_pieces: list[str]
    source_ids: list[int]
    shapes: dict[str, list[int]]
    """The output shapes of the embedding and each encoder layer, and the shapes of the decoder's inputs."""
    steps: list[TraceStep]
    pieces: dict[int, str]
    """Readable form of every target id in ``steps``."""


@dataclass(frozen=True)
class Translator:
    """A model with its tokenizers, ready to translate; see ``load``."""

    recipe: TranslationRecipe
    tokenizers: Tokenizers
    model: Net
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    packed: Transformer | None = None
    """A copy of ``model`` for decoding on a CPU; None decodes with ``model`` itself."""
    lengths: LengthLimit = field(default_factory=LengthLimit)
    """How long translations may be."""

    @classmethod
    def load(cls, run: Path, *, checkpoint: str = "best", device: str = "auto") -> "Translator":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.

        Raises:
            ModelError: it is not the run of a translator, or has no checkpoint yet, or the checkpoint is damaged.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device)

    @classmethod
    def from_run(cls, run: SavedRun, *, device: str = "auto") -> "Translator":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_translation(run.tree, run.source), load_both_sides(run.trained_path)
        target, model = pick_device(device), build_translator(recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        packed = choose(model).prepare() if isinstance(model, Transformer) else None
        return cls(recipe, parts.both, model, target, step, packed, LengthLimit.read(run.path))

    def translate(
        self,
        texts: Sequence[str],
        *,
        beam: int = 5,
        length_penalty: float = 1.0,
        prefix: str = "",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
        alignment: bool = False,
    ) -> list[Translation]:
        """Translates each text; results are in the order of ``texts`` and an empty text stays empty.

        Args:
            texts: source texts of any mix of lengths; the result for a text does not depend on the others.
            beam: hypotheses per sentence; 1 is greedy.
            length_penalty: see ``SearchConfig``.
            prefix: text that every translation begins with.
            overlong: what happens to a text above the model's limit: split at sentence ends, truncate (counted in
                ``dropped``) or error.
            require: phrases that each translation must contain, or a sequence of phrases for each text; those that do
                not fit are in ``unmet``. The beam is widened by the number of their pieces.
            avoid: phrases that no translation may contain, likewise.
            alignment: whether to fill ``alignment``.
        """
        config = SearchConfig(beam, 1, length_penalty)
        ranked = self.n_best(texts, config, prefix=prefix, overlong=overlong, require=require, avoid=avoid)
        best = [hypotheses[0] for hypotheses in ranked]
        return [self.aligned(translation) for translation in best] if alignment else best

    def n_best(
        self,
        texts: Sequence[str],
        config: SearchConfig,
        *,
        prefix: str = "",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
    ) -> list[list[Translation]]:
        """Returns up to ``config.n_best`` translations of each text, best first.

        If a text had to be split, the first result joins the best translations of its parts, the second the second
        best, and so on. A required phrase is then not enforced, as it is not known which part it belongs to; it may be
        unmet.
        """
        start = self._prefix(prefix)
        demands = [Demand()] * len(texts)
        if require or avoid:
            room = self.recipe.model.max_seq_len - len(start) - 1
            demands = self._phrases.demands(require, avoid, count=len(texts), prefix=prefix, room=room)
        parts = [self._parts(text, overlong) for text in texts]
        flat = [
            (ids, demand if len(pieces) == 1 else replace(demand, required={}))
            for (pieces, _), demand in zip(parts, demands, strict=True)
            for ids in pieces
        ]
        sources, their_demands = [ids for ids, _ in flat], [demand for _, demand in flat]
        decoded = iter(self._decode(sources, config, [start] * len(flat), their_demands))
        return [
            self._join([next(decoded) for _ in pieces], dropped, demand)
            for (pieces, dropped), demand in zip(parts, demands, strict=True)
        ]

    def alternatives(
        self, text: str, count: int = 5, *, prefix: str = "", beam: int = 5, length_penalty: float = 1.0
    ) -> list[Translation]:
        """Returns translations that differ in the first piece after ``prefix``: its ``count`` most probable ones."""
        ids = self._parts(text, "error")[0][0]
        if not ids:
            return []
        start = self._prefix(prefix)
        src_ids, _ = collate_sources([ids], special=self._ids)
        tgt_ids = torch.tensor([[self._ids.bos, *start]], device=self.device)
        with torch.inference_mode():
            scores = self.model(src_ids.to(self.device), tgt_ids)[:, -1:]
            limit, first = self._limit(len(ids), len(start) + 1), src_ids.new_zeros(1).to(self.device)
            for rule in search_rules(self.tokenizers.tgt, limits=[limit], device=self.device):
                rule(scores, tgt_ids[None, :, 1:], first)
        best = scores[0, 0].topk(min(count, int(scores.isfinite().sum())))
        prefixes = [[*start, piece] for piece in best.indices.tolist() if piece != self._ids.eos]
        config = SearchConfig(beam, 1, length_penalty)
        searched = self._decode([ids] * len(prefixes), config, prefixes, [Demand()] * len(prefixes))
        ranked = sorted((ranked[0] for ranked in searched), key=lambda translation: -translation.rank_score)
        return list({translation.text: translation for translation in reversed(ranked)}.values())[::-1]

    @torch.inference_mode()
    def trace(self, text: str, *, top: int = 5, meter: MakeMeter | None = None) -> Trace:
        """Follows a text through tokenizer, encoder and every greedy decoder step; ``meter``: see ``trace_greedy``."""
        ids = self._parts(text, "error")[0][0]
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to trace")
        src_ids = collate_sources([ids], special=self._ids)[0].to(self.device)
        limit = self._limit(len(ids), 0)
        rules = search_rules(self.tokenizers.tgt, limits=[limit], device=self.device)
        steps = trace_greedy(
            translation_reader(self.model, src_ids, limit=limit),
            [self._ids.bos],
            limit=limit,
            eos_id=self._ids.eos,
            rules=rules,
            top=top,
            meter=meter,
        )
        used = {i for step in steps for i in [step.chosen, *step.input_ids, *(piece for piece, _ in step.top)]}
        names = dict(zip(sorted(used), self.tokenizers.tgt.pieces(sorted(used)), strict=True))
        chosen = [step.chosen for step in steps if step.chosen != self._ids.eos]
        source = src_ids[0].tolist()
        pieces = self.tokenizers.src.pieces(source)
        return Trace(text, self._line(chosen), pieces, source, source_shapes(self.model, src_ids), steps, names)

    def beam_tree(self, text: str, config: SearchConfig) -> tuple[list[int], BeamTree]:
        """Returns the pieces of a text and every hypothesis of the search that ``n_best`` makes for it."""
        ids = self._parts(text, "error")[0][0]
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to translate")
        src_ids, special = collate_sources([ids])[0].to(self.device), self._ids
        with torch.inference_mode():
            decoding = start_decoding(self.packed or self.model, src_ids, None, beam=config.beam)
        limit = self._limit(len(ids), 0, config.limit)
        tree = grow_tree(
            decoding,
            config,
            limit=limit,
            bos_id=special.bos,
            eos_id=special.eos,
            rules=search_rules(self.tokenizers.tgt, limits=[limit], device=self.device),
            text_of=self._line,
            device=self.device,
        )
        return ids, tree

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizers.tgt)

    def _prefix(self, text: str) -> list[int]:
        """Encodes what every translation begins with."""
        ids, most = self.tokenizers.tgt.encode(text), self.recipe.model.max_seq_len - 2
        if self._ids.unk in ids:
            raise DataError(f"prefix {text!r}: has characters that are not in the model's vocabulary")
        if len(ids) > most:
            raise DataError(f"prefix {text[:40]!r}: has {len(ids)} pieces, at most {most} leave room for a translation")
        return ids

    @property
    def _ids(self) -> SpecialIds:
        return self.tokenizers.tgt.ids

    def _limit(self, source: int, fixed: int, most: int = 0) -> int:
        """Most target pieces besides ``fixed`` ones: ``most``, or what suits the source, within the positions."""
        return min((most or self.lengths.pieces(source)) + fixed, self.recipe.model.max_seq_len)

    def _line(self, ids: Sequence[int]) -> str:
        """Text of target pieces on one line."""
        tokenizer = self.tokenizers.tgt
        text = denormalize(tokenizer.decode(ids), tokenizer.config.normalization)
        return text.replace("\n", " ").replace("\r", " ").strip()

    def _parts(self, text: str, overlong: OverlongSource) -> tuple[list[list[int]], int]:
        """Encodes a text; above the limit, split, cut or refused. Returns parts and the number of pieces cut."""
        ids, limit = self.tokenizers.src.encode(text.strip()), self.recipe.data.max_len
        if len(ids) <= limit:
            return [ids], 0
        if overlong == "error":
            raise DataError(f"text {text[:40]!r}...: has {len(ids)} pieces, the model takes {limit}")
        if overlong == "truncate":
            return [ids[:limit]], len(ids) - limit
        sentences = [self.tokenizers.src.encode(sentence.strip()) for sentence in split_sentences(text.strip())]
        # a sentence above the limit has no better place to be cut than between pieces
        return [
            sentence_ids[at : at + limit] for sentence_ids in sentences for at in range(0, len(sentence_ids), limit)
        ], 0

    def _decode(
        self,
        sources: list[list[int]],
        config: SearchConfig,
        prefixes: list[list[int]],
        demands: list[Demand],
    ) -> list[list[Translation]]:
        """Translates encoded sources in batches of like length; an empty one gives an empty translation."""
        translations: list[list[Translation]] = [[Translation("", 0.0, 0.0, [], [], [])]] * len(sources)
        for batch, beam in _batches(sources, demands, config.beam):
            src_ids, src_mask = collate_sources([sources[row] for row in batch], special=self._ids)
            src_mask = None if src_mask is None else src_mask.to(self.device)
            forced, asked = [prefixes[row] for row in batch], [demands[row] for row in batch]
            fixed = [len(prefix) + demand.pieces for prefix, demand in zip(forced, asked, strict=True)]
            sizes = [len(sources[row]) for row in batch]
            limits = [self._limit(size, count, config.limit) for size, count in zip(sizes, fixed, strict=True)]
            with torch.inference_mode():
                decoding = start_decoding(self.packed or self.model, src_ids.to(self.device), src_mask, beam=beam)
            hypotheses = beam_search(
                decoding,
                replace(config, beam=beam),
                limits=limits,
                bos_id=self._ids.bos,
                eos_id=self._ids.eos,
                rules=search_rules(
                    self.tokenizers.tgt, limits=limits, prefixes=forced, demands=asked, device=self.device
                ),
                constraints=phrase_constraints(asked, eos_id=self._ids.eos, device=self.device),
                text_of=self._line,
                device=self.device,
            )
            for row, ranked in zip(batch, hypotheses, strict=True):
                translations[row] = [self._translation(hypothesis, sources[row]) for hypothesis in ranked]
        return translations

    def _translation(self, hypothesis: Hypothesis, source: list[int]) -> Translation:
        ids = hypothesis.ids + [self._ids.eos] * hypothesis.complete
        return Translation(
            text=self._line(hypothesis.ids),
            score=hypothesis.score,
            rank_score=hypothesis.rank_score,
            pieces=self.tokenizers.tgt.pieces(ids),
            log_probs=hypothesis.log_probs,
            source_pieces=self.tokenizers.src.pieces([*source, self._ids.eos]),
            complete=hypothesis.complete,
            cut_better=hypothesis.cut_better,
            source_ids=source,
            target_ids=ids,
        )

    def _join(self, parts: list[list[Translation]], dropped: int, demand: Demand) -> list[Translation]:
        """Puts the translations of a text's parts together, rank by rank."""
        between = "" if default_tokenize(self.recipe.tgt) in ("zh", "char") else " "
        joined = []
        for ranked in zip(*parts, strict=False):
            whole = replace(ranked[0], dropped=dropped) if len(ranked) == 1 else _joined(ranked, between)
            # an empty text has no unmet phrases
            unmet = demand.unmet([part.target_ids for part in ranked]) if whole.source_pieces else []
            joined.append(replace(whole, unmet=unmet))
        return joined

    def aligned(self, translation: Translation) -> Translation:
        """Fills ``alignment``: for each target piece the source piece with the most attention.

        A text that was split into parts has no alignment. Raises ModelError if the model has no attention.
        """
        if translation.parts > 1 or not translation.target_ids:
            return translation
        targets = translation.target_ids[: len(translation.target_ids) - translation.complete]
        batch = collate([translation.source_ids], [targets], special=self._ids).to(self.device)
        weights = attention_to_source(self.model, batch.src_ids, batch.tgt_ids)
        best = weights[: len(translation.pieces)].argmax(dim=1).tolist()
        return replace(translation, alignment=[int(piece) for piece in best])


def _batches(sources: list[list[int]], demands: list[Demand], beam: int) -> Iterator[tuple[list[int], int]]:
    """Yields rows to decode together, with their beam.

    The beam is widened by the number of required pieces, so that each bank of ``Constraints`` has a place in it. Texts
    with different beams are decoded separately, so that no result depends on another text.
    """
    for pieces in sorted({demand.pieces for demand in demands}):
        rows = np.array([row for row, ids in enumerate(sources) if ids and demands[row].pieces == pieces], np.int64)
        lengths = np.array([len(sources[row]) for row in rows], dtype=np.int32)
        plan = sequential_batches(lengths, batch_tokens=max(BATCH_TOKENS // (beam + pieces), 1))
        yield from ((rows[plan[index]].tolist(), beam + pieces) for index in range(len(plan)))


def _joined(parts: Sequence[Translation], between: str) -> Translation:
    return Translation(
        text=between.join(part.text for part in parts if part.text),
        score=math.fsum(part.score for part in parts),
        rank_score=math.fsum(part.rank_score for part in parts),
        pieces=[piece for part in parts for piece in part.pieces],
        log_probs=[value for part in parts for value in part.log_probs],
        source_pieces=[piece for part in parts for piece in part.source_pieces],
        complete=all(part.complete for part in parts),
        cut_better=any(part.cut_better for part in parts),
        parts=len(parts),
    )
