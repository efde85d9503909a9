//go:build !linux

package server

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// link stands for what is only on Linux.
type link struct{ pid int }

const errLostConn = sentinel("the connection did not arrive")

func (*link) Close() error                   { return nil }
func (*link) sendConn(net.Conn) error        { return errors.ErrUnsupported }
func (*link) receiveConn() (net.Conn, error) { return nil, errors.ErrUnsupported }

// offer stands for what is only on Linux.
type offer struct{}

func (*offer) withdraw() {}

func (*Server) serveHeirs(*socketFile) {}

func (*Server) withHeirs(net.Listener) (*socketFile, error) {
	return nil, fmt.Errorf("dirty: Server.TakeOver on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (*Server) listenOrTakeOver(path string) (net.Listener, error) {
	return nil, fmt.Errorf("dirty: Server.TakeOver on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
