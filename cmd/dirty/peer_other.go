//go:build !linux

package main

import (
	"context"
	"net"
)

// readListeningSockets knows nothing here: only Linux tells.
func readListeningSockets() []string { return nil }

// peerOf knows nothing here.
func peerOf(net.Conn) (pid, uid int, ok bool) { return 0, 0, false }

// dialOwn dials a socket. Its place was looked at before.
func dialOwn(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
