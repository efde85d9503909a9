package dirtytest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// Server is an arbiter for a test: a [server.Server] with a handler of the
// test's, behind a relay that records what comes, and in which things go wrong on
// demand. Its methods may be called concurrently, but those that fail the test
// only where [testing.TB.FailNow] may be called.
type Server struct {
	tb           testing.TB
	handler      server.Handler
	allowUnknown bool
	configure    []func(*server.Server)
	inMemory     bool

	life       context.Context // ends with the test
	end        context.CancelFunc
	background sync.WaitGroup

	recorder *recorder
	workers  *workers

	mu       sync.Mutex
	rules    []*Rule
	scripts  [][]Step
	last     []byte // the last frame of an answer, for StaleReply
	folder   string // of the socket
	path     string
	sockets  int // that there were
	listener net.Listener
	full     *backlog // while the backlog is full
	refuses  bool
	run      *run // the present server
	accepted int
}

// run is a server from its start to its end: Restart makes another.
type run struct {
	server *server.Server
	stash  *server.MemoryStore
	life   context.Context
	end    context.CancelFunc
	relays sync.WaitGroup
	open   int // connections; under the lock of the Server
}

// Option is an option of [NewServer].
type Option func(*Server)

// WithUnknownCalls lets clients call apps and actions that the handler, a
// [server.Mux], does not know. By default that fails the test.
func WithUnknownCalls() Option { return func(s *Server) { s.allowUnknown = true } }

// WithServer changes fields of the server, such as limits and timeouts, before it
// starts. It must not set Handler. If it sets Stash, Status or Manage, the methods of
// [Server] for these have no effect.
func WithServer(f func(*server.Server)) Option {
	return func(s *Server) { s.configure = append(s.configure, f) }
}

// WithInMemory makes a server without a socket, whose clients are made by
// [Server.Client] and speak over [net.Pipe]. It works inside [testing/synctest], where
// time is not real.
func WithInMemory() Option { return func(s *Server) { s.inMemory = true } }

// NewServer starts a server on a socket of its own, which ends with the test. A
// nil handler knows no app. It fails the test if a client calls what a [server.Mux]
// does not know, unless [WithUnknownCalls] is given.
func NewServer(tb testing.TB, h server.Handler, opts ...Option) *Server {
	tb.Helper()
	if h == nil {
		h = server.NewMux()
	}
	s := &Server{tb: tb, handler: h, recorder: newRecorder(), workers: newWorkers()}
	for _, opt := range opts {
		opt(s)
	}
	s.life, s.end = context.WithCancel(context.Background())
	tb.Cleanup(s.close)
	s.start()
	return s
}

// Socket returns the path of the socket. It has few bytes, because the system
// allows only about a hundred.
func (s *Server) Socket() string {
	s.tb.Helper()
	if s.inMemory {
		s.tb.Fatal("dirtytest: a server in memory has no socket: use Client")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path
}

// Client returns a new client of the server, which is closed with the test. It
// follows [Server.Respawn].
func (s *Server) Client(opts ...client.Option) *client.Client {
	s.tb.Helper()
	own := []client.Option{client.WithResolver(s.resolve)}
	if s.inMemory {
		own = append(own, client.WithDialer(s.dialPipe))
	}
	c, err := client.New(append(own, opts...)...)
	if err != nil {
		s.tb.Fatalf("dirtytest: %v", err)
	}
	s.tb.Cleanup(func() { _ = c.Close() }) // it has no error
	return c
}

func (s *Server) resolve(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path, nil
}

// Setenv sets GUNICORN_DIRTY_SOCKET to the socket for the rest of the test, for
// code that looks there. Such a test cannot be parallel.
func (s *Server) Setenv() {
	s.tb.Helper()
	s.tb.Setenv(client.EnvSocket, s.Socket())
}

// Requests returns what has come so far, in order.
func (s *Server) Requests() []Request {
	requests, _ := s.recorder.all()
	return requests
}

// WaitRequests waits until n requests have come since the start, and returns
// all. It fails the test when they do not come within 10 seconds.
func (s *Server) WaitRequests(n int) []Request {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.life, 10*time.Second)
	defer cancel()
	requests, err := s.recorder.wait(ctx, n)
	if err != nil {
		s.tb.Fatalf("dirtytest: %d requests have come, waiting for %d", len(requests), n)
	}
	return requests
}

// Conns returns how many connections are open, and how many there were.
func (s *Server) Conns() (open, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.open, s.accepted
}

// Fault makes things go wrong with the requests that match, in the way that the
// faults say. Of several rules that apply to a request the first one counts.
func (s *Server) Fault(match Match, faults ...Fault) *Rule {
	r := &Rule{match: match, faults: faults, times: -1}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, r)
	return r
}

// ClearFaults removes all rules.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// faultsFor returns the faults of the first rule that applies.
func (s *Server) faultsFor(request Request) []Fault {
	s.mu.Lock()
	rules := s.rules
	s.mu.Unlock()
	for _, r := range rules {
		if r.applies(request) {
			return r.faults
		}
	}
	return nil
}

// swapLast keeps a frame of an answer, and returns the one before.
func (s *Server) swapLast(frame []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	s.last = append([]byte(nil), frame...)
	return last
}

// unexpected fails the test for calls that nobody handles.
func (s *Server) unexpected(h server.Handler) server.Handler {
	mux, ok := h.(*server.Mux)
	if !ok || s.allowUnknown {
		return h
	}
	checked := server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if mux.Handler(r.AppPath, r.Action) == nil {
			s.tb.Errorf("dirtytest: unexpected call of %s.%s", r.AppPath, r.Action)
		}
		return h.ServeDirty(ctx, w, r)
	})
	return server.Chain(h, func(server.Handler) server.Handler { return checked })
}

// newRun makes a server. The lock is held.
func (s *Server) newRun() {
	r := &run{stash: new(server.MemoryStore)}
	r.life, r.end = context.WithCancel(s.life)
	r.server = &server.Server{
		Handler: s.unexpected(s.handler), Stash: r.stash,
		Status: s.status, Manage: s.manage,
	}
	for _, f := range s.configure {
		f(r.server)
	}
	s.run = r
}

// start makes a server and listens.
func (s *Server) start() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newRun()
	if s.inMemory {
		s.path = "memory"
		return
	}
	folder, err := shortFolder()
	if err == nil {
		s.folder = folder
		err = s.listen()
	}
	if err != nil {
		s.tb.Fatalf("dirtytest: %v", err)
	}
}

// shortFolder makes a folder whose path leaves room for the name of a socket,
// unlike that of [testing.T.TempDir].
func shortFolder() (string, error) {
	folder, err := os.MkdirTemp("", "dt")
	if err == nil && len(folder) > 80 {
		_ = os.Remove(folder)
		return os.MkdirTemp("/tmp", "dt")
	}
	return folder, err
}

// listen puts a socket in place, at a new path if there is none yet, and accepts
// connections. The lock is held.
func (s *Server) listen() error {
	if s.path == "" {
		s.sockets++
		s.path = filepath.Join(s.folder, fmt.Sprintf("%d.sock", s.sockets))
	}
	l, err := net.Listen("unix", s.path+".new")
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // RefuseDials leaves it
	if err := os.Rename(s.path+".new", s.path); err != nil {
		_ = l.Close()
		return err
	}
	s.listener = l
	s.background.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			full := s.full
			s.mu.Unlock()
			if full != nil {
				full.wait()
			}
			s.accept(nc)
		}
	})
	return nil
}

// accept serves a connection in the background.
func (s *Server) accept(front net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.run
	if run.life.Err() != nil {
		_ = front.Close()
		return
	}
	s.accepted++
	run.open++
	number := s.accepted
	var script []Step
	if len(s.scripts) > 0 {
		script, s.scripts = s.scripts[0], s.scripts[1:]
	}
	run.relays.Add(1)
	s.background.Go(func() {
		defer run.relays.Done()
		s.serve(run, number, front, script)
		s.mu.Lock()
		defer s.mu.Unlock()
		run.open--
	})
}

// serve serves a connection until its end.
func (s *Server) serve(run *run, number int, front net.Conn, script []Step) {
	ctx, cancel := context.WithCancel(run.life)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = front.Close() })()
	defer front.Close()
	if script != nil {
		s.play(ctx, number, front, script)
		return
	}
	near, far := net.Pipe()
	served := make(chan struct{})
	s.background.Go(func() {
		defer close(served)
		_ = run.server.ServeConn(ctx, far) // it ends as the connection does
		cancel()
	})
	r := &relay{server: s, number: number, ctx: ctx, front: front, back: dirty.NewConn(near)}
	defer context.AfterFunc(ctx, func() { _ = near.Close() })()
	r.serve(r.requests(cancel))
	_ = near.Close()
	<-served
}

// dialPipe is the dialer of clients in memory.
func (s *Server) dialPipe(context.Context, string) (net.Conn, error) {
	s.mu.Lock()
	refuses, full := s.refuses, s.full
	s.mu.Unlock()
	switch {
	case refuses:
		return nil, errRefused
	case full != nil:
		return nil, errFull
	}
	near, far := net.Pipe()
	s.accept(far)
	return near, nil
}

// stop ends the present server and its connections, and leaves the socket.
func (s *Server) stop() {
	s.mu.Lock()
	run, l, full := s.run, s.listener, s.full
	s.listener, s.full = nil, nil
	run.end()
	s.mu.Unlock()
	if full != nil {
		full.drain()
	}
	if l != nil {
		_ = l.Close()
	}
	_ = run.server.Close()
	run.relays.Wait()
}

// close ends everything with the test.
func (s *Server) close() {
	s.end()
	s.stop()
	s.background.Wait()
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}
