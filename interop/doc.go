// Package interop checks the library against real gunicorn, each release that
// releases.txt names. It holds tests only; see README.md.
package interop
