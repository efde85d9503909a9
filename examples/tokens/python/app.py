"""The model of the page: a dirty app whose action streams."""

import itertools
import time

from gunicorn.dirty.app import DirtyApp


def web(environ, start_response):
    start_response("204 No Content", [])
    return []


class LLM(DirtyApp):
    def generate(self, prompt, words):
        """Repeats the prompt. Yours asks a model for its next token."""
        for word in itertools.islice(itertools.cycle(prompt.split()), words):
            time.sleep(0.05)
            yield word + " "

    def close(self):
        pass
