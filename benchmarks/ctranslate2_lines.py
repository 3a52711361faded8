"""Translates stdin's lines by CTranslate2, for commands.py: FOLDER of an export, then KIND WORKERS THREADS BATCH."""

import sys

import ctranslate2
from tokenizers import Tokenizer

folder, kind, workers, threads, batch = *sys.argv[1:3], *map(int, sys.argv[3:])
source, target = (Tokenizer.from_file(f"{folder}/{side}_tokenizer.json") for side in ("source", "target"))
source.encode_special_tokens = True
pieces = [cut.tokens for cut in source.encode_batch(sys.stdin.read().splitlines(), add_special_tokens=False)]
translator = ctranslate2.Translator(folder, compute_type=kind, inter_threads=workers, intra_threads=threads)
options = {"min_decoding_length": 0, "max_input_length": 0, "disable_unk": True, "max_decoding_length": 127}
results = translator.translate_batch(pieces, beam_size=5, max_batch_size=batch, **options)
texts = target.decode_batch([[target.token_to_id(piece) for piece in result.hypotheses[0]] for result in results])
print("\n".join(texts))
