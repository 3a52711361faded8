"""The special pieces and their ids, the same in every tokenizer kind."""

import dataclasses

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
SPECIALS = (PAD, BOS, EOS, UNK)


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Where the special pieces stand: ``SPECIALS[id]`` is the piece."""

    pad: int = 0  # fills a batch, never attended to
    bos: int = 1  # first input of the decoder
    eos: int = 2  # ends a sentence
    unk: int = 3  # text that the vocabulary cannot spell; byte_bpe never needs it


SPECIAL_IDS = SpecialIds()
