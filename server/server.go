package server

import (
	"cmp"
	"context"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gunicorn-go/dirty"
)

// The defaults of [Server].
const (
	DefaultMaxConns     = 1024
	DefaultFrameTimeout = 30 * time.Second
	DefaultWriteTimeout = 30 * time.Second
	DefaultMode         = fs.FileMode(0o600)
)

// Server answers gunicorn's clients, and those of this module, as an arbiter
// does. The zero value is ready to use: it knows no app, but has a stash and a
// status. The fields must not be changed once it serves; for each the zero value
// is the default that is given.
//
// Its methods may be called concurrently. After Shutdown or Close it cannot be
// used again.
type Server struct {
	// Handler answers the requests, see [Mux]. By default no app is known.
	Handler Handler

	// Stash keeps the stash's tables. By default a [MemoryStore] of this
	// Server's own; [NoStash] refuses all operations.
	Stash Store

	// Status returns what a status query is answered with. By default that
	// is one worker, which is this process and has the apps of the Handler, if
	// that tells them as [Mux] does.
	Status func(ctx context.Context) (any, error)

	// Manage adds or removes workers, count of them, which is at least 1, and
	// returns what the client is answered. By default it is an error that says
	// that there are no workers to add or remove.
	Manage func(ctx context.Context, op dirty.ManageOp, count int) (any, error)

	// MaxConns is how many connections there may be, by default
	// [DefaultMaxConns]; a negative number is no bound. Those beyond are
	// accepted and closed at once: a client that fails sees more than one that
	// waits for ever, for Python's clients keep theirs.
	MaxConns int

	// MaxConcurrent is how many requests may be handled at one time; more of
	// them wait in the order in which they came, or until their client leaves.
	// By default there is no bound but MaxConns. It does not apply to the stash,
	// to the status, and to Manage.
	MaxConcurrent int

	// Limits bound what is read and written. A connection takes memory for
	// two payloads, what they decode to, and a reply, so that MaxConns times
	// MaxPayload matters where clients are not trusted.
	Limits dirty.Limits

	// UseDict makes dicts in requests decode to [dirty.Dict], and keyword
	// arguments to OrderedKwargs, which keeps their order.
	UseDict bool

	// RawArgs keeps the arguments of every request encoded: each value in
	// Args, Kwargs and OrderedKwargs is a [dirty.RawValue], for middleware and for
	// all handlers. [Func] and [StreamFunc] decode them into Go types at once. They
	// get RawValues also without RawArgs, if the server calls them directly or
	// through a [Mux]; behind middleware that costs a second encoding and
	// decoding, which RawArgs saves.
	RawArgs bool

	// FrameTimeout bounds the time from the first byte of a frame to its
	// last, by default [DefaultFrameTimeout]; a negative one is no bound. The
	// time between frames has none: Python's clients keep their connections as
	// long as their threads live, and fail once if they find one closed.
	FrameTimeout time.Duration

	// WriteTimeout bounds the time to write a frame to a client that does not
	// read, by default [DefaultWriteTimeout]; a negative one is no bound. A frame
	// may have a quarter more.
	WriteTimeout time.Duration

	// Mode is the mode of the socket that ListenAndServe makes, by default
	// [DefaultMode].
	Mode fs.FileMode

	// Group is the group of that socket's file, by name or number; by default
	// it is the one that the system gives. Only root and members of the group
	// can set it. For the group's members to connect, set Mode to 0o660 too.
	Group string

	// ConnContext, if it is set, returns the context for the handlers of a
	// connection, made from ctx, for example with what [PeerCred] tells of the
	// client. If it returns nil the connection is closed.
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// Logger is told what no client is told, such as panics, with their
	// stacks, and connections that were closed for a fault. It is never given
	// arguments, results or the text of errors that clients were told. By default
	// the server is silent.
	Logger *slog.Logger

	once   sync.Once
	cfg    config
	cfgErr error

	queue   *queue
	counts  counts
	journal journal

	closing atomic.Bool   // Shutdown or Close was called
	ended   chan struct{} // closed then

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	drained   chan struct{} // made by stop; closed when there are no connections
}

// config is what is in force.
type config struct {
	handler                    Handler
	stash                      Store
	maxConns                   int
	limits                     dirty.Limits
	stashDepth                 int // of a value that can be given back
	useDict                    bool
	frameTimeout, writeTimeout time.Duration // 0: none
}

// setUp fills in the defaults, at first use.
func (s *Server) setUp() error {
	s.once.Do(func() {
		s.ended = make(chan struct{})
		s.cfg = config{
			handler:      s.Handler,
			stash:        s.Stash,
			maxConns:     cmp.Or(s.MaxConns, DefaultMaxConns),
			limits:       s.Limits,
			stashDepth:   max(cmp.Or(s.Limits.MaxDepth, dirty.DefaultMaxEncodeDepth)-1, 1),
			useDict:      s.UseDict,
			frameTimeout: timeout(s.FrameTimeout, DefaultFrameTimeout),
			writeTimeout: timeout(s.WriteTimeout, DefaultWriteTimeout),
		}
		s.journal.counts, s.journal.logger = &s.counts, s.Logger
		if s.cfg.handler == nil {
			s.cfg.handler = NewMux()
		}
		if s.cfg.stash == nil {
			s.cfg.stash = new(MemoryStore)
		}
		if s.Logger == nil {
			s.journal.logger = slog.New(slog.DiscardHandler)
		}
		s.queue = newQueue(s.MaxConcurrent, &s.counts.queued)
		s.cfgErr = s.Limits.Validate()
	})
	return s.cfgErr
}

// timeout returns the timeout in force for a field of Server: 0 if there is
// none.
func timeout(field, byDefault time.Duration) time.Duration {
	return min(max(cmp.Or(field, byDefault), 0), maxTimeout)
}

// maxTimeout bounds timeouts, so that the sum of a time and two of them does not
// overflow. It is 73 years.
const maxTimeout = time.Duration(math.MaxInt64 / 4)
