// Package netconn tells connections that behave as those of package net do from those of
// users, whose methods may do anything.
package netconn

import "net"

// Mark makes a type that embeds it one that behaves: its methods do not panic, nor end
// the goroutine, and a deadline ends a Read and a Write at once.
type Mark struct{}

func (Mark) behavesAsNet() {}

// InMemory makes a type that embeds it one that behaves, and whose Write makes no system
// call. So a frame need not be one Write.
type InMemory struct{ Mark }

func (InMemory) inMemory() {}

// IsInMemory reports whether a connection is in memory.
func IsInMemory(nc net.Conn) bool {
	_, is := nc.(interface{ inMemory() })
	return is
}

// Behaves reports whether a connection behaves.
func Behaves(nc net.Conn) bool {
	switch nc.(type) {
	case *net.UnixConn, *net.TCPConn, interface{ behavesAsNet() }:
		return true
	}
	return false
}
