//go:build unix

package dirty_test

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWithSendBuffer: the send buffer grows with the first large frame, not before
// it, and not unless it is asked for.
func TestWithSendBuffer(t *testing.T) {
	size := func(c *net.UnixConn) (n int) {
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			n, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		}))
		require.NoError(t, err)
		return n
	}
	for name, tt := range map[string]struct {
		opts []dirty.Option
		n    int
		want bool
	}{
		"large frame":  {[]dirty.Option{dirty.WithSendBuffer(1 << 20)}, 300 << 10, true},
		"small frames": {[]dirty.Option{dirty.WithSendBuffer(1 << 20)}, 100 << 10, false},
		"not asked":    {nil, 300 << 10, false},
		"negative":     {[]dirty.Option{dirty.WithSendBuffer(-1)}, 300 << 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			require.NoError(t, err)
			defer l.Close()
			c, err := net.Dial("unix", l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			peer, err := l.Accept()
			require.NoError(t, err)
			defer peer.Close()
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			before := size(c.(*net.UnixConn))
			w := dirty.NewWriter(c, tt.opts...)
			for _, message := range []dirty.Message{
				dirty.NewChunk(1, make([]byte, tt.n)),
				dirty.NewChunk(1, string(make([]byte, tt.n))), // written without parts
			} {
				require.NoError(t, w.WriteMessage(message))
			}
			assert.Equal(t, tt.want, size(c.(*net.UnixConn)) > before)
		})
	}
}
