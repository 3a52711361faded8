"""Folders of sentence-transformers: vectors are theirs, of a run and of its export, or a module is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.errors import ModelError
from clearhead.interop.sentence import read_sentence, write_sentence
from clearhead.models.embedding import EmbeddingConfig
from clearhead.tasks.masked.model import MaskedModel
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.run import export_run
from tests.foreign import write_bert, write_gpt2

TYPES = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"
TEXTS = ["He eats an apple", "我吃了一个苹果。 a well-known apple", "an [MASK] apple [SEP] He", ""]


def write_modules(folder: Path, pooling: dict[str, Any], types: list[str], **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    paths = ["", *(f"{at}_{kind.rpartition('.')[2]}" for at, kind in enumerate(types) if at)]
    modules = [{"idx": at, "name": str(at), "path": path, "type": types[at]} for at, path in enumerate(paths)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def assert_same_vectors(run: Path, folder: Path) -> None:
    transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    expected = transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(MaskedModel.load(run).embed(TEXTS, overlong="truncate"), expected, atol=1e-5)


@pytest.mark.long_but(every=3)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("pooling", "types", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, [], EmbeddingConfig("first", False, 9)),
        ({"pooling_mode": "mean"}, [NORMALIZE], EmbeddingConfig("mean", True, 9)),
        ({"pooling_mode": ["max"]}, [NORMALIZE], EmbeddingConfig("max", True, 9)),
    ],
)
def test_vectors_are_those_of_their_library(
    pooling: dict[str, Any], types: list[str], expected: EmbeddingConfig, tmp_path: Path
) -> None:
    """Padded with each other, cut at their length, with special pieces in the text; and again after the way back."""
    folder = write_bert(tmp_path / "theirs", "BertModel")
    write_modules(folder, pooling, [*TYPES, *types], sentence_bert_config={"max_seq_length": 9})
    run, imported = import_run(folder, tmp_path / "run")
    assert imported.recipe.embedding == expected
    assert_same_vectors(run, folder)
    back = export_run(run, tmp_path / "back")
    assert_same_vectors(run, back)
    assert import_run(back, tmp_path / "again")[1].recipe.embedding == expected


@pytest.mark.parametrize(
    ("pooling", "types", "files", "message"),
    [
        ({"pooling_mode": "lasttoken"}, TYPES, {}, "1_Pooling/config.json: pooling_mode = 'lasttoken': must be 'mean'"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            TYPES,
            {},
            r"1_Pooling/config.json: pooling_mode = \['mean', 'max'\]: must be 'mean'",
        ),
        ({"pooling_mode_weightedmean_tokens": True}, TYPES, {}, "pooling_mode = 'pooling_mode_weightedmean_tokens'"),
        ({"word_embedding_dimension": 8}, TYPES, {}, "word_embedding_dimension = 8: must be 32"),
        ({}, [*TYPES, "sentence_transformers.models.Dense"], {}, "module 2 is 'sentence_transformers.models.Dense'"),
        ({}, [*TYPES, "mine.Normalize"], {}, "module 2 is 'mine.Normalize': must be Transformer, Pooling or Normalize"),
        ({}, [TYPES[0], NORMALIZE], {}, "the modules are Transformer, Normalize: must be Transformer and Pooling"),
        ({}, TYPES, {"sentence_bert_config": {"do_lower_case": True}}, "do_lower_case = True: must be False"),
        (
            {},
            TYPES,
            {"config_sentence_transformers": {"default_prompt_name": "query"}},
            "default_prompt_name = 'query'",
        ),
        ({}, TYPES, {"config_sentence_transformers": {"truncate_dim": 8}}, "truncate_dim = 8: must be None or 32"),
    ],
)
def test_what_ours_does_not_make_is_refused_by_name(
    pooling: dict[str, Any], types: list[str], files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write_modules(tmp_path / "theirs", pooling, types, **files)
    with pytest.raises(ModelError, match=message):
        read_sentence(folder, 32, 40, {})


def test_paths_stay_inside_the_folder(tmp_path: Path) -> None:
    folder = write_modules(tmp_path / "theirs", {}, TYPES)
    modules = json.loads((folder / "modules.json").read_text())
    for number, path, rule in ((1, "../elsewhere", "the name of a folder inside"), (0, "0_Bert", "the folder itself")):
        changed = [dict(module, path=path) if at == number else module for at, module in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(changed))
        with pytest.raises(ModelError, match=rule):
            read_sentence(folder, 32, 40, {})


def test_other_models_make_no_vectors(tmp_path: Path) -> None:
    folder = write_modules(write_gpt2(tmp_path / "theirs"), {}, TYPES)
    with pytest.raises(
        ModelError, match=r"has modules.json: vectors of texts are made by a BERT without an output layer"
    ):
        import_run(folder, tmp_path / "run")


def test_lengths_that_limit_nothing_are_left_out(tmp_path: Path) -> None:
    folder = write_modules(tmp_path / "theirs", {}, TYPES)
    assert read_sentence(folder, 32, 40, {"model_max_length": 40}) == EmbeddingConfig()
    assert read_sentence(folder, 32, 40, {"model_max_length": 12}) == EmbeddingConfig(max_seq_len=12)
    assert read_sentence(tmp_path, 32, 40, {}) is None
    limits = json.loads(write_sentence(EmbeddingConfig(), d_model=32, max_seq_len=40)["sentence_bert_config.json"])
    assert limits["max_seq_length"] == 40


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_trained_here(toy_masked_run: Path, tmp_path: Path) -> None:
    """Its export gives the same vectors there, also of texts that spell special pieces."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    folder = export_run(toy_masked_run, tmp_path / "exported")
    texts = [*TEXTS, "the river [SEP] froze", "</s>an [MASK] [MASK]apple <pad>", "<unk>"]
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(MaskedModel.load(toy_masked_run).embed(texts), expected, atol=1e-5)
