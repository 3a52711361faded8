"""Every word of every closed set of every recipe is trained for two steps through the command line, and then used.

The sets are read from the recipes' annotations, so that a new word is tested when it is added; the tables below hold
only what a word needs beside it, which words exclude each other, and which a task refuses.
"""

import dataclasses
import importlib
import json
import math
import pkgutil
import tomllib
import typing
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union

import pytest

from clearhead import tasks
from clearhead.tasks.family import Task
from tests.toy import Said, assert_one_line, clearhead, write_recipe, write_split

SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 16, "n_heads": 2, "max_seq_len": 32, "dropout": 0.0}
RECURRENT: dict[str, Any] = {"d_model": 16, "n_layers": 1, "max_seq_len": 32, "dropout": 0.0}
TRAIN: dict[str, Any] = {"max_steps": 2, "batch_tokens": 96, "warmup_steps": 1, "evaluate_every": 0, "device": "cpu"}
PIECES: dict[str, Any] = {"kind": "char", "vocab_size": 60, "min_frequency": 1}
MARKED = {**PIECES, "specials": "masked"}
LANGUAGES: dict[str, Any] = {"src": "zh", "tgt": "en", "data": {"max_len": 31}}
# The smallest recipe of each task, and the words that use its run.
TINY: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "translation": (
        {**LANGUAGES, "tokenizer": PIECES, "model": {**SIZES, "n_encoder_layers": 1, "n_decoder_layers": 1}},
        ("translate", "RUN", "一只猫", "--beam", "2"),
    ),
    "rnn_translation": ({**LANGUAGES, "tokenizer": PIECES, "model": RECURRENT}, ("translate", "RUN", "一只猫")),
    "language_model": (
        {"tokenizer": PIECES, "model": {**SIZES, "n_layers": 1}},
        ("generate", "RUN", "a cat", "--max-new", "3"),
    ),
    "rnn_language_model": ({"tokenizer": PIECES, "model": RECURRENT}, ("generate", "RUN", "a cat", "--max-new", "3")),
    "ngram": ({"tokenizer": PIECES}, ("generate", "RUN", "a cat", "--max-new", "3")),
    "masked": ({"tokenizer": MARKED, "model": {**SIZES, "n_layers": 1}}, ("fill", "RUN", "a [MASK] ran")),
    "classify": ({"tokenizer": MARKED, "model": {**SIZES, "n_layers": 1}}, ("classify", "RUN", "a cat ran")),
}
NUMBERS = ("data.kind=number", "data.label_field=number")
TRANSFORMERS = "is for Transformers, not for recurrent models"


class Needs(NamedTuple):
    """What a word needs beside it; by itself it is refused in a line that holds ``rule``."""

    tasks: str
    word: str
    beside: tuple[str, ...]
    rule: str


class Apart(NamedTuple):
    """Two words that exclude each other: together they are refused in a line that holds ``rule``."""

    tasks: str
    words: tuple[str, str]
    rule: str


class Refused(NamedTuple):
    """A word that a task refuses, whatever stands beside it, in a line that holds ``rule``."""

    tasks: str
    word: str
    rule: str


NEEDS = (
    Needs("*", "tokenizer.kind=byte_bpe", ("tokenizer.vocab_size=270",), "byte_bpe needs 26"),
    Needs("[!rtn]*", "tokenizer.kind=adopted", ("start=FOLDER",), "comes with a model from elsewhere"),
    Needs("translation", "tokenizer.joint=false", ("model.tie=decoder",), "needs tokenizer.joint = true"),
    Needs("[!rc]*", "*lora.rank=8", ("start=RUN",), "name it with start"),
    # of an encoder that is drawn anew, nothing is frozen or adapted
    Needs("classify", "lora.rank=8", ("start=RUN", "finetune.fresh=false"), "name it with start"),
    Needs("classify", "finetune.frozen=true", ("start=RUN", "finetune.fresh=false"), "name it with start"),
    Needs("classify", "finetune.fresh=true", ("start=RUN",), "name it with start"),
    Needs("language_model", "model.rotary_scaling.*", ("model.position=rotary",), "needs model.position = 'rotary'"),
    Needs("classify", "data.kind=number", NUMBERS[1:], "is not a number, as data.kind = 'number' requires"),
    Needs("classify", "validation.monitor=pearson", NUMBERS, "must be one of loss, accuracy, macro_f1, matthews"),
    Needs("classify", "validation.monitor=spearman", NUMBERS, "must be one of loss, accuracy, macro_f1, matthews"),
)
APART = (
    Apart("*", ("model.position=rotary", "model.block.attention=additive"), "needs another model.block.attention"),
    Apart("*", ("model.block.norm=batch", "train.checkpoint_activations=true"), "a batch norm would count each batch"),
    Apart("translation", ("train.parallel=fsdp", "validation.monitor=bleu"), "'bleu' needs a whole model"),
    Apart("classify", ("finetune.frozen=true", "lora.rank=8"), "only one may be set"),
    Apart("classify", ("data.kind=number", "loss.class_weights=balanced"), "'number' has none"),
    Apart("classify", ("data.kind=number", "validation.monitor=accuracy"), "must be one of loss, pearson, spearman"),
    Apart("classify", ("data.kind=number", "validation.monitor=macro_f1"), "must be one of loss, pearson, spearman"),
    Apart("classify", ("data.kind=number", "validation.monitor=matthews"), "must be one of loss, pearson, spearman"),
)
REFUSED = (
    Refused("[rtn]*", "tokenizer.kind=adopted", "comes with a model from elsewhere"),
    Refused("masked", "tokenizer.specials=sequence", "must be 'masked', which has [CLS], [SEP] and [MASK]"),
    Refused("classify", "tokenizer.specials=sequence", "an encoder needs 'masked', which has [CLS] and [SEP]"),
    Refused("masked", "data.packing=isolated", "rows of sentences are not packed, leave it out"),
    Refused("language_model", "model.block.norm=instance", "looks at other positions"),
    Refused("rnn_*", "lora.rank=8", "name it with start"),
    Refused("rnn_*", "train.parallel=fsdp", TRANSFORMERS),
    Refused("rnn_*", "train.checkpoint_activations=true", TRANSFORMERS),
    Refused("rnn_*", "train.compile=true", TRANSFORMERS),
    Refused("*translation", "validation.monitor=[!bl]*", "must be one of loss, bleu"),
    Refused("*language_model", "validation.monitor=[!l]*", "must be one of loss"),
    Refused("masked", "validation.monitor=[!l]*", "must be one of loss"),
    Refused("classify", "validation.monitor=bleu", "must be one of loss, accuracy, macro_f1, matthews"),
)
# Words that are trained elsewhere, and why not here.
ELSEWHERE = (("[!r]*", "train.compile=true", "it compiles for a minute: tests/unit/training/test_arrangement.py"),)
LOOKED_INTO = ("norm", "norm_position", "activation", "position", "attention", "cell")  # words for plan and inspect
FORECAST = ("translation", "language_model", "masked", "classify")
# Families whose every word takes half a minute; the others hold most words in `make test` already.
SLOW = ("translation", "language_model", "masked", "classify")
SOME_LONG = [pytest.param(task, marks=pytest.mark.long) if task in SLOW else task for task in TINY]
Case = dict[str, str]


def words_of(kind: Any) -> tuple[Any, ...]:
    """Returns the words of a closed set: of a ``Literal``, a bool, or a union that holds some; else nothing."""
    if kind is bool:
        return (True, False)
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    members = typing.get_args(kind) if typing.get_origin(kind) in (Union, UnionType) else ()
    return tuple(word for member in members for word in words_of(member))


def closed_sets(config: type, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yields each key whose words are a closed set with its words, as ``--set`` takes them; depth first.

    A table that may be left out stands there with its first key: its being there is the word.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if typing.get_origin(kind) is tuple:  # tables of a list, whose words have their tests where corpora are read
            continue
        members = (kind, *typing.get_args(kind))
        table = next((member for member in members if dataclasses.is_dataclass(member)), None)
        if table is not None:
            if type(None) in members:
                first = dataclasses.fields(table)[0]
                yield f"{prefix}{field.name}.{first.name}", [str(first.default)]
            yield from closed_sets(typing.cast(type, table), f"{prefix}{field.name}.")
        elif words := words_of(kind):
            yield prefix + field.name, [str(word).lower() if isinstance(word, bool) else word for word in words]


def recipes() -> dict[str, type]:
    """Returns the recipe of each task: the dataclasses in ``clearhead.tasks`` that have one word for ``task``."""
    classes: dict[str, type] = {}
    for place in pkgutil.walk_packages(tasks.__path__, "clearhead.tasks."):
        for member in vars(importlib.import_module(place.name)).values():
            if isinstance(member, type) and dataclasses.is_dataclass(member):
                words = words_of(typing.get_type_hints(member).get("task"))
                classes |= {words[0]: member} if len(words) == 1 else {}
    return classes


RECIPES = recipes()
WRITTEN = ("task", "own.model")  # keys that no --set changes
WORDS = {
    task: {key: words for key, words in closed_sets(recipe) if key not in WRITTEN} for task, recipe in RECIPES.items()
}


def entries(table: tuple[Any, ...], task: str, word: str) -> list[Any]:
    """Returns the entries of a table that are for a word of a task."""
    return [entry for entry in table if fnmatchcase(task, entry[0]) and fnmatchcase(word, entry[1])]


def beside(task: str, word: str) -> Case:
    """Returns a word with what it needs beside it, by key."""
    needed = [other for entry in entries(NEEDS, task, word) for other in entry.beside]
    return dict(other.split("=") for other in (word, *needed))


def goes_with(task: str, case: Case, more: Case) -> bool:
    """Whether all words of two cases can stand in one recipe, and all of them count there."""
    both = case | more
    if any(case[key] != more[key] for key in case.keys() & more.keys()):
        return False
    given = {key for key in both if key.startswith(("model.", "tokenizer."))}
    if "start" in both and given - ({"tokenizer.kind"} if both["start"] == "FOLDER" else set()):
        return False  # sizes and tokenizer are those of the trained model
    spelled = {f"{key}={word}" for key, word in both.items()}
    return not any(fnmatchcase(task, entry.tasks) and spelled.issuperset(entry.words) for entry in APART)


def trained_words(task: str) -> list[str]:
    """Returns the words that a task is to be trained with, the first of each set first."""
    sets = WORDS[task]
    ordered = [f"{key}={words[at]}" for at in range(50) for key, words in sets.items() if at < len(words)]
    return [word for word in ordered if not entries(REFUSED, task, word) and not entries(ELSEWHERE, task, word)]


def cases(task: str) -> list[Case]:
    """Returns few recipes that together have each word, with what it needs and without what it excludes."""
    found: list[Case] = []
    for word in trained_words(task):
        more = beside(task, word)
        fitting = next((case for case in found if goes_with(task, case, more)), None)
        if fitting is None:
            found.append(more)
        else:
            fitting |= more
    return found


class Bench(NamedTuple):
    """Where the recipes and texts are, and how a verb is called."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def say(self, *words: object) -> Said:
        return clearhead(self.capsys, *words)

    def text(self, task: str) -> Path:
        """Returns the text of a task."""
        return self.folder / {"classify": "labelled"}.get(task, "pairs" if "translation" in task else "documents")

    def start(self, task: str, case: Case) -> str:
        """Returns what a case begins with: a trained run, or such a run in the layout of Hugging Face."""
        base = "masked" if task == "classify" else task
        run, there = self.folder / f"start-{base}", self.folder / f"start-{base}-folder"
        if not run.exists():
            kind = ("wordpiece", 60) if base == "masked" else ("byte_bpe", 270)
            pieces = [f"tokenizer.{key}={value}" for key, value in zip(("kind", "vocab_size"), kind, strict=True)]
            assert self.train(base, run, pieces).code == 0
            if base in ("masked", "language_model"):
                assert self.say("export", run, "--to", "hf", "--out", there).code == 0
        return str(there if case["start"] == "FOLDER" else run)

    def settings(self, task: str, case: Case) -> list[str]:
        """Returns a case as ``--set`` takes it."""
        return [f"{k}={self.start(task, case) if k == 'start' else v}" for k, v in case.items()]

    def train(self, task: str, run: Path, settings: list[str], *options: str) -> Said:
        recipe = write_recipe(self.folder / f"{task}.toml", tiny(task, started="start=" in " ".join(settings)))
        where = () if "--dry-run" in options else ("--out", run)
        return self.say("train", recipe, "--data", self.text(task), *where, *sets(settings), *options)

    def problem(self, task: str, case: Case, run: Path) -> str:
        """Trains a case, looks at its run, uses it, and says what went wrong."""
        settings = self.settings(task, case)
        if (trained := self.train(task, run, settings)).code:
            return trained.err.splitlines()[-1]
        if wrong := wrong_run(run, case):
            return wrong
        verbs = [tuple(run if word == "RUN" else word for word in TINY[task][1])]
        if any(key.split(".")[-1] in LOOKED_INTO for key in case) and task != "ngram":
            verbs.append(("inspect", run, "model"))
            if task in FORECAST:
                verbs.append(("plan", "--rate", "1", self.folder / f"{task}.toml", *sets(settings)))
        for verb in verbs:
            if (said := self.say(*verb)).code or not said.out:
                return f"{verb[0]}: exit {said.code}: {said.err}"
        return ""


def tiny(task: str, *, started: bool) -> dict[str, Any]:
    """Returns the smallest recipe; what starts from a trained model takes sizes and tokenizer from there."""
    tree = {"task": task, **TINY[task][0], **({} if task == "ngram" else {"train": TRAIN})}
    return {key: table for key, table in tree.items() if not started or key not in ("tokenizer", "model")}


def sets(settings: list[str]) -> list[str]:
    return [option for setting in settings for option in ("--set", setting)]


def wrong_run(run: Path, case: Case) -> str:
    """Says what is wrong with a trained run: a word that did not count, a loss that is none, no checkpoint."""
    recipe = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    for key, word in case.items():
        value = reduce(lambda tree, name: tree.get(name, {}), key.split("."), typing.cast(Any, recipe))
        decided = (key, word) == ("train.precision", "auto") and value in ("float32", "bfloat16")
        if key != "start" and not decided and str(value).lower() != word.lower():
            return f"{key} = {value!r} in the run's recipe"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [table["loss"] for line in lines for table in (line, line.get("scores", {})) if "loss" in table]
    if not losses or not all(map(math.isfinite, losses)):
        return f"losses {losses}"
    return "" if (run / "ngram.npz").exists() or any((run / "checkpoints").iterdir()) else "no checkpoint"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a parallel corpus, documents that every separator divides, and labelled lines."""
    folder = tmp_path_factory.mktemp("words")
    english = [f"{one} {two}." for one in ("a cat", "the dog", "my hat") for two in ("ran", "sat", "is red")]
    pairs = [("一只猫很红。" * (1 + at % 3), line) for at, line in enumerate(english)]
    document = " = The {} = \n\n{}\n{}\n\n<|endoftext|>\n\n"
    for stem in ("train", "valid"):
        write_split(folder / "pairs", stem, pairs)
        (folder / "documents" / stem).mkdir(parents=True)
        for number in range(2):
            text = "".join(document.format(at, english[at + number], english[-at - 1]) for at in range(4))
            (folder / "documents" / stem / f"{number}.txt").write_text(text, encoding="utf-8", newline="\n")
        lines = [{"label": line[:3], "number": at / 2, "text": line} for at, line in enumerate(english)]
        (folder / "labelled").mkdir(exist_ok=True)
        labelled = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "labelled" / f"{stem}.jsonl").write_text(labelled, encoding="utf-8", newline="\n")
    return folder


@pytest.fixture
def bench(texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    # half of the time of so short a run goes into its picture
    monkeypatch.setattr("clearhead.verbs.train.draw_curves", lambda metrics, picture: None)
    return Bench(texts, capsys)


def test_the_tables_name_what_is_there() -> None:
    assert set(RECIPES) == set(TINY) == set(typing.get_args(Task))
    everything = [(task, f"{key}={word}") for task, keys in WORDS.items() for key in keys for word in keys[key]]
    for entry in (*NEEDS, *REFUSED, *ELSEWHERE):
        assert any(entries((entry,), *place) for place in everything), f"no word for {entry}"
    for apart in APART:
        for word in apart.words:
            assert any(entries(((apart.tasks, word),), *place) for place in everything), f"no word for {apart}"


@pytest.mark.parametrize("task", TINY)
def test_every_word_is_in_a_case(task: str) -> None:
    covered = {f"{key}={word}" for case in cases(task) for key, word in case.items()}
    assert covered.issuperset(trained_words(task))


@pytest.mark.parametrize("task", SOME_LONG)
def test_every_word_trains_and_its_run_can_be_used(task: str, bench: Bench, tmp_path: Path) -> None:
    failures = []
    for number, case in enumerate(cases(task)):
        if problem := bench.problem(task, case, tmp_path / str(number)):
            alone = problems_of_words(task, case, bench, tmp_path / f"{number}-alone")
            failures.append(f"{alone or 'only together'}: {sets(bench.settings(task, case))}: {problem}")
    assert not failures, "\n".join(failures)


def problems_of_words(task: str, case: Case, bench: Bench, folder: Path) -> dict[str, str]:
    """Trains each word of a case that failed by itself, to say which of them it was."""
    folder.mkdir()
    trained = {f"{key}={word}": beside(task, f"{key}={word}") for key, word in case.items() if key != "start"}
    problems = {word: bench.problem(task, more, folder / str(at)) for at, (word, more) in enumerate(trained.items())}
    return {word: problem for word, problem in problems.items() if problem}


def refusals() -> list[tuple[str, tuple[str, ...], str]]:
    """Returns (task, words, rule) of all that the tables say is refused."""
    found: list[tuple[str, tuple[str, ...], str]] = []
    for task, keys in WORDS.items():
        for word in (f"{key}={word}" for key, words in keys.items() for word in words):
            found += [(task, (word,), entry.rule) for entry in entries((*NEEDS, *REFUSED), task, word)]
        for entry in APART:
            words = [other for word in entry.words for other in ("=".join(pair) for pair in beside(task, word).items())]
            there = all(word.split("=")[0] in keys for word in entry.words)
            found += [(task, tuple(words), entry.rule)] if there and fnmatchcase(task, entry.tasks) else []
    return found


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("task", TINY)
def test_what_is_refused_is_refused_in_one_line_that_says_the_rule(task: str, bench: Bench, tmp_path: Path) -> None:
    wrong = []
    for number, (_, words, rule) in enumerate(one for one in refusals() if one[0] == task):
        settings = bench.settings(task, dict(word.split("=") for word in words))
        said = bench.train(task, tmp_path / str(number), settings)
        lines = said.err.splitlines()
        clear = len(lines) == 1 and rule in lines[0] and lines[0].startswith("clearhead: ") and said.code in (2, 3)
        if not clear or "unexpected" in said.err or (tmp_path / str(number)).exists():
            wrong.append(f"{words}: exit {said.code}: {said.err}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("task", TINY)
def test_a_number_where_a_table_is_due_is_refused_in_one_line(task: str, bench: Bench, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml", tiny(task, started=False))
    tables = sorted({key.split(".")[0] for key in WORDS[task] if "." in key})
    for key in tables:
        for verb in (("train", recipe, "--data", bench.text(task)), ("plan", "--rate", "1", recipe)):
            said = bench.say(*verb, "--set", f"{key}=3")
            rule = "only Transformers are forecast" if verb[0] == "plan" and task == "ngram" else "this is a table"
            assert_one_line(said, 2, rule)


@pytest.mark.parametrize("task", [task for task in SOME_LONG if task != "ngram"])
def test_a_dry_run_takes_what_training_takes(task: str, bench: Bench, tmp_path: Path) -> None:
    wanted = [word for word in trained_words(task) if word.split("=")[0].split(".")[-1] in ("norm", "cell")]
    for word in wanted:
        said = bench.train(task, tmp_path / "none", bench.settings(task, beside(task, word)), "--dry-run")
        assert said.code == 0, f"{word}: {said.err}"
