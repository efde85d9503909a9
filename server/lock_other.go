//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package server

import "os"

// lockFolder does nothing: this system cannot lock a folder.
func lockFolder(*os.Root) (unlock func()) { return func() {} }
