"""The open questions of a student of Transformers, each answered by a program that measures and checks."""
