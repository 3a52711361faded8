"""What may become of a text with more pieces than a model takes: the words of recipes, options and arguments."""

from typing import Literal

Overlong = Literal["split", "drop", "truncate", "truncate-left", "window", "error"]
"""All policies; below is which of them each kind of text has.

- split: the text is divided, at sentence ends where it has them, and every part is read.
- drop: the text is left out.
- truncate: its last pieces are left out.
- truncate-left: its first pieces are left out.
- window: the model reads on, and drops the older half of what it sees whenever that fills its context.
- error: the text is refused.
"""

OverlongPair = Literal["error", "drop", "truncate", "split"]
"""A sentence pair to learn from."""
OverlongSentence = Literal["split", "drop", "error"]
"""A sentence of a document to learn from."""
OverlongLine = Literal["truncate", "error"]
"""A labelled line."""
OverlongSource = Literal["split", "truncate", "error"]
"""A text to translate."""
SplitSource = Literal["sentences", "overlong", "never"]
"""What divides a text to translate: every sentence end, those of a text that is too long, or nothing."""
OverlongPrompt = Literal["error", "window", "truncate-left"]
"""A prompt to continue."""
OverlongText = Literal["error", "truncate"]
"""A text to embed."""
