//go:build !linux

package server

import (
	"net"
	"os"
)

// descriptorPath is for Linux only.
func descriptorPath(*os.File) (path string, ok bool) { return "", false }

// probe connects to the socket in the place.
func (f *socketFile) probe() (net.Conn, error) {
	return net.DialTimeout(f.network, f.path, probeTimeout)
}
