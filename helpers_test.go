package dirty_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shortTempDir is like t.TempDir, with a short path: that of a socket may have only
// about 100 bytes.
func shortTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "d")
	require.NoError(tb, err)
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// unhex returns the bytes of hexadecimal digits, which may have spaces between them.
func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	require.NoError(t, err)
	return b
}

// raceEnabled tells whether the race detector is on. Then sync.Pool drops things at
// random, so that allocations cannot be counted.
var raceEnabled = func() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// allocated returns how many bytes f allocates. It calls f a few times and returns
// the smallest number, because the runtime allocates too.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 4 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// join returns encoded values one after the other.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case dirty.RawValue:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		}
	}
	return b
}

// liveHeap returns how many bytes of memory are in use. It collects garbage often
// enough to empty every sync.Pool.
func liveHeap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// unixPair returns the two ends of a connection over a Unix socket.
func unixPair(t testing.TB) (a, b *net.UnixConn) {
	l, err := net.Listen("unix", filepath.Join(shortTempDir(t), "s"))
	require.NoError(t, err)
	defer l.Close()
	dialled := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("unix", l.Addr().String())
		assert.NoError(t, err)
		dialled <- c
	}()
	near, err := l.Accept()
	require.NoError(t, err)
	far := <-dialled
	require.NotNil(t, far)
	t.Cleanup(func() { near.Close(); far.Close() })
	return near.(*net.UnixConn), far.(*net.UnixConn)
}

// streamMessages returns messages of all the sizes that a Reader treats differently.
func streamMessages() []dirty.Message {
	text := func(n int) string { return strings.Repeat("text", n/4) }
	return []dirty.Message{
		dirty.NewEnd(1),
		dirty.NewRequest(2, "m:C", "act", []any{"x"}, map[string]any{"k": int64(1)}),
		dirty.NewChunk(3, text(5_000)),
		dirty.NewStatusRequest(4),
		dirty.NewResponse(5, []byte(text(70_000))),
		dirty.NewChunk(6, []any{text(40_000), text(60_000), []byte(text(80_000))}),
		dirty.NewResponse(7, text(64<<10-21)),
		dirty.NewResponse(8, []byte(text(1_200_000))),
		dirty.NewManageRequest(9, dirty.ManageAdd, 2),
		dirty.NewResponse(10, text(200_000)),
		dirty.NewEnd(11),
	}
}

// streamOf returns the frames of messages one after the other.
func streamOf(t testing.TB, messages ...dirty.Message) (data []byte) {
	for _, m := range messages {
		var err error
		data, err = dirty.AppendMessage(data, m)
		require.NoError(t, err)
	}
	return data
}

// frame returns a frame whose payload was written by hand.
func frame(typ dirty.MessageType, id uint64, payload ...string) []byte {
	f := dirty.Frame{Header: dirty.Header{Type: typ, RequestID: id}, Payload: dirty.RawValue(strings.Join(payload, ""))}
	b, err := f.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return b
}

// key returns the encoding of a string, for payloads written by hand.
func key(s string) string { return string(dirty.AppendString(nil, s)) }

// num returns the encoding of an integer, for payloads written by hand.
func num(n int64) string { return string(dirty.AppendInt64(nil, n)) }

// raw is mustMarshal for a RawValue.
func raw(t testing.TB, v any) dirty.RawValue {
	t.Helper()
	return mustMarshal(t, v)
}

// Encoded values and headers, for payloads written by hand.
const (
	none  = "\x00"
	int5  = "\x05\x00\x00\x00\x00\x00\x00\x00\x05"
	empty = "\x20\x00\x00\x00\x00" // a list
	dict0 = "\x21\x00\x00\x00\x00"
	dict1 = "\x21\x00\x00\x00\x01"
	dict2 = "\x21\x00\x00\x00\x02"
	dict3 = "\x21\x00\x00\x00\x03"
	dict4 = "\x21\x00\x00\x00\x04"
	dict5 = "\x21\x00\x00\x00\x05"
)

// some returns a pointer to v.
func some[T any](v T) *T { return &v }

// calmly calls f. A panic fails the test and becomes an error.
func calmly(t *testing.T, f func() error) (err error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			assert.Fail(t, "panic", "%v", r)
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// mustMarshal encodes v, which must have an encoding. t may be nil.
func mustMarshal(t testing.TB, v any) []byte {
	b, err := dirty.Marshal(v)
	if err != nil && t == nil {
		panic(err)
	} else if err != nil {
		t.Helper()
		require.NoError(t, err)
	}
	return b
}

// nest returns n lists inside each other, with v in the innermost.
func nest(n int, v any) any {
	for range n {
		v = []any{v}
	}
	return v
}

// marshalRow is a value and its encoding, in the notation of Diagnose.
type marshalRow struct {
	in   any
	want string
}

// checkMarshal checks what the values of the rows are encoded to.
func checkMarshal(t *testing.T, rows []marshalRow) {
	t.Helper()
	for _, tt := range rows {
		t.Run(fmt.Sprintf("%T %v", tt.in, tt.in), func(t *testing.T) {
			var b []byte
			require.NoError(t, calmly(t, func() (err error) { b, err = dirty.Marshal(tt.in); return err }))
			assert.Equal(t, tt.want, dirty.Diagnose(b))
			require.NoError(t, dirty.Validate(b))
			again, err := dirty.Append([]byte("before"), tt.in)
			require.NoError(t, err)
			assert.Equal(t, "before"+string(b), string(again))
		})
	}
}

// unmarshalRow is a value that is encoded, a pointer to the destination as it is
// before, and what the destination holds afterwards or the error.
type unmarshalRow struct{ in, dst, want any }

// checkUnmarshal decodes the values of the rows into their destinations.
func checkUnmarshal(t *testing.T, rows []unmarshalRow) {
	t.Helper()
	for _, tt := range rows {
		t.Run(fmt.Sprintf("%v into %T", tt.in, tt.dst), func(t *testing.T) {
			b := mustMarshal(t, tt.in)
			err := calmly(t, func() error { return dirty.Unmarshal(b, tt.dst) })
			want, fails := tt.want.(error)
			if _, ok := tt.dst.(*io.Reader); !ok && fails {
				var e *dirty.UnmarshalTypeError
				require.ErrorAs(t, err, &e)
				if !errors.Is(err, want) {
					assert.ErrorContains(t, err, want.Error())
				}
				assert.NotNil(t, e.Type)
				return
			}
			if fails {
				assert.ErrorIs(t, err, want)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, reflect.ValueOf(tt.dst).Elem().Interface())
		})
	}
}
