// Package codecs measures our codec beside others, on the same values.
package codecs

import (
	"errors"

	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// Codec is one way to turn values into bytes and back.
type Codec struct {
	Name   string
	Module string // whose version is reported; empty if it comes with Go
	Use    string // how it is used and what it cannot do, for the reader of the report
	Open   func() Stream

	// Adapt returns a value in the forms that the codec takes, if they are not
	// those of package values. Forms that it cannot have are left out.
	Adapt func(values.Value) values.Value
}

// Stream encodes and decodes one value in one form, again and again. It may
// keep memory and types from one time to the next.
type Stream interface {
	// Encode encodes a tree, or what a pointer points to. The bytes are
	// valid until the next call.
	Encode(v any) ([]byte, error)
	// Decode decodes into what v points to.
	Decode(data []byte, v any) error
}

// errCannot says that a codec has no way to encode or decode a value.
var errCannot = errors.New("the codec cannot do this")

// isTree reports whether v is a tree of any, not a pointer to a Go type.
func isTree(v any) bool {
	switch v.(type) {
	case map[string]any, []any, []byte:
		return true
	}
	return false
}

// Ours returns our codec.
func Ours() Codec { return Codec{Name: ours, Open: func() Stream { return &dirtyStream{} }} }

// Others returns the codecs that ours is measured beside.
func Others() []Codec {
	return []Codec{
		{Name: "cbor", Module: "github.com/fxamacker/cbor/v2", Open: newCBOR,
			Use: "maps as map[string]any, integers as int64, limits raised; MarshalToBuffer"},
		{Name: "msgpack", Module: "github.com/vmihailenco/msgpack/v5", Open: newMsgpack,
			Use: "an Encoder and a Decoder that are reset"},
		{Name: "msgp", Module: "github.com/tinylib/msgp", Open: func() Stream { return &msgpStream{} },
			Use: "AppendIntf and ReadIntfBytes; typed: generated code, of which there is none for e"},
		{Name: "json", Open: func() Stream { return newJSON() },
			Use: "an Encoder, and Unmarshal; numbers come back as float64, bytes as base64"},
		{Name: "json v2", Module: "github.com/go-json-experiment/json", Open: func() Stream { return &json2Stream{} },
			Use: "MarshalWrite and Unmarshal; as json"},
		{Name: "segmentio", Module: "github.com/segmentio/encoding", Open: func() Stream { return &segmentioStream{} },
			Use: "JSON: Append and Unmarshal; as json; its code for e would recurse without end"},
		{Name: "gob", Open: newGob,
			Use: "a stream that has sent its types before; empty lists come back as nil"},
		{Name: "vtprotobuf", Module: "github.com/planetscale/vtprotobuf", Open: func() Stream { return &protobufStream{} }, Adapt: asProtobuf,
			Use: "protobuf, generated code. It sends numbers in place of keys and has no any, so it shows how fast typed code can be. No e; k is as c"},
	}
}
