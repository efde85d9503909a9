"""How the tests run gunicorn's examples: without dirty workers of its own.

The Go test listens and hands the socket over as file descriptor 3.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "app"))
import parent  # noqa: E402

bind = "fd://3"
workers = 2
control_socket_disable = True


def when_ready(_server):
    parent.end_with_parent()
