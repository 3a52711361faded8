"""The logger of the library, ``clearhead``: what happens, for programs that want to hear of it."""

import logging

LOG = logging.getLogger("clearhead")
# a library prints nothing by itself: without a handler, Python would print its warnings
LOG.addHandler(logging.NullHandler())
