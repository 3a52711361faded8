"""The dialect of OpenAI: models, completions, chat completions, embeddings, and their streams."""
