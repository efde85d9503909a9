//go:build unix

package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// TestBadFramesCloseSilently: the arbiter closes the connection without a word when
// it cannot decode a frame. That is why everything is checked before it is sent.
func TestBadFramesCloseSilently(t *testing.T) {
	frame := func(payload ...byte) []byte {
		b, err := dirty.Header{Type: dirty.TypeStash, Length: uint32(len(payload)), RequestID: 1}.AppendBinary(nil)
		require.NoError(t, err)
		return append(b, payload...)
	}
	tests := map[string][]byte{
		"magic":            []byte("GX\x01\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
		"version":          []byte("GD\x02\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
		"type":             []byte("GD\x01\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
		"payload too long": []byte("GD\x01\x10\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"),
		"http":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"no dict":          frame(0x05, 0, 0, 0, 0, 0, 0, 0, 7),
		"none":             frame(0x00),
		"text":             frame(0x11, 0, 0, 0, 1, 'x'),
		"trailing byte":    frame(0x21, 0, 0, 0, 0, 0x00),
		"unknown kind":     frame(0x7f),
		"key is None":      frame(0x21, 0, 0, 0, 1, 0x00, 0x00),
		"bad UTF-8":        frame(0x21, 0, 0, 0, 1, 0x11, 0, 0, 0, 1, 0xff, 0x00),
		"truncated value":  frame(0x21, 0, 0, 0, 1, 0x11, 0, 0, 0, 1, 'k'),
		"list too large":   frame(0x20, 0, 0x10, 0, 1),
		"too deep":         frame(append(bytes.Repeat([]byte{0x20, 0, 0, 0, 1}, 20000), 0x00)...),
	}
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		g.pidOfLivingWorker(t) // a worker that forks later would keep our connection open
		for name, data := range tests {
			p := g.dial(t)
			_, err := p.NetConn().Write(data)
			require.NoError(t, err, name)
			answer, err := p.ReadMessage()
			assert.Nil(t, answer, name)
			// A socket that is closed before all bytes were read is reset.
			assert.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%s: %v", name, err)
		}
	})
}

// TestHalfClose: after we close our side, answers still come. If we close it in the
// middle of a frame, the connection ends.
func TestHalfClose(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		require.NoError(t, p.WriteMessage(dirty.NewRequest(1, app, "identity", []any{"last"}, nil)))
		require.NoError(t, p.NetConn().(*net.UnixConn).CloseWrite())
		answer, err := p.ReadMessage()
		require.NoError(t, err)
		assert.Equal(t, dirty.NewResponse(1, "last"), answer)
		_, err = p.ReadMessage()
		require.ErrorIs(t, err, io.EOF)

		p = g.dial(t)
		_, err = p.NetConn().Write([]byte("GD\x01\x11\x00"))
		require.NoError(t, err)
		require.NoError(t, p.NetConn().(*net.UnixConn).CloseWrite())
		_, err = p.ReadMessage()
		require.ErrorIs(t, err, io.EOF)
	})
}
