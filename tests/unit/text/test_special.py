"""The special ids are part of every saved tokenizer and checkpoint: they never move."""

import subprocess
import sys

from clearhead.text.special import BOS, EOS, PAD, SPECIAL_IDS, SPECIALS, UNK


def test_ids_are_fixed() -> None:
    ids = SPECIAL_IDS
    assert (ids.pad, ids.bos, ids.eos, ids.unk) == (0, 1, 2, 3)
    assert [SPECIALS[i] for i in (ids.pad, ids.bos, ids.eos, ids.unk)] == [PAD, BOS, EOS, UNK]


def test_importing_them_loads_no_library() -> None:
    code = "import sys, clearhead.text.special; print({'torch', 'numpy', 'tokenizers'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
