"""The documentation site: its pages from docs/ and from the code, in two languages, built by zensical and checked."""
