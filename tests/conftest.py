"""What every test shares: checked shapes, one thread, no network, the real data where it is at hand."""

import os

# Before torch is loaded anywhere: pytest-xdist already fills the cores, and one thread makes sums repeatable.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# Messages are compared in English, whatever the machine speaks.
os.environ.pop("LC_ALL", None)
os.environ.pop("LANGUAGE", None)
os.environ["LANG"] = "C.UTF-8"

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

from tests.once import changed_files, make_once
from tests.serving import toy_asking, toy_server, toy_site  # noqa: F401 - fixtures

assert "clearhead" not in sys.modules, "clearhead was imported before its shapes could be checked"
jaxtyping.install_import_hook("clearhead", "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]
# fixtures that are folders of the suite, each called as its folder
SHARED = {
    "toy_data",
    "toy_run",
    "toy_lm_run",
    "labelled",
    "toy_classifier",
    "toy_pair_classifier",
    "toy_baselines",
    "toy_masked_run",
    "stories",
}

# what is put together in these rooms is checked, piece by piece, in others
UNCHECKED = ("e2e/", "reliability/", "unit/cli/", "unit/verbs/")
# what runs a model many times over is checked in the first case of a test; others check the models themselves
CHECKED_ONCE = tuple(f"unit/{room}/" for room in ("decode", "engine", "inspect", "tasks", "training"))
CASE = pytest.StashKey[int]()
SLOW = SHARED | {"shared_data", "toy_asking", "toy_server", "toy_site"}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case of bytes after its argument: every worker must collect the same ids, and bytes may hold a clock."""
    return argname if isinstance(val, bytes) else None


def repeats(item: pytest.Item, room: str) -> bool:
    """Whether a case runs a model as the first case of its test did."""
    return room.startswith(CHECKED_ONCE) and item.stash[CASE] > 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Checks shapes at each call, but in tests that train long, and in rooms whose modules have no shapes to check."""
    room = item.path.relative_to(ROOT / "tests").as_posix()
    unchecked = room.startswith(UNCHECKED) or item.get_closest_marker("unchecked") is not None
    jaxtyping.config.update("jaxtyping_disable", unchecked or repeats(item, room))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Counts the cases of each test, and marks what ``make test`` leaves out, and what ``make quick`` may run."""
    cases: Counter[str] = Counter()
    for item in items:
        name, room = item.nodeid.partition("[")[0], item.path.relative_to(ROOT / "tests").as_posix()
        item.stash[CASE] = cases[name]
        cases[name] += 1
        mark = item.get_closest_marker("long_but")
        if mark and item.stash[CASE] % mark.kwargs["every"]:
            item.add_marker("long")
        if not (
            repeats(item, room)
            or SLOW.intersection(getattr(item, "fixturenames", ()))
            or item.get_closest_marker("long")
        ):
            item.add_marker("quick")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders for encoded data and for what is remembered in place of the user's, also for processes started here."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CLEARHEAD_CACHE"] = str(folder)
    os.environ["CLEARHEAD_STATE"] = str(tmp_path_factory.mktemp("state"))
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this suite share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "suite"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def unchanged(request: pytest.FixtureRequest, suite: Path) -> Iterator[None]:
    """Fails a test that changes what the suite shares."""
    yield
    for name in sorted(SHARED.intersection(request.fixturenames)):
        changed = changed_files(suite / name)
        assert not changed, f"{name} is shared by all tests, and this one changed {', '.join(changed)}: copy it first"


@pytest.fixture(scope="session")
def toy_data(suite: Path) -> Path:
    """A folder with a parallel corpus of a few dozen sentences."""
    from tests import toy

    pairs = toy.PAIRS + 2 * toy.HELD_OUT
    return make_once(suite, "toy_data", lambda folder: toy.write_corpus(folder, toy.demo_lines(pairs)))


@pytest.fixture(scope="session")
def toy_run(suite: Path, toy_data: Path) -> Path:
    """A run that has learned the toy corpus."""
    from tests import toy

    return make_once(suite, "toy_run", lambda folder: toy.learn(folder, toy.RECIPE, toy_data)) / "run"


@pytest.fixture(scope="session")
def two_ways(suite: Path) -> Path:
    """A folder with a ``run`` that translates between Chinese and English, and the toy corpora that it has learned."""
    from tests import toy

    def make(folder: Path) -> None:
        pairs = toy.demo_lines(toy.PAIRS + 2 * toy.HELD_OUT)
        toy.write_corpus(folder / "one", pairs)
        toy.write_corpus(folder / "other", pairs[:40])
        toy.learn(folder, toy.TWO_WAYS, folder)

    return make_once(suite, "two_ways", make)


@pytest.fixture(scope="session")
def stories(suite: Path) -> Path:
    """A folder with a ``run`` that reads the line before each, and the short documents that it has learned."""
    from tests import toy

    return make_once(suite, "stories", lambda folder: toy.learn(folder, toy.CONTEXT, toy.write_stories(folder)))


@pytest.fixture(scope="session")
def toy_lm_run(suite: Path) -> Path:
    """The run of a language model that has learned the lines of ``data`` beside it, each in Chinese and in English."""
    from tests import toy

    def make(folder: Path) -> None:
        lines = [f"{zh} {en}" for zh, en in toy.demo_lines(toy.PAIRS + toy.HELD_OUT)]
        toy.learn(folder, toy.LANGUAGE_MODEL, toy.write_documents(folder / "data", lines))

    return make_once(suite, "toy_lm_run", make) / "run"


@pytest.fixture(scope="session")
def labelled(suite: Path) -> Path:
    """A folder with labelled lines of two classes."""
    from tests import toy

    lines = [toy.labelled_lines(count, seed) for count, seed in ((120, 0), (30, 1))]
    return make_once(suite, "labelled", lambda folder: toy.write_labelled(folder, *lines))


@pytest.fixture(scope="session")
def toy_classifier(suite: Path, labelled: Path) -> Path:
    """The run of a classifier that has learned the labelled lines."""
    from tests import toy

    return make_once(suite, "toy_classifier", lambda folder: toy.learn(folder, toy.CLASSIFY, labelled)) / "run"


@pytest.fixture(scope="session")
def toy_pair_classifier(suite: Path) -> Path:
    """The run of a classifier that has seen pairs, which are in ``data`` beside it, once."""
    from tests import toy

    def make(folder: Path) -> None:
        lines = [toy.labelled_lines(count, seed, pairs=True) for count, seed in ((40, 0), (8, 1))]
        toy.learn(folder, {**toy.CLASSIFY, "finetune": {"epochs": 1}}, toy.write_labelled(folder / "data", *lines))

    return make_once(suite, "toy_pair_classifier", make) / "run"


@pytest.fixture(scope="session")
def toy_baselines(suite: Path, toy_lm_run: Path) -> dict[str, Path]:
    """By task, the runs of a recurrent and an n-gram model of the lines and pieces of ``toy_lm_run``."""
    from tests import toy

    def make(folder: Path) -> None:
        shared = {name: toy.LANGUAGE_MODEL[name] for name in ("tokenizer", "data")}
        for task, tree in toy.BASELINES.items():
            toy.learn(folder, {"task": task, **shared, **tree}, toy_lm_run.parent / "data", name=task)

    folder = make_once(suite, "toy_baselines", make)
    return {task: folder / task for task in toy.BASELINES}


@pytest.fixture(scope="session")
def toy_masked_run(suite: Path) -> Path:
    """The run of a BERT that has read a few dozen documents, which are in ``data`` beside it."""
    from tests import toy

    def make(folder: Path) -> None:
        data = toy.write_articles(folder / "data", [english for _, english in toy.demo_lines(160)])
        toy.learn(folder, toy.MASKED, data)

    return make_once(suite, "toy_masked_run", make) / "run"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora, beside the checkout or where CLEARHEAD_DATA says; skips without one."""
    beside = ROOT.parent / "shared" / "data"
    named = os.environ.get("CLEARHEAD_DATA")
    for folder in [beside, Path(named)] if named else [beside]:
        if folder.is_dir():
            return folder
    pytest.skip("no real data: neither ../shared/data nor CLEARHEAD_DATA is a folder")
