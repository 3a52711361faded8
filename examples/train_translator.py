"""Trains a translator on two text files and uses it: translations, their alignment, a score on unseen sentences.

    python examples/train_translator.py                # the demo corpus, from Chinese to English
    python examples/train_translator.py DIR de en      # your own: DIR/train.de, train.en, valid.de, valid.en, test.*

A folder of your own deserves a recipe of its own size: begin with the preset ``translate-tiny`` in place of SMALL.
"""

import sys
import tempfile
from pathlib import Path

import sacrebleu

import clearhead
from clearhead.data.demo_corpus import write_demo_corpus
from clearhead.types import Stepped

# What the preset says otherwise; ``clearhead presets`` lists presets, docs/recipe.md all keys.
SMALL = ["tokenizer.vocab_size=1500", "model.d_model=64", "model.d_ff=128", "model.dropout=0", "model.position=rotary"]
SMALL += ["model.n_encoder_layers=1", "model.n_decoder_layers=1", "model.block.norm=rms", "optim.name=muon"]
SMALL += ["optim.ema_decay=0.9", "train.lr=0.02", "train.batch_tokens=640", "train.warmup_steps=20"]


class LossPrinter:
    """Receives every event of the run, and shows the loss now and then."""

    def __init__(self, every: int) -> None:
        self.every = every

    def write(self, event: object) -> None:
        """Shows a step that is due."""
        if isinstance(event, Stepped) and event.step % self.every == 0:
            print(f"step {event.step:>4}  loss {event.loss:.2f} nats a piece")

    def close(self) -> None:
        """Is called once, when the run has ended."""


def main(data: Path, src: str, tgt: str, run: Path, steps: int = 220) -> None:
    """Trains on ``data`` into the directory ``run``, then translates the sentences of the test split."""
    result = clearhead.train(
        "demo",
        data=data,
        out=run,
        overrides=[f"src={src}", f"tgt={tgt}", f"train.max_steps={steps}", *SMALL],
        writers=[LossPrinter(every=max(steps // 5, 1))],
    )
    print(f"{result.step} steps; {result.scores['loss']:.2f} nats a piece on the valid split\n")

    translator = clearhead.load(result.run, task="translation")
    sources, references = (
        (data / f"test.{language}").read_text(encoding="utf-8").splitlines()[:100] for language in (src, tgt)
    )
    translations = translator.translate(sources, beam=1)
    for source, translation, reference in list(zip(sources, translations, references, strict=True))[2:6]:
        print(f"{source}\n  -> {translation.text}\n  {'exactly' if translation.text == reference else reference}")

    first = translator.translate(sources[2], alignment=True)
    looked = [first.source_pieces[at] for at in first.alignment or ()]
    print("\neach piece with the source piece that it looked at most:")
    print("  " + "  ".join(f"{piece}<-{source}" for piece, source in zip(first.pieces, looked, strict=True)))

    texts = [translation.text for translation in translations]
    exact = sum(text == reference for text, reference in zip(texts, references, strict=True))
    chrf = sacrebleu.corpus_chrf(texts, [references]).score
    print(f"\n{exact} of {len(texts)} unseen sentences translated exactly, chrF {chrf:.1f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(folder, "run"))
        else:
            write_demo_corpus(Path(folder, "data"))
            main(Path(folder, "data"), "zh", "en", Path(folder, "run"))
