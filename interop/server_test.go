//go:build unix

package interop

import (
	"testing"

	"github.com/stretchr/testify/require"

	goserver "github.com/gunicorn-go/dirty/server"
)

// serveAt starts our server on this socket. It is closed when the test ends.
func serveAt(t testing.TB, socket string, h goserver.Handler) {
	t.Helper()
	l, err := goserver.Listen(socket, 0)
	require.NoError(t, err)
	s := &goserver.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, goserver.ErrServerClosed)
	})
}
