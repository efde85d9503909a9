"""A plugin of pytest that puts the Go codec under gunicorn's own tests.

    GO_CODEC_SOCKET=PATH pytest -p go_codec tests/test_dirty_tlv.py

It replaces the methods of gunicorn's TLVEncoder and BinaryProtocol by ones that
ask the Go test, which listens at PATH (../judge_codec_test.go). What stays
Python's: to read from and write to sockets, and what concerns Python's types
alone, such as that a tuple becomes a list and a key a string.

A question and its answer are a length (uint32, big-endian) and JSON. Values are
in the notation of the vectors (../vectorgen/notation.py). The Go side says by
which of its error values it refuses; the words here are gunicorn's.
"""

import asyncio
import json
import os
import pathlib
import socket
import struct
import sys
import threading

from gunicorn.dirty import protocol, tlv
from gunicorn.dirty.errors import DirtyError, DirtyProtocolError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from vectorgen import notation  # noqa: E402

HEADER_SIZE = 16

# What gunicorn says where Go returns one of these errors.
WORDS = {
    "short header": "Header too short",
    "short frame": "Incomplete message",
    "ErrBadMagic": "Invalid magic",
    "ErrBadVersion": "Unsupported protocol version",
    "ErrUnknownType": "Unknown message type",
    "ErrTooLarge": "Message too large",
    "ErrTooDeep": "maximum recursion depth exceeded",
    "ErrInvalidUTF8": "Invalid UTF-8 in string",
    "ErrTrailingData": "Trailing data after TLV",
    "ErrUnsupportedType": "Unsupported type for TLV encoding",
    "truncated": "Truncated TLV data",
    "key": "Dict key must be string",
    "kind": "Unknown TLV type code",
}


class Connection(threading.local):
    """A connection for each thread of each process: some tests fork."""

    owner = sock = None

    def ask(self, **question):
        # Bound before the tests replace what is in these modules.
        if self.owner != getpid():
            self.owner, self.sock = getpid(), new_socket(socket.AF_UNIX)
            self.sock.connect(PATH)
        text = json.dumps(question, ensure_ascii=False).encode()
        self.sock.sendall(struct.pack(">I", len(text)) + text)
        answer = json.loads(self._read(*struct.unpack(">I", self._read(4))))
        if "error" not in answer:
            return answer
        if answer["error"] == "ErrOverflow":
            raise struct.error("int too large to convert")
        words = WORDS.get(answer["error"])
        if words is None:
            raise AssertionError(f"the Go codec says {answer}")
        raise DirtyProtocolError(f"{words}: {answer['text']}")

    def _read(self, size):
        parts = []
        while size:
            part = self.sock.recv(size)
            if not part:
                raise AssertionError("the Go codec has gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


PATH = os.environ["GO_CODEC_SOCKET"]
getpid, new_socket = os.getpid, socket.socket
connection = Connection()


def written(value):
    """The notation of a value, as JSON that is decoded already."""
    try:
        return json.loads(notation.text(value))
    except TypeError as error:  # no other language has this type
        raise DirtyProtocolError(f"Unsupported type for TLV encoding: {error}")


def encode(value):
    return bytes.fromhex(connection.ask(do="encode", value=written(value))["hex"])


def decode(data, offset=0):
    answer = connection.ask(do="decode", hex=data[offset:].hex())
    return notation.value(answer["value"]), offset + answer["size"]


def decode_full(data):
    return notation.value(connection.ask(do="decode all", hex=data.hex())["value"])


def encode_header(msg_type, request_id, payload_length):
    answer = connection.ask(do="encode header", type=msg_type, id=str(request_id), length=payload_length)
    return bytes.fromhex(answer["hex"])


def decode_header(data):
    answer = connection.ask(do="decode header", hex=data.hex())
    return answer["type"], int(answer["id"]), answer["length"]


def encode_message(kind, request_id, **fields):
    fields = {name: written(value) for name, value in fields.items()}
    answer = connection.ask(do="encode message", name=kind, id=str(request_id), fields=fields)
    return bytes.fromhex(answer["hex"])


def decode_message(data):
    answer = connection.ask(do="decode message", hex=data.hex())
    return answer["name"], int(answer["id"]), notation.value(answer["value"])


def encode_request(request_id, app_path, action, args=None, kwargs=None):
    return encode_message("request", request_id, app_path=app_path, action=action,
                          args=list(args) if args else [], kwargs=kwargs or {})


def encode_response(request_id, result):
    return encode_message("response", request_id, result=result)


def encode_error(request_id, error):
    if isinstance(error, DirtyError):
        error = error.to_dict()
    elif not isinstance(error, dict):
        error = {"error_type": type(error).__name__, "message": str(error), "details": {}}
    return encode_message("error", request_id, error=error)


def encode_chunk(request_id, data):
    return encode_message("chunk", request_id, data=data)


def encode_end(request_id):
    return encode_message("end", request_id)


def encode_status(request_id):
    return encode_message("status", request_id)


def encode_manage(request_id, op, count=1):
    return encode_message("manage", request_id, op=op, count=count)


def encode_stash(request_id, op, table, key=None, value=None, pattern=None):
    return encode_message("stash", request_id, op=op, table=table, key=key, value=value, pattern=pattern)


def as_dict(frame):
    kind, number, payload = decode_message(frame)
    return {"type": kind, "id": number, **payload}


def read_message(sock):
    receive = protocol.BinaryProtocol._recv_exactly
    header = receive(sock, HEADER_SIZE)
    _, _, length = decode_header(header)
    return as_dict(header + (receive(sock, length) if length else b""))


async def read_message_async(reader):
    try:
        header = await reader.readexactly(HEADER_SIZE)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise
        return decode_header(error.partial)  # raises
    _, _, length = decode_header(header)
    try:
        return as_dict(header + await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        return as_dict(header + error.partial)  # raises


# Methods of BinaryProtocol that have no part in the encoding: they read a number
# of bytes, and choose the method by the type of a message.
SOCKETS = {"_recv_exactly", "write_message", "write_message_async", "_encode_from_dict"}


def replace(cls, *functions, keep=()):
    """Put functions into a class, and see to it that no other method is left."""
    methods = {name for name, value in vars(cls).items() if isinstance(value, staticmethod)}
    ours = {function.__name__ for function in functions}
    if ours | set(keep) != methods:
        raise AssertionError(f"gunicorn's {cls.__name__} has other methods: {sorted(methods ^ ours ^ set(keep))}")
    for function in functions:
        setattr(cls, function.__name__, staticmethod(function))


replace(tlv.TLVEncoder, encode, decode, decode_full)
replace(protocol.BinaryProtocol, encode_header, decode_header, decode_message, encode_request, encode_response,
        encode_error, encode_chunk, encode_end, encode_status, encode_manage, encode_stash, read_message,
        read_message_async, keep=SOCKETS)
