package client_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// badPayloads are what no reply can have as its payload.
var badPayloads = []struct {
	name    string
	payload []byte
	want    error
}{
	{"none", encoded(nil), dirty.ErrMalformed},
	{"a bool", encoded(true), dirty.ErrMalformed},
	{"a list", encoded([]any{}), dirty.ErrMalformed},
	{"a list of pairs", encoded([]any{[]any{"result", 1}}), dirty.ErrMalformed},
	{"a number", encoded(1), dirty.ErrMalformed},
	{"text", encoded("result"), dirty.ErrMalformed},
	{"no value", []byte{0x20}, dirty.ErrMalformed},
	{"an unknown type code", []byte{0x07}, dirty.ErrMalformed},
	{"an unknown type code in a key that is skipped", append([]byte{0x21, 0, 0, 0, 1, 0x11, 0, 0, 0, 1, 'x'}, 0x07), dirty.ErrMalformed},
	{"cut short", encoded(map[string]any{"result": "text", "data": "text", "error": "text"})[:40], dirty.ErrMalformed},
	{"trailing bytes", append(encoded(map[string]any{"result": 1}), 0), dirty.ErrTrailingData},
	{"a count beyond the end", []byte{0x21, 0xff, 0xff, 0xff, 0xff}, dirty.ErrTooLarge},
	{"a key that is no string", []byte{0x21, 0, 0, 0, 1, 0, 0}, dirty.ErrMalformed},
	{"text that is no UTF-8", append(bytes.TrimSuffix(encoded(map[string]any{"result": "x"}), []byte("x")), 0xff), dirty.ErrInvalidUTF8},
	{"too deep", append(encoded(map[string]any{})[:1], append([]byte{0, 0, 0, 1, 0x11, 0, 0, 0, 6, 'r', 'e', 's', 'u', 'l', 't'}, bytes.Repeat([]byte{0x20, 0, 0, 0, 1}, 2000)...)...), dirty.ErrTooDeep},
}

// TestBadPayload: a reply that cannot be decoded is the end of that call, but
// not of the connection: the frame was read whole.
func TestBadPayload(t *testing.T) {
	for _, tt := range badPayloads {
		for what, reply := range map[string]struct {
			kind dirty.MessageType
			call func(c *client.Client) error
		}{
			"response": {dirty.TypeResponse, func(c *client.Client) error {
				_, err := c.Execute(context.Background(), app, "x")
				return err
			}},
			"response as an int": {dirty.TypeResponse, func(c *client.Client) error {
				_, err := client.Call[int](context.Background(), c, app, "x")
				return err
			}},
			"response to a stream": {dirty.TypeResponse, func(c *client.Client) error {
				_, err := collect(c.Stream(context.Background(), app, "x"))
				return err
			}},
			"status": {dirty.TypeResponse, func(c *client.Client) error { return c.Ping(context.Background()) }},
			"error": {dirty.TypeError, func(c *client.Client) error {
				_, err := c.Execute(context.Background(), app, "x")
				return err
			}},
			"error to a stream": {dirty.TypeError, func(c *client.Client) error {
				_, err := collect(c.Stream(context.Background(), app, "x"))
				return err
			}},
		} {
			t.Run(tt.name+"/"+what, func(t *testing.T) {
				p := newPeer(t, sendingOnce(func(id uint64) []byte { return rawFrame(reply.kind, id, tt.payload) }))
				c := p.client(t)
				err := reply.call(c)
				require.ErrorIs(t, err, tt.want)
				requireOp(t, err, client.StageDecode, true)
				assert.False(t, isUnknown(err), "the answer was received")
				assert.False(t, client.SafeToRetry(err))
				requireServes(t, c)
				assert.Equal(t, 1, p.connections())
			})
		}
	}
}

// TestPayload: what a payload may be, besides what gunicorn sends.
func TestPayload(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload []byte
		want    any
	}{
		{"empty", nil, nil},
		{"an empty dict", encoded(map[string]any{}), nil},
		{"none", encoded(map[string]any{"result": nil}), nil},
		{"more keys", encoded(map[string]any{"a": []any{1}, "result": "x", "z": map[string]any{"result": 1}}), "x"},
		{"keys named like the header", encoded(map[string]any{"type": "error", "id": 5, "result": "x", "error": "y"}), "x"},
		{"the last of equal keys", encoded(dirty.RawValue("\x21\x00\x00\x00\x02" +
			"\x11\x00\x00\x00\x06result\x01\x01" + "\x11\x00\x00\x00\x06result\x01\x00")), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte { return rawFrame(dirty.TypeResponse, id, tt.payload) }))
			c := p.client(t)
			got, err := c.Execute(context.Background(), app, "x")
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			requireServes(t, c)
			assert.Equal(t, 1, p.connections())
		})
	}
}

// TestEmptyErrorReply: gunicorn's own default.
func TestEmptyErrorReply(t *testing.T) {
	for name, payload := range map[string][]byte{"empty": nil, "no error": encoded(map[string]any{"x": 1})} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte { return rawFrame(dirty.TypeError, id, payload) }))
			_, err := p.client(t).Execute(context.Background(), app, "x")
			var remote *dirty.RemoteError
			require.ErrorAs(t, err, &remote)
			assert.Equal(t, &dirty.RemoteError{Type: "DirtyError", Message: "Unknown error"}, remote)
		})
	}
}

// TestWrongResultType: nothing is lost but the result.
func TestWrongResultType(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	type half struct {
		A int
		B string
	}
	for name, call := range map[string]func() (any, error){
		"a list as an int": func() (any, error) {
			v, err := client.Call[int](context.Background(), c, app, "echo", 1)
			return v == 0, err
		},
		"text as an int": func() (any, error) {
			v, err := client.Call[[]int](context.Background(), c, app, "echo", 1, "two")
			return v == nil, err
		},
		"half of a struct": func() (any, error) {
			v, err := client.Call[[1]half](context.Background(), c, app, "echo", map[string]any{"A": 1, "B": 2})
			return v == [1]half{}, err
		},
		"an overflow": func() (any, error) {
			v, err := client.Call[[]int8](context.Background(), c, app, "echo", 1000)
			return v == nil, err
		},
	} {
		zero, err := call()
		requireOp(t, err, client.StageDecode, true)
		var wrong *dirty.UnmarshalTypeError
		require.ErrorAs(t, err, &wrong, name)
		assert.Equal(t, true, zero, name)
		assert.Contains(t, wrong.Path, "result", name)
		assert.False(t, isUnknown(err))
		assert.False(t, client.SafeToRetry(err))
	}
	assert.Equal(t, 1, p.connections())
}

// TestTooLarge: a header that announces more than the limit is the end of the
// connection, and nothing is allocated for it.
func TestTooLarge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits dirty.Limits
		length uint32
	}{
		{"the protocol's", dirty.Limits{}, dirty.MaxPayloadSize + 1},
		{"all ones", dirty.Limits{}, 1<<32 - 1},
		{"the client's", dirty.Limits{MaxPayload: 1000}, 1001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte {
				b := rawFrame(dirty.TypeResponse, id, nil)
				b[4], b[5], b[6], b[7] = byte(tt.length>>24), byte(tt.length>>16), byte(tt.length>>8), byte(tt.length)
				return b
			}))
			c := p.client(t, client.WithLimits(tt.limits))
			_, err := c.Execute(context.Background(), app, "x")
			require.ErrorIs(t, err, dirty.ErrTooLarge)
			requireOp(t, err, client.StageRead, true)
			assert.True(t, isUnknown(err))
			assert.Equal(t, client.ClosedStats{Protocol: 1}, c.Stats().Closed)
			requireServes(t, c)
			assert.Equal(t, 2, p.connections())
		})
	}
}

// TestUnsendable: arguments that cannot be sent are refused before a byte is
// written, and the connection is kept.
func TestUnsendable(t *testing.T) {
	for _, tt := range []struct {
		name string
		arg  any
		want error
	}{
		{"a channel", make(chan int), dirty.ErrUnsupportedType},
		{"a function", func() {}, dirty.ErrUnsupportedType},
		{"a large uint", uint64(1 << 63), dirty.ErrOverflow},
		{"no UTF-8", "\xff", dirty.ErrInvalidUTF8},
		{"too deep", []any{[]any{[]any{[]any{}}}}, dirty.ErrTooDeep},
		{"too large", make([]byte, 2000), dirty.ErrTooLarge},
		{"too large together", []any{make([]byte, 900), make([]byte, 900)}, dirty.ErrTooLarge},
		{"a marshaler that fails", marshaler{err: assert.AnError}, assert.AnError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, answering(arbiter))
			c := p.client(t, client.WithLimits(dirty.Limits{MaxPayload: 1000, MaxDepth: 5}))
			_, err := c.Execute(context.Background(), app, "echo", 1, tt.arg)
			require.ErrorIs(t, err, tt.want)
			requireOp(t, err, client.StagePrepare, false)
			assert.False(t, isUnknown(err))
			assert.False(t, client.SafeToRetry(err))

			_, err = c.OpenStream(context.Background(), app, "count", client.Kwargs{"k": tt.arg})
			require.ErrorIs(t, err, tt.want)
			requireOp(t, err, client.StagePrepare, false)
			requireServes(t, c)
			assert.Equal(t, 1, p.connections())
			assert.Zero(t, c.Stats().Retries)
		})
	}
}

// TestPanickingMarshaler: a call whose argument or result panics fails, and keeps
// no connection.
func TestPanickingMarshaler(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	for name, opts := range map[string][]client.Option{"": nil, "inside an interceptor": {client.WithInterceptor(passOn)}} {
		t.Run(name, func(t *testing.T) {
			c := p.client(t, append(opts, client.WithMaxConns(1))...)
			for range 3 {
				_, err := c.Execute(context.Background(), app, "echo", marshaler{panics: true})
				requireHook(t, err, client.StagePrepare, false, "encoding or decoding of a value panicked: marshaler")
				_, err = c.OpenStream(context.Background(), app, "count", marshaler{panics: true})
				requireHook(t, err, client.StagePrepare, false, "encoding or decoding of a value panicked: marshaler")
				_, err = client.Call[[]unmarshaler](context.Background(), c, app, "echo", 1)
				requireHook(t, err, client.StageDecode, true, "encoding or decoding of a value panicked: unmarshaler")
				_, err = collect(client.StreamOf[unmarshaler](context.Background(), c, app, "count", 1))
				requireHook(t, err, client.StageDecode, true, "encoding or decoding of a value panicked: unmarshaler")
			}
			requireServes(t, c)
		})
	}
}

// passOn is an interceptor that changes nothing.
func passOn(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
	return next(ctx)
}

// requireHook checks the error of a call whose hook did not return.
func requireHook(tb testing.TB, err error, stage client.Stage, sent bool, text string) {
	tb.Helper()
	require.ErrorIs(tb, err, client.ErrHookFailed)
	requireOp(tb, err, stage, sent)
	assert.Contains(tb, err.Error(), text)
	assert.False(tb, client.SafeToRetry(err))
}

type marshaler struct {
	err    error
	panics bool
}

func (m marshaler) AppendTLV(b []byte) ([]byte, error) {
	if m.panics {
		panic("marshaler")
	}
	return b, m.err
}

type unmarshaler struct{}

func (*unmarshaler) UnmarshalTLV([]byte) error { panic("unmarshaler") }
