//go:build !linux

package server

import "net"

// SystemdListeners returns none: there is no systemd on this system.
func SystemdListeners() ([]net.Listener, error) { return nil, nil }
