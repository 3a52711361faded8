"""Language models in PyTorch: texts by steps of any kind of model, with a draft too, and a look at each step."""

from abc import ABC
from collections.abc import Callable, Sequence

import torch

from clearhead.arguments import checked
from clearhead.decode.generation import generate, speculate
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rows import PromptedDecoding
from clearhead.decode.rules import forbid
from clearhead.decode.sampler import Sampler
from clearhead.decode.search import beam_search
from clearhead.decode.trace import MakeMeter, TraceStep, text_reader, trace_greedy
from clearhead.decode.tree import BeamTree, grow_tree
from clearhead.decode.whole import whole_characters
from clearhead.engine.loops.continuation import Continuation
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.ranges import CountOrZero
from clearhead.tasks.language_model.prompts import GenerationConfig, Prompt, TextWriter
from clearhead.tasks.language_model.writer import PLAIN, TextModel
from clearhead.tasks.loaded import Loaded


class SteppedModel(Loaded, TextModel, ABC):
    """A text model that PyTorch has loaded, and whose steps can be looked at."""

    @checked
    def beam_tree(self, prompt: str, config: GenerationConfig) -> tuple[list[int], BeamTree]:
        """Returns the pieces of a prompt and every hypothesis of the search that ``generate`` makes with a beam."""
        sampler, eos_id = _sampler(self._settings(config, PLAIN)), self.tokenizer.ids.eos
        read = Prompt.of(prompt, self.tokenizer, config, context=self.context, marks=self.marks).ids
        tree = grow_tree(
            PromptedDecoding(self.begin, [read], beam=config.beam),
            SearchConfig(config.beam, config.n),
            limit=config.max_new,
            bos_id=eos_id,
            eos_id=eos_id,
            rules=[sampler.rule([read])],
            text_of=self.tokenizer.decode,
            device=self.device,
        )
        return read, tree

    @checked
    def trace(
        self, prompt: str, config: GenerationConfig, *, top: CountOrZero = 5, meter: MakeMeter | None = None
    ) -> list[TraceStep]:
        """Follows a prompt through every step of greedy generation, within the context; see ``trace_greedy``."""
        read = Prompt.of(prompt, self.tokenizer, config, context=self.context, marks=self.marks).ids
        limit = config.max_new if self.context is None else min(config.max_new, self.context - len(read) + 1)
        settings = self._settings(config, PLAIN)
        rules = [
            forbid(list(settings.forbidden)),
            *whole_characters(self.tokenizer.characters, [limit], self.device),
        ]
        with torch.inference_mode():
            reader = text_reader(self.begin, read[0], limit=len(read) + limit)
        return trace_greedy(reader, read, limit=limit, ends=settings.marks, rules=rules, top=top, meter=meter)


def write(
    model: TextModel,
    prompts: Sequence[Sequence[int]],
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    samples: Sequence[int],
    stopped: Sequence[Callable[[int], bool]],
) -> list[Continuation]:
    """Continues each prompt; see ``decode.generation.generate``."""
    return generate(model.begin, prompts, _sampler(settings), limits=limits, samples=samples, stopped=stopped)


def write_ahead(
    model: TextModel, draft: TextModel, writers: list[TextWriter], settings: SamplerSettings, config: GenerationConfig
) -> list[Continuation]:
    """Continues the prompt of each writer with pieces that a draft proposes; see ``speculate``."""
    sampler = _sampler(settings)
    return [
        speculate(
            model.begin,
            draft.begin,
            writer.prompt.ids,
            sampler,
            limit=config.max_new,
            drafted=config.draft_pieces,
            sample=number % config.n,
            stopped=writer.push,
        )
        for number, writer in enumerate(writers)
    ]


def search_by_steps(
    model: TextModel,
    prompts: Sequence[Sequence[int]],
    settings: SamplerSettings,
    config: SearchConfig,
    *,
    limits: Sequence[int],
) -> list[list[Hypothesis]]:
    """Searches for the best texts that follow each prompt; see ``beam_search``."""
    return beam_search(
        PromptedDecoding(model.begin, prompts, beam=config.beam),
        config,
        limits=limits,
        bos_id=settings.eos_id,
        eos_id=settings.eos_id,
        rules=[_sampler(settings).rule(prompts)],
        text_of=model.tokenizer.decode,
        device=model.device,
    )


def _sampler(settings: SamplerSettings) -> Sampler:
    """Returns the same settings, for tensors."""
    return Sampler(**vars(settings))
