package server_test

import (
	"context"
	"math"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scriptedListener is a listener whose Accept returns what a test gives it.
type scriptedListener struct {
	conns chan net.Conn
	errs  chan error
	ended chan struct{}
}

func newScriptedListener() *scriptedListener {
	return &scriptedListener{make(chan net.Conn), make(chan error), make(chan struct{})}
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *scriptedListener) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return nil
}

func (l *scriptedListener) Addr() net.Addr { return &net.UnixAddr{Name: "scripted", Net: "unix"} }

// temporaryError is an error of a listener of others, as net/http knows it.
type temporaryError bool

func (e temporaryError) Error() string   { return "not now" }
func (e temporaryError) Timeout() bool   { return false }
func (e temporaryError) Temporary() bool { return bool(e) }

// TestServeAfterTemporaryErrors checks that Serve goes on after an error that
// says it is temporary, with pauses that grow to a second, and ends at others.
func TestServeAfterTemporaryErrors(t *testing.T) {
	for _, temporary := range []error{temporaryError(true), &net.OpError{Op: "accept", Err: temporaryError(true)}} {
		synctest.Test(t, func(t *testing.T) {
			l := newScriptedListener()
			s := new(server.Server)
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			begin := time.Now()
			for range 20 {
				l.errs <- temporary
			}
			ours, theirs := net.Pipe()
			l.conns <- theirs
			assert.Greater(t, time.Since(begin), 10*time.Second, "it does not spin")
			assert.Less(t, time.Since(begin), 21*time.Second)
			usable(t, dirty.NewConn(ours))
			l.errs <- temporaryError(false)
			require.Equal(t, temporaryError(false), <-served)
			usable(t, dirty.NewConn(ours))
			require.NoError(t, s.Close())
		})
	}
}

// TestLinesOfAFloodAreBounded checks that clients cannot fill the log: lines of
// one kind come at once, then once a second, with the number of those between.
func TestLinesOfAFloodAreBounded(t *testing.T) {
	garbage := func(t *testing.T, s *server.Server) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(ctx, theirs) }()
		_, _ = ours.Write([]byte("garbage of more than a header"))
		require.Error(t, <-served)
	}
	refused := func(t *testing.T, s *server.Server) {
		_, theirs := net.Pipe()
		require.ErrorIs(t, s.ServeConn(ctx, theirs), server.ErrTooManyConns)
	}
	late := func(t *testing.T, s *server.Server) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(ctx, theirs) }()
		call(t, dirty.NewConn(ours), "do")
		require.NoError(t, ours.Close())
		require.NoError(t, <-served)
	}
	for _, test := range []struct {
		name, line string
		maxConns   int
		cause      func(t *testing.T, s *server.Server)
		h          func(w *server.ResponseWriter) error
		atOnce     int
	}{
		{"refused connections", "connection refused", 1, refused, nil, 1},
		{"clients that do not speak the protocol", "does not speak the protocol", 2, garbage, nil, 1},
		{"errors after replies", "after its reply", 2, late, func(w *server.ResponseWriter) error { _ = w.Respond(1); return errBoom }, 1},
		{"panics", "a panic in", 2, late, func(*server.ResponseWriter) error { panic("reason") }, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log record
				s := handle(test.h)
				s.MaxConns, s.Logger = test.maxConns, log.logger()
				ours, theirs := net.Pipe() // the one that is served meanwhile
				go func() { _ = s.ServeConn(ctx, theirs) }()
				synctest.Wait()
				lines := func() int { return strings.Count(log.String(), test.line) }
				for range 1000 {
					test.cause(t, s)
				}
				assert.Equal(t, test.atOnce, lines())
				for i := range 3 {
					time.Sleep(time.Second)
					for range 1000 {
						test.cause(t, s)
					}
					assert.Equal(t, test.atOnce+i+1, lines())
				}
				dropped := func() (sum int) {
					for _, m := range regexp.MustCompile(`dropped=(\d+)`).FindAllStringSubmatch(log.String(), -1) {
						n, err := strconv.Atoi(m[1])
						require.NoError(t, err)
						sum += n
					}
					return sum
				}
				assert.Equal(t, 3000-test.atOnce-2, dropped(), "all but those since the last line")
				time.Sleep(time.Hour)
				for range 1000 {
					test.cause(t, s)
				}
				assert.Equal(t, 2*test.atOnce+3, lines())
				require.NoError(t, s.Close())
				assert.Equal(t, 2*test.atOnce+4, lines(), "the last one tells the rest")
				assert.Equal(t, 5000, dropped()+lines()-1)
				_ = ours.Close()
			})
		})
	}
}

// TestNumbersOfServer tries every field that is a number at its edges: the
// server answers, and ends.
func TestNumbersOfServer(t *testing.T) {
	durations := []time.Duration{0, 1, -1, math.MinInt64, math.MaxInt64, math.MaxInt64 / 2, math.MaxInt64 - 1}
	counts := []int{0, 1, -1, math.MinInt, math.MaxInt}
	type test struct {
		name string
		s    *server.Server
	}
	var tests []test
	for _, d := range durations {
		tests = append(tests,
			test{"FrameTimeout " + d.String(), &server.Server{FrameTimeout: d}},
			test{"WriteTimeout " + d.String(), &server.Server{WriteTimeout: d}})
	}
	for _, n := range counts {
		tests = append(tests,
			test{"MaxConns " + strconv.Itoa(n), &server.Server{MaxConns: n}},
			test{"MaxConcurrent " + strconv.Itoa(n), &server.Server{MaxConcurrent: n}})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, wrap := range map[string]func(net.Conn) net.Conn{
				"with deadlines": func(nc net.Conn) net.Conn { return nc },
				"without deadlines": func(nc net.Conn) net.Conn {
					return &usercodetest.OddConn{Conn: nc, OnSetDeadline: func(time.Time) error { return errBoom }}
				},
			} {
				s := &server.Server{Handler: server.HandlerFunc(echo), FrameTimeout: test.s.FrameTimeout, WriteTimeout: test.s.WriteTimeout,
					MaxConns: test.s.MaxConns, MaxConcurrent: test.s.MaxConcurrent}
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					served := make(chan error, 1)
					go func() { served <- s.ServeConn(ctx, wrap(theirs)) }()
					c := dirty.NewConn(ours)
					for range 3 {
						assert.Equal(t, dirty.NewResponse(1, []any{int64(5)}), call(t, c, "do", 5), name)
						time.Sleep(time.Hour)
					}
					require.NoError(t, s.Shutdown(ctx))
					require.Equal(t, server.ErrServerClosed, <-served)
				})
			}
		})
	}
	for _, n := range counts[2:] {
		for _, limits := range []dirty.Limits{{MaxPayload: n}, {MaxDepth: n}, {MaxElements: n}, {MaxMemory: n}} {
			_, theirs := net.Pipe()
			assert.ErrorContains(t, (&server.Server{Limits: limits}).ServeConn(ctx, theirs), "Limits.")
		}
	}
	for _, limits := range []dirty.Limits{{MaxDepth: 1}, {MaxElements: 1}, {MaxMemory: 1}, {MaxPayload: 1}} {
		s := &server.Server{Handler: server.HandlerFunc(echo), Limits: limits}
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- s.ServeConn(ctx, theirs) }()
			for _, m := range []dirty.Message{dirty.NewStatusRequest(1), dirty.NewStashRequest(1, dirty.StashPut, "t", "k", 1, ""),
				dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, ""), dirty.NewRequest(1, app, "do", nil, nil)} {
				if dirty.WriteMessage(ours, m) != nil {
					break
				}
				if _, err := dirty.ReadMessage(ours); err != nil {
					break
				}
			}
			_ = ours.Close()
			<-served
			assert.Zero(t, s.Stats().Panics)
		})
	}
}

type userKey struct{}

func TestConnContext(t *testing.T) {
	var log record
	s := &server.Server{Logger: log.logger(),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			cred, ok := server.PeerCred(c)
			if !ok {
				return nil
			}
			return context.WithValue(ctx, userKey{}, cred)
		},
		Handler: server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return w.Respond(ctx.Value(userKey{}).(server.Cred).PID)
		})}
	path := start(t, s)
	ours, theirs := net.Pipe()
	assert.ErrorContains(t, s.ServeConn(ctx, theirs), "refused", "a pipe has no peer")
	_, err := ours.Read(make([]byte, 1))
	assert.Error(t, err)
	c := dial(t, path)
	if runtime.GOOS != "linux" {
		closed(t, c)
		return
	}
	assert.Equal(t, dirty.NewResponse(1, int64(os.Getpid())), call(t, c, "do"))
}
