"""A web app, as WSGI and as ASGI, whose dirty workers are a Go server."""

import json
from urllib.parse import parse_qsl

from gunicorn.dirty import errors, get_dirty_client, get_dirty_client_async, stash

APP = "go:App"


def wsgi(environ, start_response):
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    client = get_dirty_client()
    status, answer = "200 OK", None
    path = environ["PATH_INFO"]
    try:
        if path == "/add":
            answer = client.execute(APP, "add", int(query["a"]), b=int(query["b"]))
        elif path == "/count":
            answer = list(client.stream(APP, "count", int(query["n"])))
        elif path == "/stash":
            stash.put("web", "hits", (stash.get("web", "hits", 0)) + 1)
            answer = stash.get("web", "hits")
        elif path == "/fail":
            client.execute(APP, "kind", "plain")
    except errors.DirtyError as error:
        status, answer = "502 Bad Gateway", [type(error).__name__, error.message]
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    query = dict(parse_qsl(scope["query_string"].decode()))
    client = await get_dirty_client_async()
    status, answer = 200, None
    path = scope["path"]
    try:
        if path == "/add":
            answer = await client.execute_async(APP, "add", int(query["a"]), b=int(query["b"]))
        elif path == "/count":
            answer = [c async for c in client.stream_async(APP, "count", int(query["n"]))]
        elif path == "/stash":
            stash.put("web", "hits", (stash.get("web", "hits", 0)) + 1)
            answer = stash.get("web", "hits")
        elif path == "/fail":
            await client.execute_async(APP, "kind", "plain")
    except errors.DirtyError as error:
        status, answer = 502, [type(error).__name__, error.message]
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
