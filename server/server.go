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
	DefaultDrainTimeout = 30 * time.Second
	DefaultMode         = fs.FileMode(0o600)
)

// Server answers gunicorn's clients, and those of this module, as an arbiter
// does. The zero value is ready to use: it knows no app, but has a stash and a
// status. The zero value of each field stands for the default that its comment
// gives. The fields must not be changed once the server serves.
//
// The methods may be called concurrently. After Shutdown or Close a Server
// cannot be used again.
type Server struct {
	// Handler answers the requests, see [Mux]. By default no app is known.
	Handler Handler

	// FrameHandler answers all messages, undecoded, for forwarders. If it is set,
	// Handler, Stash, Status and Manage are not used. By default there is none.
	FrameHandler FrameHandler

	// Stash keeps the tables of the stash. By default it is a [MemoryStore] of
	// this Server's own. [NoStash] refuses all operations.
	Stash Store

	// StashFile is the path of a file in which [Server.Run] keeps the tables of the
	// Stash, which must be a [Snapshotter]. Run reads it before it serves, and writes
	// it before it returns: see [ReadSnapshot] and [WriteSnapshot]. If there is no
	// file, the stash stays as it is. With TakeOver the tables come from the process
	// that is taken over, and the file is not read; only the last process writes it. If
	// that process has no Snapshotter, Listen reads the file before it takes over.
	//
	// The file is for an orderly end. After a crash or kill -9 all changes since the
	// start are lost, and the next start has the tables of the last orderly end. By
	// default there is no file.
	StashFile string

	// Status returns the answer to a status query, such as a
	// [dirty.StatusResult]. By default that is one worker: this process, with the
	// apps of the Handler if it has a method Apps, as [Mux] has.
	Status func(ctx context.Context) (any, error)

	// Manage adds or removes workers and returns the answer, such as a
	// [dirty.ManageResult]. count is how many, at least 1. By default the answer
	// is an error: there are no workers to add or remove.
	Manage func(ctx context.Context, op dirty.ManageOp, count int) (any, error)

	// MaxConns is how many connections there may be, by default
	// [DefaultMaxConns]; a negative number is no bound. More clients do not wait,
	// because Python's clients keep their connections, so that a place may never become
	// free. The first message of each is answered with a DirtyNoWorkersAvailableError
	// that says "nothing ran", and the connection is closed. It is closed without an
	// answer if no message comes within a second, if 64 clients are being told so
	// already, and if it is of no type of package net.
	MaxConns int

	// MaxConcurrent is how many requests may be handled at one time. More
	// requests wait in the order in which they came, until their client leaves.
	// They are not decoded before their turn. By default, and if it is negative,
	// only MaxConns is a bound. It does not apply to the stash, to Status, and to
	// Manage.
	MaxConcurrent int

	// Limits bound what is read and written. A connection can take memory for
	// two payloads, for what one of them decodes to, and for a reply. Where clients
	// are not trusted, multiply that by MaxConns.
	Limits dirty.Limits

	// UseDict keeps the order of dicts: in requests they decode to
	// [dirty.Dict], and keyword arguments come as OrderedKwargs.
	UseDict bool

	// RawArgs keeps the arguments of every request encoded: each value in
	// Args, Kwargs and OrderedKwargs is a [dirty.RawValue], for middleware and for
	// all handlers. [Func] and [StreamFunc] decode them into Go types at once. They
	// get RawValues also without RawArgs, if the server calls them directly or
	// through a [Mux]; behind middleware that costs a second encoding and
	// decoding, which RawArgs saves.
	RawArgs bool

	// FrameTimeout bounds the time from the first byte of a frame to its last,
	// by default [DefaultFrameTimeout]; a negative one is no bound. Then the
	// connection is closed. The time between frames has no bound: Python's clients
	// keep their connections as long as their threads live, and the next call of
	// one that finds its connection closed fails.
	FrameTimeout time.Duration

	// WriteTimeout bounds the time to write a frame to a client that does not
	// read, by default [DefaultWriteTimeout]; a negative one is no bound. A frame
	// may have a quarter more, because a deadline costs more than a small frame.
	// Then the handler's context ends, and the connection is closed when the
	// handler has returned.
	//
	// Both timeouts are deadlines of the connection. If it is of a type without
	// working deadlines, it is closed a second later, and the context of its handler
	// ends. A Write on it returns when Close makes it return.
	WriteTimeout time.Duration

	// DrainTimeout bounds the time that [Server.Run] waits for the replies that
	// are under way when its context ends, by default [DefaultDrainTimeout]; a
	// negative one is no bound.
	DrainTimeout time.Duration

	// TakeOver restarts a server without a failed call. [Server.Listen],
	// ListenAndServe and Run then take over the server that runs at the path, if
	// there is one with TakeOver: they get its listener, and each of its connections
	// between two messages. The other process finishes the replies that are under
	// way, hands over their connections too, and ends with [ErrTakenOver]. It waits
	// for them without a bound; ending the context of Run bounds that. Clients
	// notice nothing. The process that begins serves only once it has everything it
	// needs. If it fails before that, the other one serves on.
	//
	// The processes find each other at the socket PATH.takeover, of mode 0600, and
	// must be of the same user. The path has room for that suffix. Connections that
	// are taken over do not count for MaxConns. Those of ServeConn are handed over
	// as well; of types other than [*net.UnixConn] and [*net.TCPConn] they are closed
	// as in Shutdown.
	//
	// A Stash that is a [Snapshotter], as a [MemoryStore] is, comes along. Its tables
	// are sent before the new process serves, and replace what that one's stash has,
	// also if Listen fails after that. Meanwhile changes wait: that may take 5 s for
	// 1 GB, and 15 s for a million keys. Then all operations of handlers that still
	// run in the old process, and of clients that it still has, are made in the new
	// one, also if they call the MemoryStore directly. If they cannot, because the new
	// process or the old server has ended, they return an error. So nothing is lost
	// silently. A new process whose Stash is no Snapshotter is refused if there are
	// tables. Tables of other stores stay where they are.
	//
	// A server may serve several Unix sockets. Each has a PATH.takeover of its own,
	// and is taken over when the new process listens at its path. From the first one
	// on, the old process passes all connections on. It ends when all sockets are
	// taken. Serve can hand over listeners of Listen, [SystemdListeners] and
	// [net.ListenUnix], and refuses others.
	//
	// In a service of systemd, where NOTIFY_SOCKET is set, the old process names the
	// new one as the main process of the service.
	//
	// TakeOver is for Linux. Elsewhere Listen returns an error that matches
	// [errors.ErrUnsupported]. docs/RESTART.md has recipes.
	TakeOver bool

	// Mode is the mode of the socket that ListenAndServe makes, by default
	// [DefaultMode].
	Mode fs.FileMode

	// Group is the group of that socket's file, by name or number; by default
	// it is the one that the system gives. Only root and members of the group
	// can set it. For the group's members to connect, set Mode to 0o660 too.
	Group string

	// ConnContext returns the context for the handlers of a connection, made
	// from ctx, for example with what [PeerCred] tells of the client. If it returns
	// nil, the connection is closed. By default the handlers get ctx.
	//
	// It is called concurrently. The connection counts for MaxConns while it runs,
	// and ctx ends when the server is closed or shut down.
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// Tracer observes the messages and their replies. By default there is none.
	Tracer *Tracer

	// Logger gets what clients are not told, such as panics with their stacks,
	// and connections that were closed for a fault. It never gets arguments,
	// results, and errors that clients were told. Of lines of one kind that clients
	// can cause only a few come at once, and then one a second that says how many
	// were dropped. By default the server does not log.
	Logger *slog.Logger

	once   sync.Once
	cfg    config
	cfgErr error

	queue   *queue
	counts  counts
	watches watches
	journal journal

	refusing atomic.Int32 // clients beyond MaxConns that are told so

	closing atomic.Bool   // Shutdown or Close was called
	ended   chan struct{} // closed then

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	drained   chan struct{} // closed when the server is over and has no connections

	heir         atomic.Pointer[link] // the process that has taken over; nil: none
	offering     chan struct{}        // has an element while an offer is made
	offer        *offer               // to a process that wants to; nil: none
	predecessors map[*link]struct{}   // from which connections may come
	hasStash     atomic.Bool          // of a predecessor, or of the StashFile
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
		s.ended, s.drained = make(chan struct{}), make(chan struct{})
		s.offering = make(chan struct{}, 1)
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
		s.journal = newJournal(s.Logger, &s.counts)
		if s.cfg.handler == nil {
			s.cfg.handler = NewMux()
		}
		if s.cfg.stash == nil {
			s.cfg.stash = new(MemoryStore)
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
