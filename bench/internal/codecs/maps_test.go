package codecs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tinylib/msgp/msgp"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// BenchmarkMaps shows what encoding the maps of value j is made of, whose keys all
// differ: ranging over them, which is random in its order; writing what comes in that
// order; and sorting. msgp does not sort.
func BenchmarkMaps(b *testing.B) {
	var rows []any
	for _, source := range values.All() {
		if source.Name == "j all shapes" {
			v, err := source.Make()
			require.NoError(b, err)
			rows = v.Any.([]any)
		}
	}
	require.NotEmpty(b, rows)
	buf := make([]byte, 0, 1<<20)
	for _, way := range []struct {
		name string
		run  func()
	}{
		{"range", func() {
			keys := 0
			for _, row := range rows {
				for key := range row.(map[string]any) {
					keys += len(key)
				}
			}
			require.Positive(b, keys)
		}},
		{"unsorted", func() {
			buf = dirty.AppendListHeader(buf[:0], len(rows))
			for _, row := range rows {
				m := row.(map[string]any)
				buf = dirty.AppendDictHeader(buf, len(m))
				for key, v := range m {
					buf = dirty.AppendString(buf, key)
					switch v := v.(type) {
					case int64:
						buf = dirty.AppendInt64(buf, v)
					case float64:
						buf = dirty.AppendFloat64(buf, v)
					case string:
						buf = dirty.AppendString(buf, v)
					}
				}
			}
		}},
		{"dirty", func() { buf, _ = dirty.Append(buf[:0], rows) }},
		{"msgp", func() { buf, _ = msgp.AppendIntf(buf[:0], rows) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				way.run()
			}
		})
	}
}
