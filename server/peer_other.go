//go:build !linux

package server

import (
	"net"
	"syscall"
)

const canSeeHangUp = false

func hasHungUp(syscall.RawConn) bool { return true }

func peerCred(*net.UnixConn) (Cred, bool) { return Cred{}, false }
