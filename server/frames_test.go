package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frameHandler is a function as a FrameHandler.
type frameHandler func(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error

func (h frameHandler) ServeFrame(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
	return h(ctx, w, f)
}

// connectFrames connects to a server with a FrameHandler.
func connectFrames(tb testing.TB, h frameHandler) *dirty.Conn {
	tb.Helper()
	return connect(tb, &server.Server{FrameHandler: h})
}

// frameOf encodes a message.
func frameOf(tb testing.TB, m dirty.Message) dirty.Frame {
	tb.Helper()
	b, err := dirty.AppendMessage(nil, m)
	require.NoError(tb, err)
	var f dirty.Frame
	require.NoError(tb, f.UnmarshalBinary(b))
	return f
}

// TestFramesComeUndecoded checks that a FrameHandler gets frames of all types as they
// were sent, also those that cannot be decoded.
func TestFramesComeUndecoded(t *testing.T) {
	var got dirty.Frame
	c := connectFrames(t, func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
		got = dirty.Frame{Header: f.Header, Payload: append(dirty.RawValue(nil), f.Payload...)}
		return w.Frame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeResponse, RequestID: 99}, Payload: f.Payload})
	})
	request := dirty.NewRequest(7, app, "do", nil, nil)
	request.OrderedKwargs = dirty.Dict{{Key: "z", Value: 1}, {Key: "a", Value: 2}}
	for name, f := range map[string]dirty.Frame{
		"request, keyword arguments in their order": frameOf(t, request),
		"request, broken": {Header: dirty.Header{Type: dirty.TypeRequest, Length: 7, RequestID: 7}, Payload: dirty.RawValue("garbage")},
		"stash":           frameOf(t, dirty.NewStashRequest(7, dirty.StashGet, "t", "k", nil, "")),
		"status":          frameOf(t, dirty.NewStatusRequest(7)),
		"manage":          frameOf(t, dirty.NewManageRequest(7, dirty.ManageAdd, 1)),
		"response":        frameOf(t, dirty.NewResponse(7, 1)),
		"error":           frameOf(t, dirty.NewErrorReply(7, errBoom)),
		"chunk":           frameOf(t, dirty.NewChunk(7, 1)),
		"end":             frameOf(t, dirty.NewEnd(7)),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.WriteFrame(f))
			reply, err := c.ReadFrame()
			require.NoError(t, err)
			assert.Equal(t, f.Header, got.Header)
			assert.Equal(t, string(f.Payload), string(got.Payload))
			assert.Equal(t, dirty.Header{Type: dirty.TypeResponse, RequestID: 7, Length: f.Length}, reply.Header)
			assert.Equal(t, string(f.Payload), string(reply.Payload))
		})
	}
}

// TestLargeFramesReuseMemory checks that large frames to a FrameHandler are read into the
// memory of those before them, on several connections, and that each comes whole.
func TestLargeFramesReuseMemory(t *testing.T) {
	const conns, frames, size = 3, 12, 3 << 19
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no memory is used again but by us
	var reused atomic.Int64
	var seen sync.Map // the memory of frames
	s := &server.Server{FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
		if n := bytes.Count(f.Payload, []byte{byte(f.RequestID)}); n != len(f.Payload) {
			return fmt.Errorf("%d of %d bytes are right", n, len(f.Payload))
		}
		if _, again := seen.LoadOrStore(&f.Payload[0], true); again {
			reused.Add(1)
		}
		return w.Respond(len(f.Payload))
	})}
	path := start(t, s)
	var running sync.WaitGroup
	for i := range conns {
		running.Go(func() {
			nc, err := net.Dial("unix", path)
			if !assert.NoError(t, err) {
				return
			}
			defer nc.Close()
			c := dirty.NewConn(nc)
			payload := make([]byte, size)
			for j := range frames {
				id := i*frames + j + 1
				for k := range payload {
					payload[k] = byte(id)
				}
				f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest, RequestID: uint64(id)}, Payload: payload}
				if !assert.NoError(t, c.WriteFrame(f)) {
					return
				}
				m, err := c.ReadMessage()
				if !assert.NoError(t, err) || !assert.Equal(t, dirty.NewResponse(uint64(id), int64(size)), m) {
					return
				}
			}
		})
	}
	running.Wait()
	assert.Positive(t, reused.Load())
}

// TestFrameReplies checks what a FrameHandler can write, and in which order.
func TestFrameReplies(t *testing.T) {
	response, chunk, end := frameOf(t, dirty.NewResponse(1, "x")), frameOf(t, dirty.NewChunk(1, 5)), frameOf(t, dirty.NewEnd(1))
	failure := frameOf(t, dirty.NewErrorReply(1, &dirty.RemoteError{Type: "MyError", Message: "m"}))
	huge := dirty.Frame{Header: response.Header, Payload: make([]byte, dirty.MaxPayloadSize+1)}
	for name, test := range map[string]struct {
		frames []dirty.Frame
		last   error // of the last Frame
		want   []dirty.MessageType
		class  string // of the last, if it is an error
	}{
		"response":                  {[]dirty.Frame{response}, nil, []dirty.MessageType{dirty.TypeResponse}, ""},
		"error":                     {[]dirty.Frame{failure}, nil, []dirty.MessageType{dirty.TypeError}, "MyError"},
		"end alone":                 {[]dirty.Frame{end}, nil, []dirty.MessageType{dirty.TypeEnd}, ""},
		"stream":                    {[]dirty.Frame{chunk, chunk, end}, nil, []dirty.MessageType{dirty.TypeChunk, dirty.TypeChunk, dirty.TypeEnd}, ""},
		"stream that fails":         {[]dirty.Frame{chunk, failure}, nil, []dirty.MessageType{dirty.TypeChunk, dirty.TypeError}, "MyError"},
		"stream that is left open":  {[]dirty.Frame{chunk}, nil, []dirty.MessageType{dirty.TypeChunk, dirty.TypeEnd}, ""},
		"nothing":                   {nil, nil, []dirty.MessageType{dirty.TypeResponse}, ""},
		"response after a chunk":    {[]dirty.Frame{chunk, response}, server.ErrStreaming, []dirty.MessageType{dirty.TypeChunk, dirty.TypeError}, dirty.ClassApp},
		"response after a response": {[]dirty.Frame{response, response}, server.ErrReplied, []dirty.MessageType{dirty.TypeResponse}, ""},
		"chunk after a response":    {[]dirty.Frame{response, chunk}, server.ErrReplied, []dirty.MessageType{dirty.TypeResponse}, ""},
		"end after an error":        {[]dirty.Frame{failure, end}, server.ErrReplied, []dirty.MessageType{dirty.TypeError}, "MyError"},
		"chunk after an end":        {[]dirty.Frame{end, chunk}, server.ErrReplied, []dirty.MessageType{dirty.TypeEnd}, ""},
		"request":                   {[]dirty.Frame{frameOf(t, dirty.NewStatusRequest(1))}, server.ErrNoReply, []dirty.MessageType{dirty.TypeError}, dirty.ClassApp},
		"unknown type":              {[]dirty.Frame{{Header: dirty.Header{Type: 0x7f}}}, server.ErrNoReply, []dirty.MessageType{dirty.TypeError}, dirty.ClassApp},
		"too large":                 {[]dirty.Frame{huge}, dirty.ErrTooLarge, []dirty.MessageType{dirty.TypeError}, dirty.ClassApp},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			s := &server.Server{FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
				if f.Type != dirty.TypeRequest {
					return w.Respond(false)
				}
				for _, f := range test.frames {
					last = w.Frame(f)
				}
				return nil
			})}
			c := connect(t, s)
			require.NoError(t, c.WriteMessage(dirty.NewRequest(5, app, "do", nil, nil)))
			var m dirty.Message
			for _, want := range test.want {
				m = receive(t, c)
				assert.Equal(t, want, m.Type())
				assert.EqualValues(t, 5, m.RequestID())
			}
			usable(t, c)
			assert.ErrorIs(t, last, test.last)
			errors := 0
			if test.class != "" {
				errors = 1
				assert.Equal(t, test.class, failed(t, m).Type)
			}
			assert.EqualValues(t, errors, s.Stats().Errors)
			assert.EqualValues(t, 1, s.Stats().Requests, "messages of other types are no requests")
		})
	}
}

// TestFrameAfterGatheredChunks checks that frames stay in order with chunks that are
// gathered.
func TestFrameAfterGatheredChunks(t *testing.T) {
	chunk := frameOf(t, dirty.NewChunk(1, -1))
	c := connectFrames(t, func(_ context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
		w.GatherChunks()
		for i := range 100 {
			if err := errors.Join(w.Chunk(2*i), w.Chunk(2*i+1), w.Frame(chunk)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
	for i := range 100 {
		for _, want := range []int{2 * i, 2*i + 1, -1} {
			require.Equal(t, dirty.NewChunk(1, int64(want)), receive(t, c))
		}
	}
	assert.Equal(t, dirty.NewEnd(1), receive(t, c))
}

// TestMaxConcurrentOfFrames checks that MaxConcurrent bounds requests, and no other
// messages.
func TestMaxConcurrentOfFrames(t *testing.T) {
	running, finish := make(chan struct{}, 2), make(chan struct{})
	s := &server.Server{MaxConcurrent: 1, FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
		if f.Type == dirty.TypeRequest {
			running <- struct{}{}
			<-finish
		}
		return w.Respond(false)
	})}
	path := start(t, s)
	first, second, third := dial(t, path), dial(t, path), dial(t, path)
	require.NoError(t, first.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
	wait(t, "the first request", running)
	require.NoError(t, second.WriteMessage(dirty.NewRequest(2, app, "do", nil, nil)))
	eventually(t, "the second request waits", func() bool { return s.Stats().Queued == 1 })
	usable(t, third)
	assert.Equal(t, 1, s.Stats().Running)
	close(finish)
	assert.Equal(t, dirty.NewResponse(1, false), receive(t, first))
	assert.Equal(t, dirty.NewResponse(2, false), receive(t, second))
	eventually(t, "nothing runs", func() bool { return s.Stats().Running == 0 })
}

// TestFrameHandlerThatFails checks that a FrameHandler may fail in all ways.
func TestFrameHandlerThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		fail    func() error
		message string // "": the connection is closed without a reply
		closed  bool
		panics  int
	}{
		"error":  {func() error { return errBoom }, "boom", false, 0},
		"panic":  {func() error { panic("secret") }, "internal error", false, 1},
		"Goexit": {func() error { runtime.Goexit(); return nil }, "internal error", true, 1},
		"abort":  {func() error { panic(server.ErrAbortHandler) }, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server.Server{MaxConcurrent: 1, FrameHandler: frameHandler(func(context.Context, *server.ResponseWriter, dirty.Frame) error { return test.fail() })}
			path := start(t, s)
			for range 2 { // the second time its place is free again
				c := dial(t, path)
				require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
				if test.message != "" {
					assert.Equal(t, test.message, failed(t, receive(t, c)).Message)
				}
				if test.closed {
					closed(t, c)
				}
			}
			eventually(t, "the panics are counted", func() bool { return s.Stats().Panics == uint64(2*test.panics) })
			eventually(t, "nothing runs", func() bool { return s.Stats().Running == 0 })
		})
	}
}

// TestFrameHandlerDelegates checks that a FrameHandler can decode a frame and pass it
// to a Handler.
func TestFrameHandlerDelegates(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "add", server.Func(func(_ context.Context, arg struct{ A, B int }) (int, error) { return arg.A + arg.B, nil }))
	c := connectFrames(t, func(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
		m, err := f.Message()
		if err != nil {
			return err
		}
		return mux.ServeDirty(ctx, w, m.(*dirty.Request))
	})
	assert.Equal(t, dirty.NewResponse(1, int64(3)), call(t, c, "add", 1, 2))
}
