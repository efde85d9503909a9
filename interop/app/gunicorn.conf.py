"""How the tests run gunicorn. DIRTY_INTEROP_DIR is the instance's own folder."""

import os
import signal
import sys
import threading

_folder = os.environ["DIRTY_INTEROP_DIR"]

# Two instances of one proc_name and TMPDIR kill each other's arbiters.
proc_name = os.path.basename(_folder)
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi:application"
bind = "unix:" + os.path.join(_folder, "http.sock")
workers = 1
graceful_timeout = 2
control_socket_disable = True  # 25.1 puts it into the app's folder

dirty_apps = ["dirtyapp:App"]
dirty_workers = 1
dirty_timeout = int(os.environ["DIRTY_INTEROP_TIMEOUT"])
dirty_graceful_timeout = 1


def on_dirty_starting(arbiter):
    """Put the arbiter at a path that the tests know.

    Children have read the old path from the environment by now; the link keeps
    it good.
    """
    fixed = os.path.join(_folder, "arbiter.sock")
    os.symlink(fixed, arbiter.socket_path)
    arbiter.socket_path = fixed


def when_ready(_server):
    """Standard input is a pipe from whoever started us: when that ends, so do we."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    sys.stdin.buffer.raw.read(1)
    os.killpg(0, signal.SIGKILL)
