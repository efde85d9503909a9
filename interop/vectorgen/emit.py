"""Ask the gunicorn of this interpreter about every input."""

import json
import socket

from gunicorn.dirty.protocol import BinaryProtocol
from gunicorn.dirty.tlv import TLVEncoder

from . import headers, messages, values, wire
from .notation import text

# A part of gunicorn's error text, and the vectors' word for it.
REASONS = {
    "Header too short": "short",
    "Invalid magic": "bad_magic",
    "Unsupported protocol version": "bad_version",
    "Unknown message type": "unknown_type",
    "Incomplete message": "incomplete",
    "too large": "too_large",
    "Truncated TLV data": "truncated",
    "Invalid UTF-8": "invalid_utf8",
    "Dict key must be string": "bad_key",
    "Unknown TLV type code": "unknown_kind",
    "Trailing data": "trailing",
    "recursion": "too_deep",
}


def everything():
    """{file name: [line, ...]}"""
    files = {}
    files["values.json"], files["decode_only.json"], files["bad_values.json"] = value_files()
    files["headers.json"] = [header_line(*each) for each in headers.good()]
    files["bad_headers.json"] = [bad_line(*each, BinaryProtocol.decode_header) for each in headers.bad()]
    files["messages.json"] = [message_line(*each) for each in messages.all_messages()]
    files["bad_messages.json"] = [
        bad_line(*each, BinaryProtocol.decode_message) for each in messages.broken(
            BinaryProtocol.encode_request, BinaryProtocol.encode_chunk, headers.pack)]
    return files


def value_files():
    both_ways, decode_only, bad = [], [], []
    seen = set()
    for name, data in value_inputs():
        if data in seen:
            continue
        seen.add(data)
        try:
            value = TLVEncoder.decode_full(data)
        except Exception as error:
            bad.append(line(name=name, hex=data.hex(), reason=reason(error)))
            continue
        if TLVEncoder.encode(value) == data and not name.startswith("deep/"):
            both_ways.append(value_line(name, value, data))
        else:
            decode_only.append(value_line(name, value, data))
    return both_ways, decode_only, bad


def value_inputs():
    for name, value in values.all_values():
        yield name, TLVEncoder.encode(value)
    yield from wire.all_inputs(TLVEncoder.encode)


def value_line(name, value, data):
    return f'{{"name": {json.dumps(name)}, "value": {text(value)}, "hex": "{data.hex()}"}}'


def header_line(name, kind, length, number):
    data = BinaryProtocol.encode_header(kind, number, length)
    assert BinaryProtocol.decode_header(data) == (kind, number, length)
    return line(name=name, type=kind, length=length, id=str(number), hex=data.hex())


def bad_line(name, data, decode):
    try:
        decode(data)
    except Exception as error:
        return line(name=name, hex=data.hex(), reason=reason(error))
    raise AssertionError(f"{name} decodes")


def message_line(name, kind, number, fields):
    data = getattr(BinaryProtocol, f"encode_{kind}")(number, **fields)
    assert data == written_as_dict(kind, number, fields), name
    decoded_kind, decoded_number, payload = BinaryProtocol.decode_message(data)
    assert (decoded_kind, decoded_number) == (kind, number), name
    if kind == "error":
        fields = payload
    notation = ", ".join(f"{json.dumps(field)}: {text(value)}" for field, value in fields.items())
    return (f'{{"name": {json.dumps(name)}, "type": "{kind}", "id": "{number}", "fields": {{{notation}}}, '
            f'"hex": "{data.hex()}", "payload": {text(payload)}}}')


def written_as_dict(kind, number, fields):
    """The same message by gunicorn's other way: a dict written to a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        BinaryProtocol.write_message(ours, {"type": kind, "id": number, **fields})
        ours.shutdown(socket.SHUT_WR)
        return theirs.makefile("rb").read()


def reason(error):
    """The first part of the text that matches; a recursion error may come wrapped."""
    for part, word in REASONS.items():
        if part in str(error):
            return word
    raise AssertionError(f"no word for {error!r}")


def line(**fields):
    return json.dumps(fields)
