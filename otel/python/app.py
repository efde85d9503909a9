"""A dirty app that goes on with the trace of its caller.

The Go client sends the trace with calls of the actions that WithInject names:

    {"traceparent": "00-<trace id>-<span id>-01"}

With the package opentelemetry-api an action makes a span in that trace by

    context = TraceContextTextMapPropagator().extract(_meta or {})
    with tracer.start_as_current_span("classify", context=context):
        ...

This example only reads the ids, so it needs nothing but gunicorn.
"""

from gunicorn.dirty.app import DirtyApp


def web(environ, start_response):
    start_response("204 No Content", [])
    return []


class Model(DirtyApp):
    def classify(self, image, _meta=None):
        """Takes the trace as one named argument, which may be missing."""
        return {"label": "cat", "trace": trace_id(_meta)}

    def tokens(self, prompt, **kwargs):
        """Takes it among all others."""
        for word in prompt.split():
            yield f"{word} {trace_id(kwargs.get('_meta'))}"

    def plain(self, image):
        """Does not take it: the client must not send it to this one."""
        return "cat"

    def close(self):
        pass


def trace_id(meta):
    """The id of the caller's trace, or None."""
    parts = (meta or {}).get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else None
