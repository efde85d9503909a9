package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/gunicorn-go/dirty"
)

// This file is for connections that are not served.

// The bounds of telling clients that there are too many.
const (
	maxRefusals  = 64          // clients that are told at one time; more are cut off without a word
	refusalTime  = time.Second // for a client to send its message and to take the answer
	refusalNames = 4 << 10     // bytes of a message that are looked at for the name of the app
)

// refuse closes a connection that is not served, and returns why. If there are too many,
// the client is told.
func (s *Server) refuse(nc net.Conn, reason error) error {
	if reason == ErrTooManyConns && !isForeign(nc) {
		s.tellTooMany(nc)
	}
	_ = (&foreignConn{Conn: nc, journal: &s.journal}).Close()
	return s.countRefusal(reason)
}

// countRefusal counts and logs that a connection is not served, and returns
// why.
func (s *Server) countRefusal(reason error) error {
	s.counts.refused.Add(1)
	s.journal.warn("dirty: connection refused", slog.Any("error", reason))
	return reason
}

// tellTooMany answers the first message of a client with an error. If it were only cut off,
// it could not know that nothing ran.
func (s *Server) tellTooMany(nc net.Conn) {
	defer s.refusing.Add(-1)
	if s.refusing.Add(1) > maxRefusals {
		return
	}
	_ = nc.SetDeadline(time.Now().Add(refusalTime)) // fails only on a closed connection, as what follows does
	told := make(chan struct{})
	defer close(told)
	go func() {
		select {
		case <-s.ended:
			_ = nc.SetDeadline(time.Now())
		case <-told:
		}
	}()
	r := dirty.NewReader(nc, dirty.WithLimits(s.cfg.limits))
	h, err := r.NextHeader()
	if err != nil {
		return
	}
	// All of the message is read: closing a socket with bytes in it would be an error at
	// the other end.
	payload := payloadReader{r}
	names := make([]byte, min(int(h.Length), refusalNames))
	if _, err := io.ReadFull(payload, names); err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, payload); err != nil {
		return
	}
	app, _ := peekNames(names)
	_ = dirty.NewWriter(nc).WriteMessage(dirty.NewErrorReply(h.RequestID, tooManyConns(string(app), s.cfg.maxConns)))
}

// payloadReader reads the payload of the frame whose header was read.
type payloadReader struct{ *dirty.Reader }

func (r payloadReader) Read(p []byte) (int, error) { return r.ReadPayload(p) }

// tooManyConns is the error for a client beyond MaxConns. Whoever knows gunicorn's errors
// takes it for one of a call that may be repeated.
func tooManyConns(app string, most int) *dirty.RemoteError {
	return &dirty.RemoteError{
		Type:    dirty.ClassNoWorkersAvailable,
		Message: fmt.Sprintf("the server has all %d connections that it may have (MaxConns); nothing ran", most),
		Details: map[string]any{"app_path": app},
	}
}
