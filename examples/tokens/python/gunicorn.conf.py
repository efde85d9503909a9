"""How to run the app: gunicorn -c gunicorn.conf.py, with a path in DIRTY_SOCKET."""

import os

wsgi_app = "app:web"
bind = "unix:" + os.environ["DIRTY_SOCKET"] + ".http"
workers = 1
dirty_workers = 1
dirty_apps = ["app:LLM"]


def on_dirty_starting(arbiter):
    fixed = os.environ["DIRTY_SOCKET"]
    os.symlink(fixed, arbiter.socket_path)  # gunicorn's own processes look there
    arbiter.socket_path = fixed
