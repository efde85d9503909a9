//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package server

func lockFolder(string) (unlock func()) { return func() {} }
