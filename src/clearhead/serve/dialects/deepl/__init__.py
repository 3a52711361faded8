"""The dialect of DeepL: translate, languages, usage, glossaries."""
