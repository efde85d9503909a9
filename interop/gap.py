"""How long gunicorn's synchronous client waits between two chunks.

    python gap.py SOCKET

It streams the action "gap" of the app "go:App", which pauses between its two chunks,
then calls "next" on the same client, and prints the chunks, how the stream ended and
what the call returned, as JSON.
"""

import json
import sys

from gunicorn.dirty.client import DirtyClient
from gunicorn.dirty.errors import DirtyError, DirtyTimeoutError


def main(path):
    client = DirtyClient(path)
    chunks, end = [], "complete"
    try:
        for chunk in client.stream("go:App", "gap"):
            chunks.append(chunk)
    except DirtyTimeoutError:
        end = "gave up"
    try:
        answer = client.execute("go:App", "next")
    except DirtyError as error:
        answer = error.message
    print(json.dumps([chunks, end, answer]))


if __name__ == "__main__":
    main(sys.argv[1])
