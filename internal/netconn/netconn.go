// Package netconn tells connections that behave as those of package net do from those of
// users, whose methods may do anything.
package netconn

import "net"

// Mark makes a type that embeds it one that behaves: its methods do not panic, nor end
// the goroutine, and a deadline ends a Read and a Write at once.
type Mark struct{}

func (Mark) behavesAsNet() {}

// Behaves reports whether a connection behaves.
func Behaves(nc net.Conn) bool {
	switch nc.(type) {
	case *net.UnixConn, *net.TCPConn, interface{ behavesAsNet() }:
		return true
	}
	return false
}
