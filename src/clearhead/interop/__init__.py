"""Models of other libraries: converts their configs, tensors and tokenizers to ours and back, without the libraries."""
