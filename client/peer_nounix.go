//go:build !unix

package client

// maxPath is how long the path of a socket may be in bytes.
const maxPath = 107

func peeker(silent *bool) func(fd uintptr) { return func(uintptr) { *silent = true } }
