"""A trained language model: load a run, continue prompts, say how probable a text is."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from clearhead.checkpoint import load_checkpoint
from clearhead.config import as_tree, parse
from clearhead.data.batching import sequential_batches
from clearhead.decode.generation import Continuation, generate, speculate
from clearhead.decode.packed import Weights, can_pack, pack
from clearhead.decode.rows import PromptedDecoding
from clearhead.decode.sampler import Sampler
from clearhead.decode.sampling import SamplingConfig
from clearhead.decode.search import SearchConfig, beam_search
from clearhead.errors import ModelError, UsageError
from clearhead.models.gpt import GPT
from clearhead.tasks.generation import Generation, GenerationConfig, Prompt, TextWriter
from clearhead.tasks.language_model import LanguageModelRecipe, Net, load_net, load_tokenizer, parse_language_model
from clearhead.tasks.machine import pick_device
from clearhead.tasks.phrases import PhraseBook
from clearhead.tasks.run import load_recipe
from clearhead.text.tokenizer import Tokenizer
from clearhead.train.state import find_checkpoint

BATCH_TOKENS, BATCH_ROWS = 8192, 64  # pieces of prompts and texts in one cache, and rows whose logits are there at once
LOGITS = 128  # positions of a text whose logits are there at once
DEFAULT, PLAIN = GenerationConfig(), SamplingConfig()


@dataclass(frozen=True)
class LanguageModel:
    """A model with its tokenizer, ready to write; see ``load``."""

    recipe: LanguageModelRecipe
    tokenizer: Tokenizer
    model: Net
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    marks: bool = True
    """Whether it has seen where documents begin: then a prompt begins one."""
    packed: GPT | None = None
    """A copy of ``model`` for generation on a CPU; None takes ``model`` itself."""

    @classmethod
    def load(
        cls, run: Path, *, checkpoint: str = "best", device: str = "auto", weights: Weights = "float32"
    ) -> "LanguageModel":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: int8 reads a quarter of the bytes for each piece, on a CPU; the texts differ a little.

        Raises:
            ModelError: not the run of a language model, no checkpoint yet, or a damaged one.
        """
        recipe = parse_language_model(load_recipe(run, task="language_model"), f"recipe of run {str(run)!r}")
        path = find_checkpoint(run, checkpoint)
        if path is None:
            raise ModelError(f"run {str(run)!r} has no checkpoint yet: train it, or go on with --resume")
        tokenizer, target = load_tokenizer(run), pick_device(device)
        model = load_net(recipe, tokenizer, path).to(target).eval()
        packed = pack(model, weights=weights) if isinstance(model, GPT) and can_pack(model) else None
        if weights != "float32" and packed is None:
            raise UsageError(f"weights = {weights!r}: generation with such is for a GPT in float32 on a CPU")
        return cls(
            recipe,
            tokenizer,
            model,
            target,
            load_checkpoint(path, ()).state["step"],
            tokenizer.begins or _has_marks(run),
            packed,
        )

    @property
    def writer(self) -> GPT:
        """The model that generates: the packed copy where there is one.

        Raises:
            ModelError: it is recurrent, which there is no generation for.
        """
        if not isinstance(self.model, GPT):
            raise ModelError("generate: a recurrent language model can be evaluated and compared, but not generate")
        return self.packed or self.model

    def generate(
        self,
        prompts: Sequence[str],
        config: GenerationConfig = DEFAULT,
        *,
        sampling: SamplingConfig = PLAIN,
        draft: "LanguageModel | None" = None,
        on_text: Callable[[int, str], object] = lambda number, part: None,
    ) -> list[Generation]:
        """Continues each prompt; an empty one begins a text.

        A prompt's texts follow from itself, the settings and the seed, whatever other prompts there are.

        Args:
            prompts: of any mix of lengths.
            config: how long, how many, what ends a text and what does not come.
            sampling: how a piece is drawn; a beam takes ``no_repeat_ngram`` of it and nothing else.
            draft: a smaller model of the same tokenizer, which writes ahead: greedy texts stay the same, others keep
                their distribution, and all are there sooner where it is often right.
            on_text: called with a text's number among the results and its next part, as it comes.

        Returns:
            The texts of the first prompt, of the second, and so on: ``n`` of each, a beam's best first.

        Raises:
            UsageError: a setting is wrong or does not go with another, or a prompt is too long under ``error``.
            ModelError: the logits have NaN, or the draft has another tokenizer.
        """
        config = parse(GenerationConfig, as_tree(config), source="generation")
        sampling = parse(SamplingConfig, as_tree(sampling), source="sampling")
        self._check(config, sampling, draft)
        context, sampler = self.recipe.model.max_seq_len, self._sampler(config, sampling)
        read = [Prompt.of(text, self.tokenizer, config, context=context, marks=self.marks) for text in prompts]
        writers = [
            TextWriter(prompt, self.tokenizer, stop=config.stop, on_text=functools.partial(on_text, number))
            for number, prompt in enumerate(prompt for prompt in read for _ in range(config.n))
        ]
        found: Sequence[Continuation | None]
        if config.beam:
            found = self._search(writers, sampler, config)
        elif draft:
            found = self._draft(draft, writers, sampler, config)
        else:
            found = self._draw(writers, sampler, config)
        return [writer.finish(one) for writer, one in zip(writers, found, strict=True) if one]

    @torch.inference_mode()
    def log_probs(self, text: str) -> list[float]:
        """Returns the log-probability of each piece of ``text``, in nats, where it begins a document.

        A piece sees at least half a context before it, as far as there is one.

        Raises:
            DataError: the text has a lone surrogate.
        """
        ids = torch.tensor([self.tokenizer.begin, *self.tokenizer.encode(text)], device=self.device)
        context, last, found = self.recipe.model.max_seq_len, len(ids) - 1, list[float]()
        while len(found) < last:
            begin = max(0, len(found) - context // 2)
            end = min(begin + context, last)
            states = self.model.hidden(ids[None, begin:end])[0, len(found) - begin :]
            for part, targets in zip(states.split(LOGITS), ids[len(found) + 1 : end + 1].split(LOGITS), strict=True):
                loss = functional.cross_entropy(self.model.lm_head(part).float(), targets, reduction="none")
                found += (-loss).tolist()
        return found

    def _check(self, config: GenerationConfig, sampling: SamplingConfig, draft: "LanguageModel | None") -> None:
        drawn = replace(sampling, no_repeat_ngram=0, seed=0) != PLAIN
        if config.beam and (draft or config.stop or drawn):
            raise UsageError(
                f"beam = {config.beam}: looks for the most probable texts, so it goes with no draft, no stop strings, "
                "and of sampling with no_repeat_ngram alone"
            )
        if draft and draft.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ModelError("draft: has another tokenizer than the model, so its pieces mean something else")

    def _sampler(self, config: GenerationConfig, sampling: SamplingConfig) -> Sampler:
        ids, avoided = self.tokenizer.ids, None
        if config.bad_words:
            (demand,) = self._phrases.demands((), config.bad_words, count=1, prefix="", room=0)
            avoided = demand.avoided
        return Sampler(sampling, ids.eos, ids.never, config.min_length, avoided)

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizer)

    def _batches(self, writers: list[TextWriter], config: GenerationConfig) -> Iterator[list[int]]:
        """Yields numbers of texts that are made together, longest first."""
        context = self.recipe.model.max_seq_len
        lengths = np.array([min(len(writer.prompt.ids) + config.max_new, context) for writer in writers], np.int64)
        least = BATCH_TOKENS // BATCH_ROWS - 1  # which the plan makes one longer
        plan = sequential_batches(np.maximum(lengths * max(config.beam, 1), least), batch_tokens=BATCH_TOKENS)
        return (plan[index].tolist() for index in range(len(plan)))

    def _draw(self, writers: list[TextWriter], sampler: Sampler, config: GenerationConfig) -> list[Continuation]:
        found = [Continuation()] * len(writers)
        for batch in self._batches(writers, config):
            own = [writers[number] for number in batch]
            texts = generate(
                self.writer,
                [writer.prompt.ids for writer in own],
                sampler,
                limits=[config.max_new] * len(own),
                samples=[number % config.n for number in batch],
                stopped=[writer.push for writer in own],
            )
            for number, text in zip(batch, texts, strict=True):
                found[number] = text
        return found

    def _draft(
        self, draft: "LanguageModel", writers: list[TextWriter], sampler: Sampler, config: GenerationConfig
    ) -> list[Continuation]:
        return [
            speculate(
                self.writer,
                draft.writer,
                writer.prompt.ids,
                sampler,
                limit=config.max_new,
                drafted=config.draft_pieces,
                sample=number % config.n,
                stopped=writer.push,
            )
            for number, writer in enumerate(writers)
        ]

    def _search(
        self, writers: list[TextWriter], sampler: Sampler, config: GenerationConfig
    ) -> list[Continuation | None]:
        """A search in a small vocabulary may find fewer than ``n`` texts of a prompt."""
        found: list[Continuation | None] = [None] * len(writers)
        firsts, eos_id = writers[:: config.n], sampler.eos_id
        for batch in self._batches(firsts, config):
            prompts = [firsts[row].prompt.ids for row in batch]
            ranked = beam_search(
                PromptedDecoding(self.writer, prompts, beam=config.beam),
                SearchConfig(config.beam, config.n),
                limits=[config.max_new] * len(prompts),
                bos_id=eos_id,
                eos_id=eos_id,
                rules=[sampler.rule(prompts)],
                device=self.device,
            )
            for row, texts in zip(batch, ranked, strict=True):
                for number, text in enumerate(texts, row * config.n):
                    ids = text.ids + [eos_id] * text.complete
                    found[number] = Continuation(ids, text.log_probs, "end" if text.complete else "length")
                    writers[number].push(*text.ids)
        return found


def _has_marks(run: Path) -> bool:
    """Whether the run was trained on more documents than one, each behind an end mark."""
    path = run / "data-report.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["train"]["end_marks"])
    except FileNotFoundError:
        return False  # weights from elsewhere
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
