package dirtytest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// Server is an arbiter for a test: a [server.Server] with a handler of the test.
// A relay in front of it records the requests and makes the faults. [NewServer]
// makes one; the zero value is not usable.
//
// Its methods may be called concurrently. Those that can stop the test, as their
// comments say, may only be called where [testing.TB.FailNow] may be.
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
	last     []byte // the latest frame of an answer, for StaleReply
	folder   string // of the socket
	path     string // of the socket
	sockets  int    // paths that were used so far
	listener net.Listener
	full     *backlog // not nil while the backlog is full
	refuses  bool     // whether dials are refused
	run      *run     // the present server
	accepted int      // connections, of all servers
}

// run is a server from its start to its end. Restart makes another one.
type run struct {
	server *server.Server
	stash  *server.MemoryStore
	life   context.Context
	end    context.CancelFunc
	relays sync.WaitGroup
	open   int // connections; the lock of the Server guards it
}

// Option is an option of [NewServer].
type Option func(*Server)

// WithUnknownCalls lets clients call apps and actions that the handler does not
// know, if it is a [server.Mux]. By default such a call fails the test.
func WithUnknownCalls() Option { return func(s *Server) { s.allowUnknown = true } }

// WithServer calls f with each new server before it starts, so that f can set
// fields such as limits and timeouts. It must not set Handler. If it sets Stash,
// Status or Manage, the methods of [Server] for these have no effect.
func WithServer(f func(*server.Server)) Option {
	return func(s *Server) { s.configure = append(s.configure, f) }
}

// WithInMemory makes a server without a socket. Its clients are made by
// [Server.Client] and use [net.Pipe]. It works inside [testing/synctest], where
// time is not real.
func WithInMemory() Option { return func(s *Server) { s.inMemory = true } }

// NewServer starts a server on a socket of its own. It ends with the test. A nil
// handler has no apps. A call of an app or action that a [server.Mux] does not
// know fails the test, unless [WithUnknownCalls] is given. If the server cannot
// start, NewServer stops the test.
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

// Socket returns the path of the socket. It is short, because systems allow only
// about a hundred bytes. It stops the test if the server is in memory.
func (s *Server) Socket() string {
	s.tb.Helper()
	if s.inMemory {
		s.tb.Fatal("dirtytest: a server in memory has no socket: use Client")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path
}

// Client returns a new client of the server. It is closed at the end of the test.
// After [Server.Respawn] it finds the new path. Options of the caller come after
// those that lead it to the server. It stops the test if they are wrong.
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

// Setenv sets GUNICORN_DIRTY_SOCKET to the path of the socket until the test ends,
// for code that looks there. Such a test cannot be parallel. It does not follow
// [Server.Respawn].
func (s *Server) Setenv() {
	s.tb.Helper()
	s.tb.Setenv(client.EnvSocket, s.Socket())
}

// Requests returns the requests that have come so far, in order.
//
// The last 100,000 are kept, and at most 256 MiB of payloads. If older ones had to
// be dropped, Requests fails the test and returns the rest. A test that runs for
// long calls [Server.ForgetRequests] now and then, or never asks.
func (s *Server) Requests() []Request {
	s.tb.Helper()
	requests, dropped, _ := s.recorder.all()
	s.checkDropped(dropped)
	return requests
}

// ForgetRequests forgets the requests that have come so far.
func (s *Server) ForgetRequests() { s.recorder.forget() }

// waitTime bounds how long WaitRequests waits.
const waitTime = 10 * time.Second

// WaitRequests waits until n requests have come since the start, or since the
// latest [Server.ForgetRequests], and returns them all. It stops the test if they
// do not come within 10 seconds. As for [Server.Requests], it fails the test if
// some of them had to be dropped.
func (s *Server) WaitRequests(n int) []Request {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.life, waitTime)
	defer cancel()
	requests, dropped, err := s.recorder.wait(ctx, n)
	s.checkDropped(dropped)
	if err != nil {
		s.tb.Fatalf("dirtytest: %d requests have come, waiting for %d", len(requests)+dropped, n)
	}
	return requests
}

// checkDropped fails the test if requests had to be dropped.
func (s *Server) checkDropped(dropped int) {
	s.tb.Helper()
	if dropped > 0 {
		s.tb.Errorf("dirtytest: the %d oldest requests were dropped, because only %d and %d MiB are kept: call ForgetRequests now and then",
			dropped, maxRecorded, maxRecordedBytes>>20)
	}
}

// Conns returns how many connections are open now, and how many have been
// accepted since the start.
func (s *Server) Conns() (open, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.open, s.accepted
}

// Fault adds a rule: requests that match go wrong in the way that the faults say,
// which are applied in order. If several rules apply to a request, only the first
// one does. The rule ends with [Server.ClearFaults].
func (s *Server) Fault(match Match, faults ...Fault) *Rule {
	r := &Rule{match: match, faults: faults, times: -1}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, r)
	return r
}

// ClearFaults removes all rules of [Server.Fault].
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

// swapLast keeps a copy of a frame of an answer, and returns the frame before.
func (s *Server) swapLast(frame []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	s.last = append([]byte(nil), frame...)
	return last
}

// failUnknown returns a handler that fails the test if h does not know a call.
func (s *Server) failUnknown(h server.Handler) server.Handler {
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

// newRun makes a server. The caller holds the lock.
func (s *Server) newRun() {
	r := &run{stash: new(server.MemoryStore)}
	r.life, r.end = context.WithCancel(s.life)
	r.server = &server.Server{
		Handler: s.failUnknown(s.handler), Stash: r.stash,
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

// shortFolder makes a folder with a short path, so that there is room for the name
// of a socket. The path of [testing.T.TempDir] can be too long.
func shortFolder() (string, error) {
	folder, err := os.MkdirTemp("", "dt")
	if err == nil && len(folder) > 80 {
		_ = os.Remove(folder)
		return os.MkdirTemp("/tmp", "dt")
	}
	return folder, err
}

// listen puts a socket in place and accepts connections in the background. It
// chooses a new path if none is set. The caller holds the lock.
func (s *Server) listen() error {
	if s.path == "" {
		s.sockets++
		s.path = filepath.Join(s.folder, fmt.Sprintf("%d.sock", s.sockets))
	}
	l, err := net.Listen("unix", s.path+".new")
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // RefuseDials leaves the file
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
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			run.open--
		}()
		defer s.failPanic()
		s.serve(run, number, front, script)
	})
}

// failPanic fails the test if a function of the test, such as a [Match], has
// panicked. The process lives on, so that other tests can run.
func (s *Server) failPanic() {
	if v := recover(); v != nil {
		s.tb.Errorf("dirtytest: panic: %v\n%s", v, debug.Stack())
	}
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
		defer cancel()
		_ = run.server.ServeConn(ctx, far) // the error only says why the connection ended
	})
	defer func() {
		_ = near.Close()
		<-served
	}()
	defer context.AfterFunc(ctx, func() { _ = near.Close() })()
	r := &relay{server: s, number: number, ctx: ctx, front: front, back: dirty.NewConn(near)}
	r.serve(r.readRequests(cancel))
}

// dialPipe is the dialer of clients of a server in memory.
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

// stop ends the present server and its connections. The socket's file stays.
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

// close ends everything. It runs at the end of the test.
func (s *Server) close() {
	s.end()
	s.stop()
	s.background.Wait()
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}
