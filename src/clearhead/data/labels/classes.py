"""Labels that are classes: a label that can be none is refused, with the reason why it came to be."""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from clearhead.errors import DataError, nearest

FEW = 20
"""Classes that a message lists."""
MISSING = frozenset(["NaN", "<NA>"])
MISSING_NUMBERS = frozenset(["nan", "na", "n/a", "none", "null"])
"""What programs write for a missing value: the first names no class, the others (in lower case) none among numbers."""
LABEL_WORDS = frozenset("label labels class category target gold_label sentiment intent".split())
TEXT_WORDS = frozenset("text text_a text_b sentence sentence1 sentence2 premise hypothesis question review".split())


def check_classes(labels: Counter[str], places: Mapping[str, str], file: str) -> None:
    """Checks that the labels of the training lines can be classes.

    Args:
        labels: how many lines have each; at least one label.
        places: the place of the first line with each label, for errors.
        file: name of the file, for errors.

    Raises:
        DataError: there is one label only, there are nearly as many as lines, or two are spellings of one.
    """
    spelled: dict[float | str, str] = {}
    for label, where in places.items():
        other = spelled.setdefault(float(label) if is_number(label) else unicodedata.normalize("NFC", label), label)
        if other != label:
            what = f"label {short(label)} is {short(other)} of {places[other]} in another spelling"
            raise DataError(f"{where}: {what}: spell a class in one way")
    if len(labels) == 1:
        raise DataError(f"{file}: every line has the label {short(*labels)}, at least two classes are needed")
    alone = sum(count == 1 for count in labels.values())
    if len(labels) >= 10 and 4 * alone >= 3 * labels.total():
        fix = "is it the text? A line of TSV begins with the label; of CSV and JSONL data.label_field names it"
        if all(map(is_number, labels)):
            fix = "labels that are numbers need data.kind = 'number'"
        raise DataError(f"{file}: {len(labels):,} different labels in {labels.total():,} lines; {fix}")


def check_missing(places: Mapping[str, str]) -> None:
    """Checks that no label marks a missing value.

    Args:
        places: the place of the first line with each label.

    Raises:
        DataError: one does.
    """
    numbers = len(places) > 1 and all(is_number(label) or label.lower() in MISSING_NUMBERS for label in places)
    for label, where in places.items():
        if label in MISSING or (numbers and label.lower() in MISSING_NUMBERS):
            raise DataError(f"{where}: label {label!r} marks a missing value: leave the line out, or name the class")


def known_class(label: str, classes: Sequence[str], where: str) -> str:
    """Returns a label as it is among the classes of training.

    Raises:
        DataError: it is not; ``where`` is its place.
    """
    if label in classes:
        return label
    if f"{label}.0" in classes:  # a number of JSON, as it was written before 1 and 1.0 were one class
        return f"{label}.0"
    hint = nearest(label, classes) if len(classes) <= FEW else ""
    if len(classes) > FEW and all(map(is_number, (label, *classes))):
        hint = "; labels that are numbers need data.kind = 'number'"
    raise DataError(f"{where}: label {short(label)} is not in the training lines{hint}")


def check_no_header(fields: Sequence[str], where: str) -> None:
    """Checks the fields of the first line of a TSV file, which begins with a label and names no columns.

    Raises:
        DataError: it names columns.
    """
    words = {field.strip().casefold() for field in fields}
    if words & LABEL_WORDS and words & TEXT_WORDS:
        rule = "names columns, as a TSV file does not: delete it; a line is label<TAB>text"
        raise DataError(f"{where}: {rule} or label<TAB>text<TAB>second text")


def is_number(label: str) -> bool:
    """Says whether a label is a finite number."""
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def short(label: str) -> str:
    """Returns a label for a message, in quotes: what is taken for one may be a whole text."""
    return repr(label) if len(label) <= 60 else f"{label[:60]!r}..."
