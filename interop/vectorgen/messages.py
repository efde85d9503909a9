"""Messages of every type with every field given and left out.

Each is (name, type, id, fields); fields are the arguments of gunicorn's
encode_* function beside the id, and those left out are absent.
"""

from gunicorn.dirty import errors

from .shapes import Dice, tree
from .values import ONE_OF_EACH

STASH_OPS = {1: "put", 2: "get", 3: "delete", 4: "keys", 5: "clear", 6: "info",
             7: "ensure", 8: "delete_table", 9: "tables", 10: "exists"}


def all_messages():
    for source in (requests, responses, error_replies, chunks, bare, stash, manage, ids):
        for name, kind, number, fields in source():
            yield f"{source.__name__}/{name}", kind, number, fields


def requests():
    base = {"app_path": "dirtyapp:App", "action": "run"}
    args_choices = {"no_args": {}, "args_none": {"args": None}, "args_empty": {"args": []},
                    "args": {"args": [1, "two"]}, "args_falsy": {"args": [None]}}
    kwargs_choices = {"no_kwargs": {}, "kwargs_none": {"kwargs": None}, "kwargs_empty": {"kwargs": {}},
                      "kwargs": {"kwargs": {"z": 1, "a": 2}}, "kwargs_odd": {"kwargs": {"": None, "class": [], "id": 1}}}
    for args_name, args in args_choices.items():
        for kwargs_name, kwargs in kwargs_choices.items():
            yield f"{args_name}_{kwargs_name}", "request", 5, {**base, **args, **kwargs}
    yield "empty_names", "request", 5, {"app_path": "", "action": ""}
    yield "wide_names", "request", 5, {"app_path": "\u6c34.\u00fc:Klasse", "action": "\U0001f40d"}
    for i, value in enumerate(ONE_OF_EACH):
        yield f"arg_{i}", "request", 5, {**base, "args": [value]}
        yield f"kwarg_{i}", "request", 5, {**base, "kwargs": {"value": value}}
    for seed in range(40):
        dice = Dice(seed)
        yield f"generated_{seed}", "request", dice.bits(64), {
            **base, "args": [tree(dice, 3) for _ in range(dice.below(4))],
            "kwargs": {f"k{i}": tree(dice, 3) for i in range(dice.below(4))}}


def responses():
    for i, value in enumerate([*ONE_OF_EACH, ONE_OF_EACH, {"error": "not one"}, {"type": "end", "id": 9}]):
        yield f"{i}", "response", 6, {"result": value}
    for seed in range(20):
        yield f"generated_{seed}", "response", seed, {"result": tree(Dice(seed), 4)}


def error_replies():
    """gunicorn's own errors with and without what they may carry, then foreign ones."""
    trace = 'Traceback (most recent call last):\n  File "app.py", line 1, in run\nValueError: boom\n'
    raised = {
        "plain": errors.DirtyError("boom"),
        "plain_details": errors.DirtyError("boom", {"tray": 2}),
        "plain_empty": errors.DirtyError(""),
        "timeout": errors.DirtyTimeoutError(),
        "timeout_int": errors.DirtyTimeoutError("Worker timeout", 30),
        "timeout_float": errors.DirtyTimeoutError("slow", 1.5),
        "timeout_zero": errors.DirtyTimeoutError("slow", 0),
        "connection": errors.DirtyConnectionError(),
        "connection_path": errors.DirtyConnectionError("refused", "/run/arbiter.sock"),
        "worker": errors.DirtyWorkerError("gone"),
        "worker_id": errors.DirtyWorkerError("gone", worker_id=7),
        "worker_zero": errors.DirtyWorkerError("gone", worker_id=0),
        "worker_traceback": errors.DirtyWorkerError("gone", traceback=trace),
        "worker_all": errors.DirtyWorkerError("gone", 7, trace),
        "app": errors.DirtyAppError("boom"),
        "app_path": errors.DirtyAppError("boom", app_path="a:A"),
        "app_action": errors.DirtyAppError("boom", action="run"),
        "app_traceback": errors.DirtyAppError("boom", traceback=trace),
        "app_all": errors.DirtyAppError("boom", "a:A", "run", trace),
        "app_not_found": errors.DirtyAppNotFoundError("a:A"),
        "no_workers": errors.DirtyNoWorkersAvailableError("a:A"),
        "no_workers_message": errors.DirtyNoWorkersAvailableError("a:A", "none left"),
        "protocol": errors.DirtyProtocolError(),
        "protocol_bytes": errors.DirtyProtocolError("bad", b"\x00\xff"),
        "protocol_text": errors.DirtyProtocolError("bad", "raw"),
        "value_error": ValueError("boom"),
        "key_error": KeyError("k"),
        "no_message": RuntimeError(),
        "wide_message": OSError(2, "\u6c34"),
    }
    for name, error in raised.items():
        yield name, "error", 7, {"error": error}
    yield "dict", "error", 7, {"error": {"error_type": "Custom", "message": "own", "details": {"b": [1, None]}}}
    yield "dict_empty", "error", 7, {"error": {"error_type": "E", "message": "", "details": {}}}


def chunks():
    for i, value in enumerate([*ONE_OF_EACH, ONE_OF_EACH, "token", {"data": 1}, b"\x00" * 300]):
        yield f"{i}", "chunk", 8, {"data": value}
    for seed in range(100, 120):
        yield f"generated_{seed}", "chunk", seed, {"data": tree(Dice(seed), 4)}


def bare():
    for kind in ("end", "status"):
        for number in (0, 9, 2**64 - 1):
            yield f"{kind}_{number}", kind, number, {}


def stash():
    """Each operation with each of its eight sets of optional fields."""
    optional = {"key": "user:1", "value": {"name": "A", "age": 3}, "pattern": "user:*"}
    for op, op_name in STASH_OPS.items():
        for choice in range(8):
            given = {field: value for bit, (field, value) in enumerate(optional.items()) if choice >> bit & 1}
            yield "_".join([op_name, *given]), "stash", 9, {"op": op, "table": "sessions", **given}
    for name, value in {"none": None, "zero": 0, "false": False, "empty_string": "", "empty_list": []}.items():
        yield f"value_{name}", "stash", 9, {"op": 1, "table": "t", "key": "k", "value": value}
    for name, key in {"none": None, "zero": 0, "false": False, "empty": "", "float": 1.5, "bytes": b"k"}.items():
        yield f"key_{name}", "stash", 9, {"op": 2, "table": "t", "key": key}
    yield "table_empty", "stash", 9, {"op": 9, "table": ""}
    yield "table_wide", "stash", 9, {"op": 7, "table": "\u6c34"}


def manage():
    for op in (1, 2):
        yield f"{op}_no_count", "manage", 10, {"op": op}
        for count in (1, 2, 100, 0, -1, 2**31 - 1):
            yield f"{op}_{count}", "manage", 10, {"op": op, "count": count}


def ids():
    for number in (0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        yield f"request_{number}", "request", number, {"app_path": "a:A", "action": "x"}
        yield f"chunk_{number}", "chunk", number, {"data": None}
        yield f"stash_{number}", "stash", number, {"op": 9, "table": ""}


def broken(encode_request, encode_chunk, pack):
    """(name, bytes) of frames that do not decode."""
    frame = encode_request(5, "a:A", "x", [1.5], {"k": "v"})
    for length in range(len(frame)):
        yield f"cut_{length}", frame[:length]
    chunk = encode_chunk(8, "text")
    payload = chunk[16:]
    for kind in (0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x11, 0x12):
        yield f"type_{kind:02x}_trailing", pack(kind=kind, length=len(payload) + 1) + payload + b"\x00"
        yield f"type_{kind:02x}_unknown_kind", pack(kind=kind, length=1) + b"\x7f"
        yield f"type_{kind:02x}_incomplete", pack(kind=kind, length=len(payload) + 1) + payload
    yield "length_too_small", pack(kind=4, length=len(payload) - 1) + payload[:-1]
    yield "length_announced", pack(kind=4, length=2**26)
    yield "length_over_limit", pack(kind=4, length=2**26 + 1) + payload
    yield "magic", b"GX" + chunk[2:]
    yield "version", b"GD\x02" + chunk[3:]
    yield "type", b"GD\x01\x06" + chunk[4:]
    faults = {"invalid_text": b"\x11\x00\x00\x00\x01\xff", "list_too_large": b"\x20\x00\x10\x00\x01",
              "bytes_too_large": b"\x10\x04\x00\x00\x01", "key_is_int": b"\x21\x00\x00\x00\x01\x05" + bytes(8) + b"\x00",
              "too_deep": b"\x20\x00\x00\x00\x01" * 1500 + b"\x00"}
    for name, data in faults.items():
        yield name, pack(kind=4, length=len(data)) + data
        wrapped = b"\x21\x00\x00\x00\x01\x11\x00\x00\x00\x04data" + data
        yield f"{name}_inside", pack(kind=4, length=len(wrapped)) + wrapped
