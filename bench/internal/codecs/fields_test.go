package codecs

import (
	"encoding/binary"
	"math"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// The keys of a values.Row, encoded.
var (
	idKey    = dirty.AppendString(nil, "id")
	nameKey  = dirty.AppendString(nil, "name")
	scoreKey = dirty.AppendString(nil, "score")
)

// BenchmarkFields says how near typed rows can come to code that is generated for
// them. By hand is what a generator would write for our format, with the same checks.
// Fields only reaches the fields by reflection, and does nothing with them.
func BenchmarkFields(b *testing.B) {
	v, err := values.All()[2].Make()
	require.NoError(b, err)
	rows := values.Rows(*v.Typed.(*[]values.Row))
	data, err := dirty.Marshal(rows)
	require.NoError(b, err)
	packed, err := rows.MarshalMsg(nil)
	require.NoError(b, err)

	var buf []byte
	sum, into := 0.0, make(values.Rows, len(rows))
	for _, way := range []struct {
		name string
		do   func()
	}{
		{"encode/msgp", func() { buf, _ = rows.MarshalMsg(buf[:0]) }},
		{"encode/dirty", func() { buf, _ = dirty.Append(buf[:0], &rows) }},
		{"encode/by hand", func() { buf = appendRows(buf[:0], rows) }},
		{"encode/fields", func() {
			list := reflect.ValueOf(&rows).Elem()
			for i := range list.Len() {
				row := list.Index(i)
				sum += float64(row.Field(0).Int()) + float64(len(row.Field(1).String())) + row.Field(2).Float()
			}
		}},
		{"decode/msgp", func() { _, _ = into.UnmarshalMsg(packed) }},
		{"decode/dirty", func() { _ = dirty.Unmarshal(data, &into) }},
		{"decode/check", func() { _ = dirty.Validate(data) }},
		{"decode/check and by hand", func() {
			if dirty.Validate(data) == nil {
				readRows(data, into)
			}
		}},
		{"decode/fields", func() {
			list := reflect.ValueOf(&into).Elem()
			for i := range list.Len() {
				row := list.Index(i)
				row.Field(0).SetInt(int64(i))
				row.Field(1).SetString("name")
				row.Field(2).SetFloat(sum)
			}
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				way.do()
			}
		})
	}
	require.Equal(b, data, appendRows(nil, rows))
	readRows(data, into)
	require.Equal(b, rows, into)
}

// appendRows encodes rows as dirty.Append does.
func appendRows(b []byte, rows values.Rows) []byte {
	b = dirty.AppendListHeader(b, len(rows))
	for i := range rows {
		r := &rows[i]
		b = dirty.AppendDictHeader(b, 3)
		b = dirty.AppendInt64(append(b, idKey...), int64(r.ID))
		b = dirty.AppendString(append(b, nameKey...), r.Name)
		b = dirty.AppendFloat64(append(b, scoreKey...), r.Score)
	}
	return b
}

// readRows decodes as many rows as there are. The data has been checked, and has its
// keys in the order of the fields.
func readRows(data []byte, rows values.Rows) {
	const prefix, number = 5, 9 // bytes
	data = data[prefix:]
	skipKey := func(key []byte) {
		if string(data[:len(key)]) != string(key) {
			panic("another key")
		}
		data = data[len(key):]
	}
	for i := range rows {
		data = data[prefix:]
		skipKey(idKey)
		rows[i].ID = int(binary.BigEndian.Uint64(data[1:]))
		data = data[number:]
		skipKey(nameKey)
		size := int(binary.BigEndian.Uint32(data[1:]))
		rows[i].Name = string(data[prefix : prefix+size])
		data = data[prefix+size:]
		skipKey(scoreKey)
		rows[i].Score = math.Float64frombits(binary.BigEndian.Uint64(data[1:]))
		data = data[number:]
	}
}
