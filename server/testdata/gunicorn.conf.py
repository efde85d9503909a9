"""How web_test.go runs gunicorn: in the folder SERVER_FOLDER, without dirty workers."""

import os
import signal
import sys
import threading

_folder = os.environ["SERVER_FOLDER"]
proc_name = os.path.basename(_folder)
chdir = os.path.dirname(os.path.abspath(__file__))
bind = "unix:" + os.path.join(_folder, "http.sock")
worker_tmp_dir = _folder
workers = 2
graceful_timeout = 1
control_socket_disable = True
dirty_workers = 0


def when_ready(_server):
    """Standard input is a pipe from the test: when that ends, so do we."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    sys.stdin.buffer.raw.read(1)
    os.killpg(0, signal.SIGKILL)
