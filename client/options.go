package client

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/gunicorn-go/dirty"
)

// The defaults of [Config].
const (
	DefaultTimeout       = 30 * time.Second
	DefaultStreamTimeout = 30 * time.Second
	DefaultDialTimeout   = 5 * time.Second
	DefaultMaxConns      = 64 // less than the arbiter's backlog of 100
	DefaultMaxDials      = 16
	DefaultMaxIdle       = 8
	DefaultIdleTime      = 2 * time.Second
)

// Config is what the options of [New] set; [Client.Config] returns it.
type Config struct {
	Timeout       time.Duration // of a call whose context has no deadline; 0: none
	StreamTimeout time.Duration // until the first and the next chunk of a stream; 0: none
	DialTimeout   time.Duration // of one dial, with its retries on a full backlog
	WaitForServer time.Duration // how long a dial waits for a socket that is absent or refuses; 0: not at all
	MaxConns      int           // connections at one time: in use, idle, being dialled or closed
	MaxDials      int           // dials at one time
	MaxIdle       int           // connections that are kept idle
	IdleTime      time.Duration // how long they are kept
	ReadAhead     int           // bytes of a stream's payloads that are read before they are asked for; 0: none
	Retry         Retry         // zero without WithRetry: nothing is repeated but what is always safe at once
	PeerCheck     bool          // whether a peer whose process is dead is refused (Linux)
	UseDict       bool          // whether dicts decode to dirty.Dict where the destination is an any
	Limits        dirty.Limits
}

type config struct {
	Config
	resolve      Resolver
	dial         Dialer
	hooks        hooks
	tracers      tracers
	interceptors []Interceptor
}

// Option is an option of [New].
type Option func(*config)

// Dialer makes a connection to the arbiter at path. It must honour its
// context, which is not the context of a call: a dial serves the call that waits
// longest when it is done. It may be called concurrently.
//
// The client closes the connection in a goroutine of its own, so that Close may
// take its time. Until it returns the connection counts as open. A connection
// that has no deadlines will do, if its Close ends a Write that waits.
type Dialer func(ctx context.Context, path string) (net.Conn, error)

// WithSocket sets the path of the arbiter's socket. Each dial follows a symbolic
// link anew.
func WithSocket(path string) Option { return WithResolver(fixedPath(path)) }

// WithResolver sets how the path of the arbiter's socket is found, anew at
// each dial: an arbiter that restarts has a new one, if nothing was done about
// it. The default is [FromEnv].
func WithResolver(r Resolver) Option { return func(c *config) { c.resolve = r } }

// WithDialer replaces the dialling of Unix sockets, for tunnels and tests.
func WithDialer(d Dialer) Option { return func(c *config) { c.dial = d } }

// WithTimeout bounds calls whose context has no deadline, from the wait for a
// connection to the answer; 30 seconds by default. With 0 there is no bound, and a
// request that gunicorn loses is waited for until the context ends.
func WithTimeout(d time.Duration) Option { return func(c *config) { c.Timeout = d } }

// WithStreamTimeout bounds the time until the first and between two chunks of
// a stream, even if the context has a deadline; 30 seconds by default. It should
// be longer than gunicorn's dirty_timeout, which bounds the same. 0 is no bound.
func WithStreamTimeout(d time.Duration) Option { return func(c *config) { c.StreamTimeout = d } }

// WithDialTimeout bounds one dial; 5 seconds by default.
func WithDialTimeout(d time.Duration) Option { return func(c *config) { c.DialTimeout = d } }

// WithWaitForServer makes a dial wait that long for an arbiter whose socket is
// absent or refuses, as while it restarts. By default that fails at once.
func WithWaitForServer(d time.Duration) Option { return func(c *config) { c.WaitForServer = d } }

// WithMaxConns sets how many connections there may be at one time, 64 by
// default and at least 1. Further calls wait in order. Each open stream takes
// one. A number near that of the dirty workers keeps calls out of the arbiter's
// queue, where they cannot be cancelled.
func WithMaxConns(n int) Option { return func(c *config) { c.MaxConns = n } }

// WithMaxIdle sets how many connections are kept idle, and for how long: 8 and
// 2 seconds by default. If either is 0 none is kept, and each call dials. On
// Python 3.12 and later an idle connection delays gunicorn's shutdown.
func WithMaxIdle(n int, d time.Duration) Option {
	return func(c *config) { c.MaxIdle, c.IdleTime = n, d }
}

// WithMaxDials sets how many dials may go on at one time, 16 by default and at
// least 1.
func WithMaxDials(n int) Option { return func(c *config) { c.MaxDials = n } }

// WithReadAhead makes each stream read chunks before its reader asks for them,
// until their payloads have that many bytes; then it waits for the reader. So a
// reader may be slow for a while without blocking the worker. 0 turns it off,
// which is the default.
func WithReadAhead(bytes int) Option { return func(c *config) { c.ReadAhead = bytes } }

// WithPeerCheck turns the check of the peer's process on or off. It is on by
// default, and done on Linux only. A socket whose arbiter was killed can accept
// connections for ever, because the workers that it left behind hold it; but
// nothing answers there. The check is made for each new connection, and before a call
// uses one again that has not answered within the last 100 µs.
//
// If the process that made the socket has exited, another one may serve it: one that
// took it over, as with server.Server.TakeOver, or was started with it by a launcher.
// Such a server is recognised if it answers a status request within 250 ms.
func WithPeerCheck(on bool) Option { return func(c *config) { c.PeerCheck = on } }

// WithDict makes dicts decode to [dirty.Dict], which keeps their order, wherever
// the destination is an any. By default they decode to map[string]any.
func WithDict() Option { return func(c *config) { c.UseDict = true } }

// WithLimits sets the limits of what is sent and received. The zero value of
// each field is its default.
func WithLimits(l dirty.Limits) Option { return func(c *config) { c.Limits = l } }

// WithLogger sets where the client reports what no call returns: at Debug for
// example the connections that it closes, at Warn what points to a fault of the
// peer, at Error code of yours that panicked. It never logs arguments, values or
// the tracebacks of apps. By default it is silent. A handler that panics loses its
// record, which [Stats].HookFailures counts.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.hooks.logger = l } }

// WithTracer adds a tracer. It may be given more than once; the first one is
// called first at the start of a call, and last at its end.
func WithTracer(t Tracer) Option {
	return func(c *config) { c.tracers.list = append(c.tracers.list, t) }
}

// WithInterceptor adds an interceptor around all calls and streams. It may be
// given more than once; the first one is the outermost.
func WithInterceptor(i Interceptor) Option {
	return func(c *config) { c.interceptors = append(c.interceptors, i) }
}

func newConfig(opts []Option) (*config, error) {
	c := &config{
		Config: Config{
			Timeout:       DefaultTimeout,
			StreamTimeout: DefaultStreamTimeout,
			DialTimeout:   DefaultDialTimeout,
			MaxConns:      DefaultMaxConns,
			MaxDials:      DefaultMaxDials,
			MaxIdle:       DefaultMaxIdle,
			IdleTime:      DefaultIdleTime,
			PeerCheck:     true,
		},
		resolve: FromEnv(),
		dial:    dialUnix,
		hooks:   hooks{logger: silent},
	}
	c.tracers.hooks = &c.hooks
	for i, opt := range opts {
		if opt == nil {
			return nil, errorf("client.New: option %d of %d is nil: %w", i+1, len(opts), ErrInvalidArgument)
		}
		opt(c)
	}
	return c, c.validate()
}

func (cfg *config) validate() error {
	for _, d := range []struct {
		option string
		d      time.Duration
	}{
		{"WithTimeout", cfg.Timeout}, {"WithStreamTimeout", cfg.StreamTimeout},
		{"WithWaitForServer", cfg.WaitForServer}, {"WithMaxIdle", cfg.IdleTime},
		{"WithRetry", cfg.Retry.Pause}, {"WithRetry", cfg.Retry.MaxPause},
	} {
		if d.d < 0 {
			return errorf("client.%s: %v is negative: %w", d.option, d.d, ErrInvalidArgument)
		}
	}
	for _, n := range []struct {
		option string
		n, min int
	}{
		{"WithMaxConns", cfg.MaxConns, 1}, {"WithMaxDials", cfg.MaxDials, 1},
		{"WithMaxIdle", cfg.MaxIdle, 0}, {"WithReadAhead", cfg.ReadAhead, 0}, {"WithRetry", cfg.Retry.Attempts, 0},
	} {
		if n.n < n.min {
			return errorf("client.%s: %d, must be at least %d: %w", n.option, n.n, n.min, ErrInvalidArgument)
		}
	}
	if cfg.Retry.Attempts > MaxAttempts {
		return errorf("client.WithRetry: %d attempts, at most %d are possible: %w", cfg.Retry.Attempts, MaxAttempts, ErrInvalidArgument)
	}
	if cfg.DialTimeout <= 0 {
		return errorf("client.WithDialTimeout: %v, must be positive: %w", cfg.DialTimeout, ErrInvalidArgument)
	}
	for _, n := range []struct {
		option string
		isNil  bool
	}{
		{"WithResolver", cfg.resolve == nil}, {"WithDialer", cfg.dial == nil}, {"WithLogger", cfg.hooks.logger == nil},
		{"WithInterceptor", slices.ContainsFunc(cfg.interceptors, func(i Interceptor) bool { return i == nil })},
	} {
		if n.isNil {
			return errorf("client.%s: nil: %w", n.option, ErrInvalidArgument)
		}
	}
	if err := cfg.Limits.Validate(); err != nil {
		return errorf("client.WithLimits: %w: %w", ErrInvalidArgument, err)
	}
	return nil
}
