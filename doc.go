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
// A value is a type code and what belongs to it:
//
//	00 None                     10 bytes:  length (4), bytes
//	01 bool: 00 or 01           11 string: length (4), UTF-8
//	05 int64 (8)                20 list:   count (4), values
//	06 float64 (8)              21 dict:   count (4), strings and values in turn
//
// Three layers are public, and each is useful without the next:
//
//   - [Header] is the header as a value: [ParseHeader], [Header.AppendBinary].
//   - [Frame] is a header and its payload, not decoded, for proxies and
//     routers: [Reader.ReadFrame], [Writer.WriteFrame].
//   - [Message] is a typed message, such as [Request] or [Chunk]:
//     [AppendMessage], [DecodeMessage], and [Reader], [Writer] and [Conn] for
//     streams and connections.
//
// Below them is the encoding of values, which is of use by itself. [Marshal],
// [Append], [Unmarshal] and [Validate] work like those of encoding/json. The
// Append functions and [Decoder] are for code that wants no reflection and no
// boxes. [Diagnose] is for people.
//
// Package client calls an arbiter with all this, and package server answers
// like one.
//
// # Security
//
// Everything that is read is taken to be hostile. The bytes of a value are
// checked whole before anything is built: lengths, counts, nesting, UTF-8 and
// type codes, against the bytes that are there and against [Limits], which
// are on by default. So nothing panics, and nothing recurses deeper than
// Limits.MaxDepth. The memory for a payload is bounded as well: what the
// header announces is allocated only as it arrives, and what the payload
// decodes to is at most Limits.MaxMemory, by default 512 MiB. Lower the limits
// where peers are not trusted. Errors never contain payload bytes or values.
// They may name keys.
//
// Not bounded are the memory of a typed destination whose elements are larger
// than their any forms, the time that a peer may take, for which connections
// have deadlines, and what a Marshaler or an Unmarshaler of the caller does.
//
// # Files
//
// To read the package, take its files in this order. A file needs only those
// before it, but for the exceptions in TestFileOrder.
//
//	protocol.go          the numbers of the protocol
//	limits.go            limits, and what a decoded value is taken to cost
//	errors.go            what can go wrong here
//	errors_remote.go     what the peer says went wrong
//	options.go           all that can be set
//	header.go            the 16 bytes, and frames
//	tlv.go               values: the API
//	tlv_cursor.go        positions in bytes
//	tlv_path.go          where in a value a fault is
//	tlv_fast_text.go     speed: text
//	tlv_check.go         every rule and limit; builds nothing
//	tlv_token.go         values one by one, without reflection
//	tlv_diagnose.go      bytes for people
//	tlv_fast.go          speed: boxes, names, shapes, runs
//	tlv_view.go          single fields of a value where they lie
//	tlv_encode.go        any out
//	tlv_decode.go        any in
//	tlv_typed.go         Go types, both directions
//	tlv_typed_list.go    slices and arrays
//	tlv_typed_map.go     maps
//	tlv_typed_struct.go  structs, and the reader of their tags
//	messages.go          each message in turn
//	messages_codec.go    whole frames
//	memory.go            the memory of payloads
//	reader.go            a stream in
//	writer.go            a stream out
//	conn.go              both, over a connection
//
// # Releases of gunicorn
//
// Supported are the gunicorn releases from 25.1.0 to 27.0.1. They all speak the
// same protocol. Whatever is said of gunicorn in this module holds for each of
// them, unless it names others. docs/SPEC.md describes the protocol, and the
// folder interop checks it against real gunicorn.
package dirty
