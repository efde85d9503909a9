"""How the tests run gunicorn.

DIRTY_INTEROP_DIR is the instance's own folder, DIRTY_INTEROP_SETTINGS settings
that differ from those here, as JSON. With DIRTY_INTEROP_OWN_PATH the arbiter's
socket is where gunicorn puts it.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent  # noqa: E402

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
dirty_graceful_timeout = 1

globals().update(json.loads(os.environ["DIRTY_INTEROP_SETTINGS"]))


def _documented_hook():
    """The hook of docs/DEPLOY.md, just as it is there, but for the path."""
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "DEPLOY.md"
    code = page.read_text().split("```python\n", 1)[1].split("```", 1)[0]
    path = "/run/myapp/dirty.sock"
    if path not in code:
        raise ValueError(f"the first Python code of {page} is not the hook")
    names = {}
    exec(code.replace(path, os.path.join(_folder, "arbiter.sock")), names)
    return names["on_dirty_starting"]


if "DIRTY_INTEROP_OWN_PATH" not in os.environ:
    on_dirty_starting = _documented_hook()


def when_ready(_server):
    parent.end_with_parent()
