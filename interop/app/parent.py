"""How gunicorn ends with the tests that started it, also if they crash."""

import os
import signal
import sys
import threading


def end_with_parent():
    """Standard input is a pipe from whoever started us: when that ends, so do we."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait():
    sys.stdin.buffer.raw.read(1)
    os.killpg(0, signal.SIGKILL)
