package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// largePayload is a payload that passes in pieces.
var largePayload = bytes.Repeat([]byte("0123456789"), 100<<10)

// largeFrame is a frame with largePayload.
func largeFrame(typ dirty.MessageType, id uint64) dirty.Frame {
	return dirty.Frame{Header: dirty.Header{Type: typ, RequestID: id}, Payload: largePayload}
}

// taker is an AnswerWriter. It collects the answers.
type taker struct {
	from func(h dirty.Header, payload io.Reader) error // nil: all of it is read
	got  []dirty.Frame
	part int // how many of got came by FrameFrom
}

func (a *taker) Frame(f dirty.Frame) error {
	a.got = append(a.got, dirty.Frame{Header: f.Header, Payload: bytes.Clone(f.Payload)})
	return nil
}

func (a *taker) FrameFrom(h dirty.Header, payload io.Reader) error {
	if a.from != nil {
		return a.from(h, payload)
	}
	b, err := io.ReadAll(payload)
	if err != nil {
		return err
	}
	a.got = append(a.got, dirty.Frame{Header: h, Payload: b})
	a.part++
	return nil
}

// TestForwardTo checks that large answers pass in pieces, between those that do not.
func TestForwardTo(t *testing.T) {
	c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		id := m.RequestID()
		small := dirty.Frame{Header: dirty.Header{Type: dirty.TypeChunk, RequestID: id}, Payload: dirty.RawValue("small")}
		return errors.Join(c.WriteFrame(small), c.WriteFrame(largeFrame(dirty.TypeChunk, id)), c.WriteFrame(small),
			c.WriteFrame(largeFrame(dirty.TypeError, id)))
	})).client(t)
	for range 2 {
		var a taker
		require.NoError(t, c.ForwardTo(context.Background(), requestFrame(t, "do"), &a))
		require.Len(t, a.got, 4)
		assert.Equal(t, 1, a.part, "an ERROR comes whole")
		for i, size := range []int{5, len(largePayload), 5, len(largePayload)} {
			assert.EqualValues(t, 5, a.got[i].RequestID)
			assert.EqualValues(t, size, a.got[i].Length)
			assert.True(t, bytes.HasPrefix([]byte("small"), a.got[i].Payload) || bytes.Equal(largePayload, a.got[i].Payload))
		}
	}
	assert.EqualValues(t, 1, c.Stats().Dials, "the connection is kept")
	require.ErrorIs(t, c.ForwardTo(context.Background(), requestFrame(t, "do"), nil), client.ErrInvalidArgument)
}

// TestForwardLarge checks that a large request goes whole over a connection that is no
// socket.
func TestForwardLarge(t *testing.T) {
	c := newPipePeer(t, func(nc net.Conn) {
		peer := dirty.NewConn(nc)
		for f, err := peer.ReadFrame(); err == nil; f, err = peer.ReadFrame() {
			f.Type = dirty.TypeResponse
			if peer.WriteFrame(f) != nil {
				return
			}
		}
	}).client(t)
	var a taker
	require.NoError(t, c.ForwardTo(context.Background(), largeFrame(dirty.TypeRequest, 5), &a))
	require.Len(t, a.got, 1)
	assert.True(t, bytes.Equal(largePayload, a.got[0].Payload))
}

// TestForwardToCut checks that an answer which ends before its end is an outcome that is
// not known, whatever the function returns, and that its payload tells of it.
func TestForwardToCut(t *testing.T) {
	for _, at := range []int{0, 1, 60 << 10, 300 << 10, len(largePayload) - 1} {
		for _, returned := range []error{nil, io.ErrNoProgress} {
			for _, typ := range []dirty.MessageType{dirty.TypeResponse, dirty.TypeChunk} {
				c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					b, err := largeFrame(typ, m.RequestID()).AppendBinary(nil)
					if err == nil {
						_, err = c.NetConn().Write(b[:dirty.HeaderSize+at])
					}
					return errors.Join(err, io.EOF)
				})).client(t, client.WithRetry(client.Retry{}))
				a := taker{from: func(h dirty.Header, payload io.Reader) error {
					b, err := io.ReadAll(payload)
					assert.True(t, bytes.Equal(largePayload[:at], b))
					assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
					_, again := payload.Read(b)
					assert.Equal(t, err, again)
					return returned
				}}
				err := c.ForwardTo(context.Background(), requestFrame(t, "do"), &a)
				requireUnknownOutcome(t, err, io.ErrUnexpectedEOF)
				requireQuiet(t, c)
				assert.Zero(t, c.Stats().Retries)
			}
		}
	}
}

// TestForwardToNotTaken checks what a FrameFrom can do wrong: the connection is closed,
// and its place is free.
func TestForwardToNotTaken(t *testing.T) {
	for name, tt := range map[string]struct {
		from func(payload io.Reader) error
		is   error // nil: it does not return
	}{
		"nothing is read":     {func(io.Reader) error { return nil }, client.ErrHookFailed},
		"not all is read":     {func(p io.Reader) error { _, err := io.ReadFull(p, make([]byte, 1000)); return err }, client.ErrHookFailed},
		"an error":            {func(io.Reader) error { return io.ErrNoProgress }, io.ErrNoProgress},
		"an error at the end": {func(p io.Reader) error { _, _ = io.Copy(io.Discard, p); return io.ErrNoProgress }, io.ErrNoProgress},
		"a panic":             {func(io.Reader) error { panic("the reason") }, client.ErrHookFailed},
		"a Goexit":            {func(io.Reader) error { runtime.Goexit(); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if m.Type() == dirty.TypeStatus {
					return arbiter(c, m)
				}
				return c.WriteFrame(largeFrame(dirty.TypeResponse, m.RequestID()))
			})).client(t, client.WithMaxConns(1))
			a := taker{from: func(_ dirty.Header, payload io.Reader) error { return tt.from(payload) }}
			err, returned := callAside(func() error { return c.ForwardTo(context.Background(), requestFrame(t, "do"), &a) })
			if tt.is == nil {
				assert.False(t, returned)
			} else {
				require.ErrorIs(t, err, tt.is)
			}
			requireClosed(t, c)
		})
	}
}

// TestForwardToTimeouts checks that the time in which a payload is read has the bound of
// a stream in all, and that the time in which the function waits has none.
func TestForwardToTimeouts(t *testing.T) {
	for name, tt := range map[string]struct {
		writes, takes time.Duration // before each fifth of the payload
		is            error
		took          time.Duration
	}{
		"slow peer":     {25 * time.Second, 0, client.ErrTimeout, time.Minute},
		"slow function": {0, time.Hour, nil, 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					b, err := largeFrame(dirty.TypeResponse, m.RequestID()).AppendBinary(nil)
					for fifth := len(largePayload) / 5; err == nil && len(b) > 0; b = b[min(len(b), fifth):] {
						_, err = c.NetConn().Write(b[:min(len(b), fifth)])
						time.Sleep(tt.writes)
					}
					return err
				})).client(t, client.WithTimeout(time.Second), client.WithStreamTimeout(time.Minute))
				a := taker{from: func(_ dirty.Header, payload io.Reader) (err error) {
					for range 5 {
						time.Sleep(tt.takes)
						if _, err = io.ReadFull(payload, make([]byte, len(largePayload)/5)); err != nil {
							return err
						}
					}
					return nil
				}}
				begin := time.Now()
				err := c.ForwardTo(context.Background(), requestFrame(t, "do"), &a)
				require.ErrorIs(t, err, tt.is)
				assert.Equal(t, tt.took, time.Since(begin))
				assert.Equal(t, tt.is != nil, isUnknown(err))
			})
		})
	}
}

// TestForwardToCancelled checks that the end of the context ends an answer that is being
// read.
func TestForwardToCancelled(t *testing.T) {
	c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		b, err := largeFrame(dirty.TypeResponse, m.RequestID()).AppendBinary(nil)
		if err == nil {
			_, err = c.NetConn().Write(b[:len(b)/2])
		}
		mute(c.NetConn())
		return errors.Join(err, io.EOF)
	})).client(t)
	ctx, cancel := context.WithCancel(context.Background())
	a := taker{from: func(_ dirty.Header, payload io.Reader) error {
		_, err := io.ReadFull(payload, make([]byte, len(largePayload)/4))
		assert.NoError(t, err)
		cancel()
		_, err = io.ReadAll(payload)
		return err
	}}
	err := c.ForwardTo(ctx, requestFrame(t, "do"), &a)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
}
