"""What holds for all tests."""

import signal

from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("swapcore", deadline=None)
settings.load_profile("swapcore")

# A shell that runs the tests in the background has them ignore these, and so all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
