"""Text to ids and back: special pieces, normalization, sentence splitting, tokenizers."""
