"""gunicorn wants a web application; the tests do not."""


def application(_environ, start_response):
    start_response("204 No Content", [])
    return []
