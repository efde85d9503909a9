package dirty_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var amplificationMiB = flag.Int("amplification.mib", 2, "size of the payloads of TestAmplification in MiB; the documented figures are for 60")

// shapes are values that take much more memory than their encoding. A payload
// repeats one of them in lists. i is different each time, so that texts differ.
var shapes = []struct {
	name  string
	value func(b []byte, i int) []byte
}{
	{"None", func(b []byte, _ int) []byte { return dirty.AppendNone(b) }},
	{"bool", func(b []byte, _ int) []byte { return dirty.AppendBool(b, true) }},
	{"int64", func(b []byte, i int) []byte { return dirty.AppendInt64(b, int64(i)<<20) }},
	{"float64", func(b []byte, i int) []byte { return dirty.AppendFloat64(b, float64(i)+0.5) }},
	{"string of 0", func(b []byte, _ int) []byte { return dirty.AppendString(b, "") }},
	{"string of 1", func(b []byte, _ int) []byte { return dirty.AppendString(b, "a") }},
	{"string of 2", func(b []byte, i int) []byte { return dirty.AppendString(b, text(i, 2)) }},
	{"string of 9", func(b []byte, i int) []byte { return dirty.AppendString(b, text(i, 9)) }},
	{"string of 129", func(b []byte, i int) []byte { return dirty.AppendString(b, text(i, 129)) }},
	{"bytes of 0", func(b []byte, _ int) []byte { return dirty.AppendBytes(b, nil) }},
	{"bytes of 1", func(b []byte, _ int) []byte { return dirty.AppendBytes(b, []byte{1}) }},
	{"bytes of 9", func(b []byte, i int) []byte { return dirty.AppendBytes(b, []byte(text(i, 9))) }},
	{"bytes of 1025", func(b []byte, i int) []byte { return dirty.AppendBytes(b, []byte(text(i, 1025))) }},
	{"list of 0", func(b []byte, _ int) []byte { return dirty.AppendListHeader(b, 0) }},
	{"list of 1", func(b []byte, _ int) []byte { return nils(b, 1) }},
	{"list of 3", func(b []byte, _ int) []byte { return nils(b, 3) }},
	{"list of 32", func(b []byte, _ int) []byte { return nils(b, 32) }},
	{"list of 33", func(b []byte, _ int) []byte { return nils(b, 33) }},
	{"list of 513", func(b []byte, _ int) []byte { return nils(b, 513) }},
	{"list of 2049", func(b []byte, _ int) []byte { return nils(b, 2049) }},
	{"list in list", func(b []byte, _ int) []byte { return dirty.AppendListHeader(dirty.AppendListHeader(b, 1), 0) }},
	{"dict of 0", func(b []byte, _ int) []byte { return dirty.AppendDictHeader(b, 0) }},
	{"dict of 1", func(b []byte, _ int) []byte { return keys(b, 0, 1, 0) }},
	{"dict of 1, distinct", func(b []byte, i int) []byte { return keys(b, i, 1, 7) }},
	{"dict of 1, long", func(b []byte, i int) []byte { return keys(b, i, 1, 65) }},
	{"dict of 8", func(b []byte, i int) []byte { return keys(b, i, 8, 3) }},
	{"dict of 9", func(b []byte, i int) []byte { return keys(b, i, 9, 3) }},
	{"dict of 15", func(b []byte, i int) []byte { return keys(b, i, 15, 3) }},
	{"dict of 113", func(b []byte, i int) []byte { return keys(b, i, 113, 3) }},
	{"dict of 900", func(b []byte, i int) []byte { return keys(b, i, 900, 3) }},
	{"dict of 100000", func(b []byte, i int) []byte { return keys(b, i, 100_000, 3) }},
	{"dict of equal keys", func(b []byte, _ int) []byte { return keys(b, 0, 1000, 0) }},
}

// text returns n bytes of text, which differ for different i if n allows it.
func text(i, n int) string {
	return fmt.Sprintf("%0*x", n, i)[:n]
}

// nils appends a list of n times None.
func nils(b []byte, n int) []byte {
	b = dirty.AppendListHeader(b, n)
	for range n {
		b = dirty.AppendNone(b)
	}
	return b
}

// keys appends a dict of n entries. size is the size of the keys in bytes, at least
// 3; with 0 all keys are empty.
func keys(b []byte, i, n, size int) []byte {
	b = dirty.AppendDictHeader(b, n)
	for k := range n {
		key := ""
		if size > 0 {
			key = strings.Repeat("k", size-3) + string([]byte{byte(i+k) & 0x7f, byte((i+k)>>7) & 0x7f, byte((i+k)>>14) & 0x7f})
		}
		b = dirty.AppendNone(dirty.AppendString(b, key))
	}
	return b
}

// payloadOf returns a payload of about the size with as many values as fit. It is a
// list of lists, because a single list has at most MaxElements.
func payloadOf(value func(b []byte, i int) []byte, size int) []byte {
	const perList = 1 << 16
	b := dirty.AppendListHeader(make([]byte, 0, size+1<<20), 0)
	lists := 0
	for i := 0; len(b) < size; lists++ {
		header, n := len(b), 0
		b = dirty.AppendListHeader(b, 0)
		for ; n < perList && len(b) < size; n++ {
			b = value(b, i)
			i++
		}
		binary.BigEndian.PutUint32(b[header+1:], uint32(n))
	}
	binary.BigEndian.PutUint32(b[1:], uint32(lists))
	return b
}

// TestAmplification measures the memory of decoded payloads. What MaxMemory lets
// pass takes at most ten times the size of the payload. If a payload of one shape
// is refused at full size, a smaller one is measured, and the rest is counted as
// one bytes value.
func TestAmplification(t *testing.T) {
	if raceEnabled {
		t.Skip("NOT RUN: the race detector takes memory of its own; run it without -race")
	}
	size := *amplificationMiB << 20
	limits := dirty.Limits{MaxMemory: dirty.DefaultMaxMemory * *amplificationMiB / 60}
	for _, s := range shapes {
		for name, opts := range map[string]dirty.DecodeOptions{"map": {Limits: limits}, "Dict": {Limits: limits, UseDict: true}} {
			part := size
			payload := payloadOf(s.value, part)
			for errors.Is(opts.Validate(payload), dirty.ErrTooLarge) {
				part = part * 95 / 100
				payload = payloadOf(s.value, part)
			}
			live, total := memoryOf(t, opts, payload)
			// The rest of the payload is bytes, which decode to the same size.
			rest := uint64(size - part)
			worst := float64(live+rest) / float64(size)
			t.Logf("%-20s %-4s accepted %5.1f MiB: live %4.1fx, allocated %4.1fx, of a full payload %4.1fx",
				s.name, name, float64(part)/(1<<20), float64(live)/float64(part), float64(total)/float64(part), worst)
			assert.LessOrEqual(t, worst, 10.0, s.name)
			// MaxMemory is compared with an estimate, which must not be too small.
			assert.LessOrEqual(t, live, uint64(limits.MaxMemory)*11/10, s.name)
		}
	}
}

// memoryOf decodes a payload. It returns the memory that the result keeps, and all
// the memory that was allocated on the way.
func memoryOf(t *testing.T, opts dirty.DecodeOptions, payload []byte) (live, total uint64) {
	t.Helper()
	var before, after runtime.MemStats
	var v any
	runtime.GC()
	runtime.ReadMemStats(&before)
	require.NoError(t, opts.Unmarshal(payload, &v))
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(v)
	runtime.KeepAlive(payload)
	return after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc), after.TotalAlloc - before.TotalAlloc
}
