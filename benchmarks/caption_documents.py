"""Writes image captions as documents: a line a sentence where both sides have as many, a blank line between captions.

    caption_documents.py DATA/captions-zh-en OUT [--held-out 300]

Sentences of one caption belong together; captions do not. The last ``--held-out`` captions of several sentences that
the training files have become the split ``test``, and are in no other: more than half of its lines follow another one.
"""

import argparse
from pathlib import Path

from clearhead.data.corpus import read_parallel
from clearhead.text.sentences import split_sentences

Caption = list[tuple[str, str]]


def captions_of(folder: Path, stem: str) -> list[Caption]:
    """Returns the captions of a split, each as pairs of sentences."""
    found = []
    for _, zh, en in read_parallel(folder, stem=stem, src="zh", tgt="en"):
        sides = [[part.strip() for part in split_sentences(text, code)] for text, code in ((zh, "zh"), (en, "en"))]
        same = len(sides[0]) == len(sides[1])
        found.append([*zip(*sides, strict=True)] if same else [(zh.strip(), en.strip())])
    return found


def write(folder: Path, stem: str, captions: list[Caption]) -> None:
    """Writes a split."""
    for side, code in enumerate(("zh", "en")):
        documents = ("".join(f"{pair[side]}\n" for pair in caption) for caption in captions)
        (folder / f"{stem}.{code}").write_text("\n".join(documents), encoding="utf-8", newline="\n")


def main() -> None:
    """Writes the splits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", type=int, default=300)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    train, valid = (captions_of(asked.data, stem) for stem in ("train", "valid"))
    several = [number for number, caption in enumerate(train) if len(caption) > 1]
    test = set(several[-asked.held_out :])
    write(asked.out, "train", [caption for number, caption in enumerate(train) if number not in test])
    write(asked.out, "valid", valid)
    write(asked.out, "test", [train[number] for number in sorted(test)])
    print(f"{len(train) - len(test)} captions to train on, {len(several) - len(test)} of them of several sentences")
    print(f"test: {sum(len(train[number]) for number in test)} sentences of {len(test)} captions")


if __name__ == "__main__":
    main()
