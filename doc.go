// Package dirty is the wire codec of gunicorn's dirty workers: the pool of
// Python processes (gunicorn 25.1 and later) that does the long, blocking
// work of a web app behind a Unix socket.
//
// # Layers
//
// Every message is a frame: a 16-byte header and a payload, one encoded
// value. All integers are big-endian.
//
//	 0      1      2       3      4             8                     16
//	+------+------+-------+------+-------------+----------------------+----
//	| 'G'  | 'D'  |  0x01 | type | length      | request id           | payload
//	+------+------+-------+------+-------------+----------------------+----
//
// A value is a type code, followed by:
//
//	00 None                     10 bytes:  length (4), bytes
//	01 bool: 00 or 01           11 string: length (4), UTF-8
//	05 int64 (8)                20 list:   count (4), values
//	06 float64 (8)              21 dict:   count (4), strings and values in turn
//
// Three layers are public, and each is useful without the next:
//
//   - [Header] is the header as a value: [ParseHeader], [Header.AppendBinary].
//   - [Frame] is a header and its payload, which is not decoded. It is for
//     proxies and routers: [Reader.ReadFrame], [Writer.WriteFrame].
//   - [Message] is a typed message, such as [Request] or [Chunk]:
//     [AppendMessage], [DecodeMessage], and [Reader], [Writer] and [Conn] for
//     streams and connections.
//
// Below them is the encoding of values, which can be used by itself. [Marshal],
// [Append], [Unmarshal] and [Validate] work like those of encoding/json. Functions
// such as [AppendInt64], and the [Decoder], are for code that needs no reflection.
// A [View] reads single fields of a value. [Diagnose] shows values to people.
//
// Package client uses all this to call an arbiter. Package server answers calls as
// an arbiter does.
//
// # Security
//
// Everything that is read is taken to be hostile. The whole of a value is checked
// before anything is built from it: lengths, counts, nesting, UTF-8 and type codes
// are compared with the bytes that are there and with [Limits], which are on by
// default. So no input causes a panic, nor recursion deeper than Limits.MaxDepth.
//
// The memory is bounded too. Memory for a payload is allocated only as the payload
// arrives. What it decodes to takes at most Limits.MaxMemory, by default 512 MiB.
// Lower the limits if you do not trust the peers.
//
// Errors never contain values or bytes of a payload. They may contain the keys of
// dicts.
//
// These are not bounded: the memory of a typed destination whose elements are
// larger than an any; the time that a peer takes, for which connections have
// deadlines; what a Marshaler or an Unmarshaler of the caller does.
//
// # Files
//
// To read the package, take its files in this order. A file needs only those
// before it, with the exceptions that TestFileOrder lists.
//
//	protocol.go          the numbers of the protocol
//	limits.go            limits, and what a decoded value costs
//	errors.go            what can go wrong here
//	errors_remote.go     what the peer says went wrong
//	options.go           everything that can be set
//	header.go            headers and frames
//	tlv.go               values: the API
//	tlv_cursor.go        positions in bytes
//	tlv_path.go          where in a value a fault is
//	tlv_fast_text.go     for speed alone: text
//	tlv_check.go         every rule and limit
//	tlv_token.go         values one by one, without reflection
//	tlv_diagnose.go      values in a notation for people
//	tlv_fast.go          for speed alone: boxes, caches, runs
//	tlv_fast_map.go      for speed alone: maps to bytes
//	tlv_view.go          single fields of a value, where they are
//	tlv_encode.go        any to bytes
//	tlv_decode.go        bytes to any
//	tlv_typed.go         Go types, in both directions
//	tlv_typed_list.go    slices and arrays
//	tlv_typed_map.go     maps
//	tlv_typed_struct.go  structs, and the reader of their tags
//	messages.go          the messages, one after the other
//	messages_codec.go    messages to frames and back
//	memory.go            the memory of payloads
//	reader.go            frames from a stream
//	reader_wait_unix.go  a system call for the next but one
//	reader_wait_other.go other systems have none
//	reader_wait.go       for memory alone: a reader that waits holds none
//	writer.go            frames to a stream
//	pieces.go            for forwarders: large frames, piece by piece
//	conn.go              both, over a connection
//
// # Releases of gunicorn
//
// This module supports the gunicorn releases from 25.1.0 to 27.0.1. They all speak
// the same protocol. What is said about gunicorn is true for each of them, unless
// it names others. docs/SPEC.md describes the protocol, and the tests in the folder
// interop check it against real gunicorn.
package dirty
