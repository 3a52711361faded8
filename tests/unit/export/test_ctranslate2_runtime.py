"""CTranslate2 as a runtime: its outputs and greedy texts are ours, for each class of model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.export.compare import compare_outputs
from clearhead.export.ctranslate2 import ctranslate2_files
from clearhead.export.ours import Ours
from clearhead.export.runtime import Exportable, Row
from clearhead.models.bert import Bert, BertConfig
from clearhead.nn.layer import BlockConfig
from clearhead.text.special import SPECIAL_IDS
from tests.small import VOCAB, random_rows, shake, small, small_gpt

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it is what runs here")
PIECES = ["<pad>", "<s>", "</s>", "<unk>", *(chr(ord("a") + at) for at in range(VOCAB - 4))]
NEVER = [0, 1, 3]
ROWS = [Row([*ids, 2], [1, *ids[:3]]) for ids in random_rows([5, 2, 8])]
BLOCK: dict[str, Any] = {"norm_eps": 1e-5, "attn_dropout": 0.0}


def bert() -> Bert:
    torch.manual_seed(0)
    config = BertConfig(d_model=16, d_ff=24, n_heads=2, n_layers=2, max_seq_len=16, block=BlockConfig(**BLOCK))
    model = Bert(config, vocab_size=VOCAB)
    shake(model)
    return model.eval()


MODELS: dict[str, Exportable] = {
    "log_probs": small(seed=3, block=BlockConfig(**BLOCK)),
    "logits": small_gpt(seed=3),
    "states": bert(),
}


@pytest.mark.parametrize("gives", MODELS)
def test_it_computes_and_writes_what_ours_does(gives: str, tmp_path: Path) -> None:
    from clearhead.export.ctranslate2_runtime import CTranslate2

    model, crossed = MODELS[gives], gives == "log_probs"
    pieces = {"source": PIECES, "target": PIECES} if crossed else {"": PIECES}
    for name, content in ctranslate2_files(model, pieces, ids=SPECIAL_IDS, quantize="float32").items():
        (tmp_path / name).write_bytes(content)
    theirs = CTranslate2(tmp_path, model, pieces=(PIECES, PIECES), ends=[2], never=NEVER)
    ours = Ours(model, ends=[2], never=NEVER)
    rows = ROWS if crossed else [Row(row.ids[:-1]) for row in ROWS]
    assert theirs.gives == gives
    assert compare_outputs(ours, theirs, rows)[0].equal
    written = theirs.greedy(rows, [6, 1, 4])
    assert written == ours.greedy(rows, [6, 1, 4])
    assert (written is None) == (gives == "states")
