"""Text of one language and its translations by a run, as a corpus to train another translator on."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from clearhead.decode.hypotheses import SearchConfig
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.weights.file import is_model_file
from clearhead.errors import ModelError, UsageError
from clearhead.export.certificate import digest_of
from clearhead.manifest import read_manifest, weights_file
from clearhead.progress import Progress, silent
from clearhead.ranges import Texts
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.settings import settled
from clearhead.tasks.translation.corpora.made import Answer, MadeCorpus, make_corpus
from clearhead.tasks.translation.corpora.noise import NoiseConfig, disturb
from clearhead.tasks.translation.result import Translation
from clearhead.text.language import other_script
from clearhead.verbs.quick import Where, open_translator
from clearhead.version import VERSION

if TYPE_CHECKING:
    from clearhead.tasks.translation.texts import TextTranslator

Method = Literal["beam", "sample", "noise"]
TAG = "bt"


@dataclass(frozen=True)
class BackTranslation:
    """How text is translated."""

    method: Method = "beam"
    """``beam``: the best of a search; ``sample``: drawn piece by piece; ``noise``: the best, with noise on it."""
    distill: bool = False
    """Whether the text is the source of the translator to come, and not its target."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Of ``beam`` and ``noise``."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Of ``sample``."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Of ``noise``."""
    chunk: Texts = 1024
    """Lines that are translated together; after them a process that is killed has lost nothing."""

    def __post_init__(self) -> None:
        if self.distill and self.method != "beam":
            raise UsageError(f"method = {self.method!r}: distillation is of what a search finds, which is beam")

    @property
    def own(self) -> dict[str, Any]:
        """What decides, as plain values: that of the method alone."""
        search = {"beam": self.search.beam, "length_penalty": self.search.length_penalty}
        sampling = {key: value for key, value in asdict(self.sampling).items() if value != _PLAIN[key]}
        parts: dict[Method, dict[str, Any]] = {
            "beam": search,
            "sample": {**sampling, "seed": self.sampling.seed},
            "noise": {**search, **asdict(self.noise)},
        }
        return {"method": self.method, "distill": self.distill, **parts[self.method]}


_PLAIN = asdict(SamplingConfig())


@dataclass(frozen=True)
class Made:
    """A corpus, and how a recipe names it."""

    corpus: MadeCorpus
    table: dict[str, str]
    """Keys of its ``[[data.corpora]]``."""


def back_translate(
    run: Path,
    mono: Path,
    out: Path,
    config: BackTranslation,
    *,
    to: str = "",
    source: str = "",
    shortlist: bool = False,
    progress: Progress = silent,
    **where: Unpack[Where],
) -> Made:
    """Translates the lines of a file, and writes them with their translations as a corpus.

    Args:
        run: a translator from the language of the text.
        mono: the text, a sentence a line.
        out: folder for the corpus; see ``make_corpus``, which also says how an unfinished one is gone on with.
        config: how it is translated.
        to: see ``TextTranslator.toward``.
        source: likewise.
        shortlist: see ``Translator.load``; a search alone looks at it.
        progress: called with (lines done, lines in all), first where the work begins.
        where: how the run is opened.

    Raises:
        ModelError: it is no translator.
        UsageError: an argument is wrong, or the folder has something else in it.
        DataError: the text cannot be used, or the disk is full.
    """
    config = settled(config, source="back-translation")
    translator = open_translator(run, **where, shortlist=shortlist).toward(to, source)
    sides = translator.sides
    settings = {
        "clearhead": VERSION,
        "run": run.resolve().name,
        "weights": f"{where['weights']} of {_digest(run, where['checkpoint'])}",
        "engine": translator.computed,
        "shortlist": shortlist,
        **config.own,
    }
    corpus = make_corpus(
        mono,
        out,
        lambda lines, first, before: _answers(translator, config, lines, first, before),
        given=sides.src.code,
        made=sides.tgt.code,
        settings=settings,
        chunk=config.chunk,
        progress=progress,
    )
    ends = [sides.src.code, sides.tgt.code]
    src, tgt = ends if config.distill else reversed(ends)
    table = {"path": str(out.resolve()), "src": src, "tgt": tgt}
    return Made(corpus, table if config.distill else {**table, "tag": TAG})


def _answers(
    translator: "TextTranslator", config: BackTranslation, lines: list[str], first: int, before: str
) -> list[Answer]:
    """Translates some lines; ``first`` is the number of the first one, and ``before`` the line in front of it."""
    context = before if translator.sides.reads_context else ""
    if config.method == "sample":
        drawn = translator.sample(lines, config.sampling, numbers=range(first, first + len(lines)), context=context)
        return [_answer(line, translation, translator) for line, translation in zip(lines, drawn, strict=True)]
    ranked = translator.n_best(lines, config.search, split="overlong", context=context)
    answers = [_answer(line, each[0], translator) for line, each in zip(lines, ranked, strict=True)]
    if config.method == "beam":
        return answers
    joiner = translator.sides.tgt.joiner
    return [
        answer._replace(text=disturb(answer.text, config.noise, number, joiner))
        for number, answer in enumerate(answers, first)
    ]


def _answer(line: str, translation: Translation, translator: "TextTranslator") -> Answer:
    text = translation.text.strip()
    if not text:
        return Answer("", "no translation" if line.strip() else "")
    if script := other_script(line, translator.sides.src):
        return Answer(text, f"most of it is in {script} letters, and the model reads {translator.sides.src.code}")
    return Answer(text, "" if translation.complete else "cut off at the length limit")


def _digest(run: Path, checkpoint: str) -> str:
    """Identifies the weights of a run or file."""
    if is_model_file(run):
        return digest_of(run)
    found = find_checkpoint(run, checkpoint)
    if found is None:
        raise ModelError(f"run {str(run)!r} has no checkpoint yet")
    return read_manifest(found)[weights_file(found).name][1]
