"""What clients say and hear: OpenAI, LibreTranslate, DeepL."""
