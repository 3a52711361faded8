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
from pathlib import Path

import jaxtyping
import pytest

assert "clearhead" not in sys.modules, "clearhead was imported before its shapes could be checked"
jaxtyping.install_import_hook("clearhead", "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case of bytes after its argument: every worker must collect the same ids, and bytes may hold a clock."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for encoded data in place of the user's, for this process and those that it starts."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CLEARHEAD_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a parallel corpus of a few dozen sentences."""
    from tests import toy

    return toy.write_corpus(tmp_path_factory.mktemp("toy"), toy.demo_lines(toy.PAIRS + 2 * toy.HELD_OUT))


@pytest.fixture(scope="session")
def toy_run(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the toy corpus; tests read it and copy it where they change something."""
    from clearhead.verbs.train import train
    from tests import toy

    folder = tmp_path_factory.mktemp("toy-run")
    return train(toy.write_recipe(folder / "toy.toml"), data=toy_data, out=folder / "run").run


@pytest.fixture(scope="session")
def toy_lm_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a language model that has learned a few dozen lines, each in Chinese and then in English."""
    from clearhead.verbs.train import train
    from tests import toy

    folder = tmp_path_factory.mktemp("toy-lm-run")
    lines = [f"{zh} {en}" for zh, en in toy.demo_lines(toy.PAIRS + toy.HELD_OUT)]
    data, recipe = toy.write_documents(folder / "data", lines), toy.write_recipe(folder / "lm.toml", toy.LANGUAGE_MODEL)
    return train(recipe, data=data, out=folder / "run").run


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled lines of two classes."""
    from tests import toy

    folder = tmp_path_factory.mktemp("labelled")
    return toy.write_labelled(folder, toy.labelled_lines(120), toy.labelled_lines(30, seed=1))


@pytest.fixture(scope="session")
def toy_classifier(labelled: Path) -> Path:
    """The run of a classifier that has learned the labelled lines."""
    from clearhead.verbs.train import train
    from tests import toy

    recipe = toy.write_recipe(labelled.parent / "classify.toml", toy.CLASSIFY)
    return train(recipe, data=labelled, out=labelled.parent / "toy-classifier").run


@pytest.fixture(scope="session")
def toy_pair_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a classifier of pairs; its folder ``data`` holds them."""
    from clearhead.verbs.train import train
    from tests import toy

    folder = tmp_path_factory.mktemp("pairs")
    lines = [toy.labelled_lines(count, seed, pairs=True) for count, seed in ((40, 0), (8, 1))]
    data, recipe = toy.write_labelled(folder / "data", *lines), toy.write_recipe(folder / "pairs.toml", toy.CLASSIFY)
    return train(recipe, data=data, out=folder / "run", overrides=["finetune.epochs=1"]).run


@pytest.fixture(scope="session")
def toy_baselines(toy_lm_run: Path) -> dict[str, Path]:
    """By task, the runs of a recurrent and an n-gram model that have learned the same lines by the same pieces."""
    from clearhead.verbs.train import train
    from tests import toy

    folder, found = toy_lm_run.parent, {}
    for task, tree in toy.BASELINES.items():
        words = {name: toy.LANGUAGE_MODEL[name] for name in ("tokenizer", "data")}
        recipe = toy.write_recipe(folder / f"{task}.toml", {"task": task, **words, **tree})
        found[task] = train(recipe, data=folder / "data", out=folder / task).run
    return found


@pytest.fixture(scope="session")
def toy_masked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a BERT that has read a few dozen documents, which are in ``data`` beside it."""
    from clearhead.verbs.train import train
    from tests import toy

    folder = tmp_path_factory.mktemp("toy-masked-run")
    data = toy.write_articles(folder / "data", [english for _, english in toy.demo_lines(160)])
    return train(toy.write_recipe(folder / "masked.toml", toy.MASKED), data=data, out=folder / "run").run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora, beside the checkout or where CLEARHEAD_DATA says; skips without one."""
    beside = ROOT.parent / "shared" / "data"
    named = os.environ.get("CLEARHEAD_DATA")
    for folder in [beside, Path(named)] if named else [beside]:
        if folder.is_dir():
            return folder
    pytest.skip("no real data: neither ../shared/data nor CLEARHEAD_DATA is a folder")
