// Package codecs measures our codec beside others, on the same values.
package codecs

import "errors"

// Codec is one way to turn values into bytes and back.
type Codec struct {
	Name   string
	Module string // whose version is reported; empty if it comes with Go
	Use    string // how it is used and what it cannot do, for the reader of the report
	Open   func() Stream
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
		{"cbor", "github.com/fxamacker/cbor/v2", "maps as map[string]any, integers as int64, limits raised; MarshalToBuffer", newCBOR},
		{"msgpack", "github.com/vmihailenco/msgpack/v5", "an Encoder and a Decoder that are reset", newMsgpack},
		{"msgp", "github.com/tinylib/msgp", "AppendIntf and ReadIntfBytes; typed: generated code, of which there is none for e", func() Stream { return &msgpStream{} }},
		{"json", "", "an Encoder, and Unmarshal; numbers come back as float64, bytes as base64", func() Stream { return newJSON() }},
		{"json v2", "github.com/go-json-experiment/json", "MarshalWrite and Unmarshal; as json", func() Stream { return &json2Stream{} }},
		{"segmentio", "github.com/segmentio/encoding", "JSON: Append and Unmarshal; as json; its code for e would recurse without end", func() Stream { return &segmentioStream{} }},
		{"gob", "", "a stream that has sent its types before; empty lists come back as nil", newGob},
	}
}
