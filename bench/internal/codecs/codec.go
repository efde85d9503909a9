// Package codecs measures our codec beside others, on the same values.
package codecs

// Codec is one way to turn values into bytes and back.
type Codec struct {
	Name   string
	Module string // whose version is reported; empty if it comes with Go
	Use    string // what a reader should know of how it is used, and what it cannot do
	Open   func() Stream
}

// Stream encodes and decodes one value in one form, again and again, and
// keeps what it may keep from one time to the next.
type Stream interface {
	// Encode encodes a tree, or what a pointer points to. The bytes are
	// valid until the next call.
	Encode(v any) ([]byte, error)
	// Decode decodes into what v points to.
	Decode(data []byte, v any) error
}

// isTree reports whether v is a tree of any, not a pointer to a Go type.
func isTree(v any) bool {
	switch v.(type) {
	case map[string]any, []any, []byte:
		return true
	}
	return false
}

// Peers are all codecs, ours first.
func Peers() []Codec {
	return []Codec{
		{ours, "", "", func() Stream { return &dirtyStream{} }},
		{"cbor", "github.com/fxamacker/cbor/v2", "maps as map[string]any, integers as int64, limits raised; MarshalToBuffer", newCBOR},
		{"msgpack", "github.com/vmihailenco/msgpack/v5", "an Encoder and a Decoder that are reset", newMsgpack},
		{"msgp", "github.com/tinylib/msgp", "AppendIntf and ReadIntfBytes; typed: generated code, which there is none of for e", func() Stream { return &msgpStream{} }},
		{"json", "", "an Encoder, and Unmarshal; numbers come back as float64, bytes as base64", func() Stream { return newJSON() }},
		{"json v2", "github.com/go-json-experiment/json", "MarshalWrite and Unmarshal; as json", func() Stream { return &json2Stream{} }},
		{"gob", "", "a stream that has sent its types before; empty lists come back as nil", newGob},
	}
}
