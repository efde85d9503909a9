"""How the tests of the command line run gunicorn, in the folder DIRTY_TEST_DIR."""

import os

chdir = os.path.dirname(os.path.abspath(__file__))
proc_name = os.path.basename(os.environ["DIRTY_TEST_DIR"])  # two of one name kill each other's arbiters
bind = "unix:" + os.path.join(os.environ["DIRTY_TEST_DIR"], "http.sock")
wsgi_app = "app:web"
workers = 1
control_socket_disable = True
graceful_timeout = 1
dirty_graceful_timeout = 1
dirty_timeout = 300
dirty_workers = 2
dirty_apps = ["app:App"]
