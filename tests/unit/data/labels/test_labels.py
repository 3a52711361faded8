"""Labels say how many classes there are; numbers have a mean and a deviation."""

from clearhead.data.labels.labels import Labels


def test_labels_of_numbers_have_no_classes() -> None:
    assert Labels((), None).classes == ()
    assert (Labels((), None).mean, Labels((), None).deviation) == (0, 1)
    assert Labels(("no", "yes"), True) != Labels(("yes", "no"), True)
