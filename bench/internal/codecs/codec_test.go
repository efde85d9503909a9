package codecs

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// cannot has what a codec has no way to do. The report shows a dash for it.
var cannot = map[string]bool{
	"msgp/e levels/typed":      true, // no generated code for a list of itself
	"segmentio/e levels/typed": true, // it overflows the stack
}

// TestRoundTrip: all codecs do the same work. What comes back is what went in.
func TestRoundTrip(t *testing.T) {
	for _, source := range values.All() {
		v, err := source.Make()
		require.NoError(t, err)
		for _, c := range append([]Codec{Ours()}, Others()...) {
			v := v
			if c.Adapt != nil {
				v = c.Adapt(v)
			}
			t.Run(c.Name+"/"+v.Name+"/any", func(t *testing.T) {
				if !v.HasAny {
					return // it has no such form
				}
				want := v.Any
				switch c.Name {
				case "json", "json v2", "segmentio":
					want = asJSON(want)
				case "gob":
					want = asGob(want)
				}
				var got any
				s := c.Open()
				data, err := s.Encode(v.Any)
				if cannot[c.Name+"/"+v.Name+"/any"] {
					require.Error(t, err)
					return
				}
				require.NoError(t, err)
				for range 2 { // the second from a warm stream
					got = nil
					require.NoError(t, s.Decode(data, &got))
					require.Equal(t, want, got)
				}
			})
			t.Run(c.Name+"/"+v.Name+"/typed", func(t *testing.T) {
				if !v.HasTyped {
					return // it has no such form
				}
				s := c.Open()
				data, err := s.Encode(v.Sent)
				if cannot[c.Name+"/"+v.Name+"/typed"] {
					require.Error(t, err)
					return
				}
				require.NoError(t, err)
				want := v.Typed
				if node, ok := want.(*values.Node); ok && c.Name == "gob" {
					want = asGob(node)
				}
				reused := v.New()
				for range 2 {
					require.NoError(t, s.Decode(data, reused))
					requireEqual(t, want, reused)
					fresh := v.New()
					require.NoError(t, s.Decode(data, fresh))
					requireEqual(t, want, fresh)
				}
			})
		}
	}
}

// requireEqual compares values; messages of protobuf have state besides.
func requireEqual(t *testing.T, want, got any) {
	if m, ok := want.(proto.Message); ok {
		require.True(t, proto.Equal(m, got.(proto.Message)))
		return
	}
	require.Equal(t, want, got)
}

// asJSON returns what JSON makes of a tree: all numbers are floats, bytes are
// text.
func asJSON(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = asJSON(v[i])
		}
		return list
	case map[string]any:
		dict := make(map[string]any, len(v))
		for k := range v {
			dict[k] = asJSON(v[k])
		}
		return dict
	}
	return v
}

// asGob returns what gob makes of nested lists: an empty one comes back as nil.
func asGob(v any) any {
	switch v := v.(type) {
	case []any:
		var list []any
		for _, e := range v {
			list = append(list, asGob(e))
		}
		return list
	case *values.Node:
		var node values.Node
		for _, e := range *v {
			node = append(node, *asGob(&e).(*values.Node))
		}
		return &node
	}
	return v
}
