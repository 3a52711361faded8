"""The dialect of LibreTranslate: translate, detect, languages, settings of its page, files where they are on."""
