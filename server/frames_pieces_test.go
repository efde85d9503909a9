package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// large is a payload that passes in pieces.
var large = bytes.Repeat([]byte("0123456789"), 100<<10)

// largeHeader is the header for large.
func largeHeader(typ dirty.MessageType) dirty.Header {
	return dirty.Header{Type: typ, Length: uint32(len(large)), RequestID: 99}
}

// TestFrameFrom checks replies that are written while they come.
func TestFrameFrom(t *testing.T) {
	for name, test := range map[string]struct {
		types []dirty.MessageType // of what is written
		last  error
		want  []dirty.MessageType
	}{
		"response":                 {[]dirty.MessageType{dirty.TypeResponse}, nil, []dirty.MessageType{dirty.TypeResponse}},
		"chunks":                   {[]dirty.MessageType{dirty.TypeChunk, dirty.TypeChunk}, nil, []dirty.MessageType{dirty.TypeChunk, dirty.TypeChunk, dirty.TypeEnd}},
		"chunk after a response":   {[]dirty.MessageType{dirty.TypeResponse, dirty.TypeChunk}, server.ErrReplied, []dirty.MessageType{dirty.TypeResponse}},
		"response after a chunk":   {[]dirty.MessageType{dirty.TypeChunk, dirty.TypeResponse}, server.ErrStreaming, []dirty.MessageType{dirty.TypeChunk, dirty.TypeError}},
		"error":                    {[]dirty.MessageType{dirty.TypeError}, server.ErrNoReply, []dirty.MessageType{dirty.TypeError}},
		"request":                  {[]dirty.MessageType{dirty.TypeRequest}, server.ErrNoReply, []dirty.MessageType{dirty.TypeError}},
		"a type that is not known": {[]dirty.MessageType{0x7f}, server.ErrNoReply, []dirty.MessageType{dirty.TypeError}},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			s := &server.Server{FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
				if f.Type != dirty.TypeRequest {
					return w.Respond(false)
				}
				for _, typ := range test.types {
					last = w.FrameFrom(largeHeader(typ), bytes.NewReader(large))
				}
				return nil
			})}
			c := connect(t, s)
			require.NoError(t, c.WriteMessage(dirty.NewRequest(5, app, "do", nil, nil)))
			for _, want := range test.want {
				f, err := c.ReadFrame()
				require.NoError(t, err)
				assert.Equal(t, want, f.Type)
				assert.EqualValues(t, 5, f.RequestID)
				if want == dirty.TypeResponse || want == dirty.TypeChunk {
					assert.True(t, bytes.Equal(large, f.Payload))
				}
			}
			usable(t, c)
			assert.ErrorIs(t, last, test.last)
		})
	}
}

// TestFrameFromTooLarge checks that a header over the limit is refused before anything
// is written.
func TestFrameFromTooLarge(t *testing.T) {
	c := connect(t, &server.Server{Limits: dirty.Limits{MaxPayload: 1000}, FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
		return w.FrameFrom(largeHeader(dirty.TypeChunk), bytes.NewReader(large))
	})})
	require.NoError(t, c.WriteMessage(dirty.NewRequest(5, app, "do", nil, nil)))
	assert.Contains(t, failed(t, receive(t, c)).Message, "too large")
}

// TestFrameFromCut checks that nothing follows half a frame, whatever the handler does
// then: the connection is closed.
func TestFrameFromCut(t *testing.T) {
	for _, at := range []int{0, 1, 100 << 10, 256 << 10, len(large) - 1} {
		begun := bytes.NewReader(large[:at])
		for name, test := range map[string]struct {
			rest func(p []byte) (int, error)
			err  error // of FrameFrom; nil: it does not return
		}{
			"end":    {func([]byte) (int, error) { return 0, io.EOF }, io.ErrUnexpectedEOF},
			"error":  {func([]byte) (int, error) { return 0, errBoom }, errBoom},
			"panic":  {func([]byte) (int, error) { panic("secret") }, nil},
			"Goexit": {func([]byte) (int, error) { runtime.Goexit(); return 0, nil }, nil},
		} {
			t.Run(name, func(t *testing.T) {
				s := &server.Server{FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
					begun.Reset(large[:at])
					payload := readers{begun.Read, test.rest}
					err := w.FrameFrom(largeHeader(dirty.TypeResponse), &payload)
					assert.ErrorIs(t, err, test.err)
					assert.Error(t, w.Frame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeResponse}}))
					assert.Error(t, w.Respond(1))
					return nil
				})}
				c := connect(t, s)
				require.NoError(t, c.WriteMessage(dirty.NewRequest(5, app, "do", nil, nil)))
				nc := c.NetConn()
				got, err := io.ReadAll(nc)
				require.NoError(t, err)
				want := largeHeader(dirty.TypeResponse)
				want.RequestID = 5
				begin, err := want.AppendBinary(nil)
				require.NoError(t, err)
				require.GreaterOrEqual(t, len(got), len(begin))
				assert.Equal(t, begin, got[:len(begin)])
				assert.True(t, bytes.HasPrefix(large[:at], got[len(begin):]), "nothing but the payload comes")
				eventually(t, "nothing runs", func() bool { return s.Stats().Running == 0 && s.Stats().Conns == 0 })
			})
		}
	}
}

// readers reads from one function until it returns an error, then from the next.
type readers []func([]byte) (int, error)

func (r *readers) Read(p []byte) (int, error) {
	n, err := (*r)[0](p)
	if err != nil && len(*r) > 1 {
		*r, err = (*r)[1:], nil
	}
	return n, err
}

// TestFrameFromSlow checks that WriteTimeout bounds the time in which a client takes a
// whole frame, but not the time in which its payload comes.
func TestFrameFromSlow(t *testing.T) {
	for name, test := range map[string]struct {
		comes, reads time.Duration // before each piece
		is           error
		took         time.Duration
	}{
		"the payload is slow":      {time.Hour, 0, nil, 4 * time.Hour},
		"the client is slow":       {0, 20 * time.Second, os.ErrDeadlineExceeded, 30 * time.Second},
		"the client does not read": {0, time.Hour, os.ErrDeadlineExceeded, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result := make(chan error, 1)
				s := &server.Server{FrameHandler: frameHandler(func(_ context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
					rest := bytes.NewReader(large)
					payload := readers{func(p []byte) (int, error) {
						time.Sleep(test.comes)
						return rest.Read(p)
					}}
					begin := time.Now()
					err := w.FrameFrom(largeHeader(dirty.TypeResponse), &payload)
					assert.Equal(t, test.took, time.Since(begin))
					result <- err
					return err
				})}
				near, far := net.Pipe()
				served := make(chan struct{})
				go func() {
					_ = s.ServeConn(context.Background(), far)
					close(served)
				}()
				require.NoError(t, dirty.WriteMessage(near, dirty.NewRequest(5, app, "do", nil, nil)))
				_, err := io.ReadFull(near, make([]byte, dirty.HeaderSize))
				require.NoError(t, err)
				for left := len(large); left > 0 && err == nil; {
					time.Sleep(test.reads)
					piece := make([]byte, min(left, 256<<10))
					_, err = io.ReadFull(near, piece)
					left -= len(piece)
				}
				assert.ErrorIs(t, <-result, test.is)
				require.NoError(t, near.Close())
				<-served
				require.NoError(t, s.Close())
			})
		})
	}
}

// TestFrameFromLeft checks that the client's leaving ends a frame that is being written.
func TestFrameFromLeft(t *testing.T) {
	result, reading := make(chan error, 1), make(chan struct{}, 1)
	s := &server.Server{FrameHandler: frameHandler(func(ctx context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
		payload := readers{bytes.NewReader(large[:len(large)/2]).Read, func([]byte) (int, error) {
			reading <- struct{}{}
			<-ctx.Done()
			return 0, errors.Join(io.ErrClosedPipe, context.Cause(ctx))
		}}
		err := w.FrameFrom(largeHeader(dirty.TypeChunk), &payload)
		result <- err
		return err
	})}
	c := connect(t, s)
	require.NoError(t, c.WriteMessage(dirty.NewRequest(5, app, "do", nil, nil)))
	go func() { _, _ = io.ReadFull(c.NetConn(), make([]byte, len(large)/4)) }()
	wait(t, "the payload", reading)
	require.NoError(t, c.Close())
	assert.ErrorIs(t, wait(t, "the end", result), server.ErrClientGone)
}
