package dirty

import (
	"fmt"
	"strconv"
	"strings"
)

// The numbers of the protocol, as in gunicorn's dirty/protocol.py and
// dirty/tlv.py. They are the same in every supported release.
const (
	// Version is the only protocol version there is (VERSION).
	Version = 1

	// HeaderSize is the size of a frame header in bytes (HEADER_SIZE).
	HeaderSize = 16

	// MaxPayloadSize is the largest payload of a frame in bytes, header
	// excluded (MAX_MESSAGE_SIZE). It is also the largest bytes or string
	// value (MAX_BYTES_SIZE, MAX_STRING_SIZE).
	MaxPayloadSize = 64 << 20

	// MaxElements is the largest number of elements of one list and of
	// entries of one dict (MAX_LIST_SIZE, MAX_DICT_SIZE).
	MaxElements = 1 << 20
)

// magic opens every header: "GD", for gunicorn dirty (MAGIC).
const magic = "GD"

// MessageType is the type byte of a header (MSG_TYPE_*). Not every value below
// the largest one is in use: 0x06 to 0x0f are not.
type MessageType uint8

// The message types. A client sends requests, stash, status and manage
// messages. The arbiter answers with responses, errors, chunks and ends.
const (
	TypeRequest  MessageType = 0x01 // execute an action of an app
	TypeResponse MessageType = 0x02 // the result, once
	TypeError    MessageType = 0x03 // the call failed; it also ends a stream
	TypeChunk    MessageType = 0x04 // one value of a stream
	TypeEnd      MessageType = 0x05 // a stream is complete; no payload
	TypeStash    MessageType = 0x10 // an operation on the shared tables
	TypeStatus   MessageType = 0x11 // asks for the state of the workers; no payload
	TypeManage   MessageType = 0x12 // adds or removes workers
)

// messageTypes has gunicorn's name of each type (MSG_TYPE_TO_STR). A type without
// a name here does not exist.
var messageTypes = [256]string{
	TypeRequest:  "request",
	TypeResponse: "response",
	TypeError:    "error",
	TypeChunk:    "chunk",
	TypeEnd:      "end",
	TypeStash:    "stash",
	TypeStatus:   "status",
	TypeManage:   "manage",
}

// valid reports whether there is such a type.
func (t MessageType) valid() bool { return messageTypes[t] != "" }

// String returns gunicorn's name of the type, such as "request", or
// "MessageType(0x7f)" if the type is unknown.
func (t MessageType) String() string {
	if t.valid() {
		return messageTypes[t]
	}
	return fmt.Sprintf("MessageType(0x%02x)", uint8(t))
}

// ParseMessageType returns the type that String names (MSG_TYPE_FROM_STR).
// The names are lower case. Any other text is an [ErrUnknownType].
func ParseMessageType(s string) (MessageType, error) {
	for t, name := range messageTypes {
		if name == s && s != "" {
			return MessageType(t), nil
		}
	}
	return 0, fmt.Errorf("%w: %q is not the name of a message type", ErrUnknownType, s)
}

// knownTypes returns the types as ranges, for error texts: "0x01 to 0x05 or
// 0x10 to 0x12".
func knownTypes() string {
	var ranges []string
	for t := 0; t < len(messageTypes); t++ {
		first := t
		for t < len(messageTypes) && messageTypes[t] != "" {
			t++
		}
		if t > first {
			ranges = append(ranges, fmt.Sprintf("0x%02x to 0x%02x", first, t-1))
		}
	}
	return strings.Join(ranges, " or ")
}

// StashOp is an operation on the arbiter's shared tables (STASH_OP_*).
type StashOp uint8

// The stash operations.
const (
	StashPut         StashOp = 1  // store a value under a key
	StashGet         StashOp = 2  // return the value of a key
	StashDelete      StashOp = 3  // delete a key
	StashKeys        StashOp = 4  // return the keys that match a pattern
	StashClear       StashOp = 5  // delete all keys of a table
	StashInfo        StashOp = 6  // return the size of a table
	StashEnsure      StashOp = 7  // make a table if there is none
	StashDeleteTable StashOp = 8  // delete a table with its keys
	StashTables      StashOp = 9  // return the names of the tables
	StashExists      StashOp = 10 // tell whether a key exists or, without a key, the table
)

// stashOpNames has the name of each operation. TestEveryStashOp checks that
// none is missing.
var stashOpNames = [...]string{
	StashPut:         "put",
	StashGet:         "get",
	StashDelete:      "delete",
	StashKeys:        "keys",
	StashClear:       "clear",
	StashInfo:        "info",
	StashEnsure:      "ensure",
	StashDeleteTable: "delete_table",
	StashTables:      "tables",
	StashExists:      "exists",
}

// String returns the operation's name in lower case, such as
// "delete_table", or "StashOp(11)" if it is unknown.
func (op StashOp) String() string { return opName("StashOp", stashOpNames[:], uint8(op)) }

// ManageOp is an operation on the arbiter's workers (MANAGE_OP_*).
type ManageOp uint8

// The manage operations.
const (
	ManageAdd    ManageOp = 1 // start workers
	ManageRemove ManageOp = 2 // stop workers
)

// manageOpNames has the name of each operation. TestEveryManageOp checks that
// none is missing.
var manageOpNames = [...]string{ManageAdd: "add", ManageRemove: "remove"}

// String returns "add" or "remove", or "ManageOp(3)" if the operation is
// unknown.
func (op ManageOp) String() string { return opName("ManageOp", manageOpNames[:], uint8(op)) }

// opName returns the name of an operation, or "typ(op)" if it has none.
func opName(typ string, names []string, op uint8) string {
	if int(op) < len(names) && names[op] != "" {
		return names[op]
	}
	return typ + "(" + strconv.Itoa(int(op)) + ")"
}
