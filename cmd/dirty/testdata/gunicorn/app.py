"""An app for the tests of the command line."""

import os

from gunicorn.dirty.app import DirtyApp


def web(environ, start_response):
    start_response("204 No Content", [])
    return []


class App(DirtyApp):
    def add(self, a, b):
        return a + b

    def count(self, n):
        yield from range(n)

    def fail(self, message):
        raise ValueError(message)

    def pid(self):
        return os.getpid()

    def spin(self):
        while True:  # it never ends, and never lets anybody else run
            pass

    def close(self):
        pass
