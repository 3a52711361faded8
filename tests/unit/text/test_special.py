"""The special ids are part of every saved tokenizer and checkpoint: they never move."""

import subprocess
import sys

from clearhead.text.special import ABSENT, BOS, EOS, PAD, SPECIAL_IDS, SPECIALS, UNK, SpecialIds, specials_of


def test_ids_are_fixed() -> None:
    ids = SPECIAL_IDS
    assert (ids.pad, ids.bos, ids.eos, ids.unk) == (0, 1, 2, 3)
    assert [SPECIALS[i] for i in (ids.pad, ids.bos, ids.eos, ids.unk)] == [PAD, BOS, EOS, UNK]


def test_masked_models_have_three_more() -> None:
    assert specials_of("sequence") == (SPECIALS, SPECIAL_IDS)
    pieces, ids = specials_of("masked")
    assert [pieces[i] for i in (ids.pad, ids.bos, ids.eos, ids.unk)] == [PAD, BOS, EOS, UNK]
    assert [pieces[i] for i in (ids.cls, ids.sep, ids.mask)] == ["[CLS]", "[SEP]", "[MASK]"]
    assert ids.never == (0, 1, 3, 4, 5, 6)


def test_a_vocabulary_without_padding_is_filled_with_what_it_has() -> None:
    ids = SpecialIds(pad=ABSENT, bos=ABSENT, eos=7, unk=ABSENT)
    assert ids.fill == 7
    assert ids.never == (), "what ends a text is part of it"
    assert SPECIAL_IDS.fill == SPECIAL_IDS.pad


def test_importing_them_loads_no_library() -> None:
    code = "import sys, clearhead.text.special; print({'torch', 'numpy', 'tokenizers'} & {*sys.modules})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
