package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forwarder forwards all frames to an arbiter.
type forwarder struct{ to *client.Client }

func (h forwarder) ServeFrame(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
	err := h.to.Forward(ctx, f, w.Frame)
	if errors.Is(err, client.ErrOutcomeUnknown) {
		panic(server.ErrAbortHandler)
	}
	return err
}

// A forwarder is a FrameHandler and a client. It does not decode what goes through it.
// Where it does not know whether the far arbiter has acted, it gives no answer.
func ExampleFrameHandler() {
	mux := server.NewMux()
	mux.Handle("app:Model", "tokens", server.StreamFunc(func(_ context.Context, prompt string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { _ = yield("you asked: ", nil) && yield(prompt, nil) }
	}))
	dir, remove, err := exampleFolder()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 2)

	far := &server.Server{Handler: mux}
	go func() { ended <- far.Run(ctx, filepath.Join(dir, "far")) }()
	to, err := client.New(client.WithSocket(filepath.Join(dir, "far")), client.WithWaitForServer(10*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	near := &server.Server{FrameHandler: forwarder{to}} // see its ServeFrame
	go func() { ended <- near.Run(ctx, filepath.Join(dir, "near")) }()

	c, err := client.New(client.WithSocket(filepath.Join(dir, "near")), client.WithWaitForServer(10*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	for token, err := range client.StreamOf[string](ctx, c, "app:Model", "tokens", "hello") {
		fmt.Print(token, err, "|")
	}
	_, err = c.Execute(ctx, "no:App", "do")
	fmt.Println(errors.Is(err, dirty.ErrNoWorkers))
	_, _ = c.Close(), to.Close()
	stop()
	fmt.Println(<-ended, <-ended)
	// Output:
	// you asked: <nil>|hello<nil>|true
	// <nil> <nil>
}

// exampleFolder makes a folder for sockets.
func exampleFolder() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "dirty")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// forwardTo starts a forwarder to a socket, and returns a client of it and its path.
// The far server is started before, so that its end finds what is left of both.
func forwardTo(tb testing.TB, far string) (c *client.Client, near string) {
	tb.Helper()
	near = filepath.Join(folder(tb), "near")
	l, err := server.Listen(near, 0)
	require.NoError(tb, err)
	s := &server.Server{FrameHandler: forwarder{newClient(tb, far)}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		assert.NoError(tb, s.Close())
		assert.ErrorIs(tb, <-served, server.ErrServerClosed)
	})
	return newClient(tb, near), near
}

// TestForwarder checks with our client that what comes through a forwarder is what the
// far server answers.
func TestForwarder(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(echo))
	mux.Handle(app, "fail", server.Func(func(context.Context, struct{}) (any, error) { return nil, errBoom }))
	mux.Handle(app, "count", server.StreamFunc(func(ctx context.Context, n int) iter.Seq2[int, error] { return counting(nil)(ctx, n) }))
	mux.Handle(app, "break", server.StreamFunc(counting(errBoom)))
	c, _ := forwardTo(t, start(t, &server.Server{Handler: mux,
		Manage: func(_ context.Context, op dirty.ManageOp, n int) (any, error) {
			return dirty.ManageResult{Requested: n, TotalWorkers: 7}, nil
		}}))

	v, err := c.Execute(ctx, app, "echo", 1, "two", []byte("three"))
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), "two", []byte("three")}, v)
	large := make([]byte, 20<<20)
	v, err = c.Execute(ctx, app, "echo", large)
	require.NoError(t, err)
	assert.Len(t, v.([]any)[0], len(large))

	_, err = c.Execute(ctx, app, "fail")
	require.ErrorIs(t, err, dirty.ErrApp)
	assert.ErrorContains(t, err, "boom")
	_, err = c.Execute(ctx, "no:App", "do")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)

	for action, want := range map[string]error{"count": nil, "break": dirty.ErrApp} {
		n := 0
		for v, err := range c.Stream(ctx, app, action, 500) {
			if err != nil {
				require.ErrorIs(t, err, want)
				want = nil
				break
			}
			require.EqualValues(t, n, v)
			n++
		}
		assert.NoError(t, want, action)
		assert.Equal(t, 500, n)
	}

	table := c.Stash("t")
	require.NoError(t, table.Put(ctx, "k", "v"))
	got, err := table.Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, "v", got)
	_, err = table.Get(ctx, "other")
	require.ErrorIs(t, err, dirty.ErrKeyNotFound)
	status, err := c.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{app}, status.Apps)
	scaled, err := c.AddWorkers(ctx, 3)
	require.NoError(t, err)
	assert.Equal(t, 7, scaled.Total)
}

// TestForwarderKeepsBytes checks that payloads go through a forwarder byte for byte:
// the order of keyword arguments, keys that come twice, and what cannot be decoded.
func TestForwarderKeepsBytes(t *testing.T) {
	asked := make(chan string, 1)
	_, near := forwardTo(t, start(t, &server.Server{FrameHandler: frameHandler(
		func(_ context.Context, w *server.ResponseWriter, f dirty.Frame) error {
			asked <- string(f.Payload)
			for _, typ := range []dirty.MessageType{dirty.TypeChunk, dirty.TypeError} {
				if err := w.Frame(dirty.Frame{Header: dirty.Header{Type: typ}, Payload: f.Payload}); err != nil {
					return err
				}
			}
			return nil
		})}))
	c := dial(t, near)
	ordered := dirty.NewRequest(1, app, "do", nil, nil)
	ordered.OrderedKwargs = dirty.Dict{{Key: "z", Value: 1}, {Key: "a", Value: 2}, {Key: "m", Value: 3}}
	for name, payload := range map[string]dirty.RawValue{
		"ordered": frameOf(t, ordered).Payload, "garbage": dirty.RawValue("garbage"), "empty": nil,
		"large": make([]byte, 3<<20),
	} {
		require.NoError(t, c.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest, RequestID: 77}, Payload: payload}), name)
		assert.True(t, wait(t, "the far server", asked) == string(payload), name)
		for _, typ := range []dirty.MessageType{dirty.TypeChunk, dirty.TypeError} {
			f, err := c.ReadFrame()
			require.NoError(t, err, name)
			assert.Equal(t, dirty.Header{Type: typ, RequestID: 77, Length: uint32(len(payload))}, f.Header, name)
			assert.True(t, string(f.Payload) == string(payload), name)
		}
	}
}

// TestForwarderCancels checks that the connection of the forwarded call is closed when
// the client leaves, before the first answer and in a stream.
func TestForwarderCancels(t *testing.T) {
	for _, chunks := range []int{0, 1} {
		t.Run(fmt.Sprintf("after %d chunks", chunks), func(t *testing.T) {
			running, causes := make(chan struct{}, 1), make(chan error, 1)
			_, near := forwardTo(t, start(t, &server.Server{Handler: server.HandlerFunc(
				func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
					for range chunks {
						_ = w.Chunk(1)
					}
					running <- struct{}{}
					<-ctx.Done()
					causes <- context.Cause(ctx)
					return nil
				})}))
			c := dial(t, near)
			require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
			wait(t, "the far handler", running)
			for range chunks {
				receive(t, c)
			}
			require.NoError(t, c.Close())
			assert.ErrorIs(t, wait(t, "its end", causes), server.ErrClientGone)
		})
	}
}

// TestForwarderAborts checks that a client gets no answer if the far server dies in
// the middle of its call, and one if it is not there at all.
func TestForwarderAborts(t *testing.T) {
	for _, chunks := range []int{0, 1} {
		t.Run(fmt.Sprintf("after %d chunks", chunks), func(t *testing.T) {
			path := filepath.Join(folder(t), "far")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { // a server that dies in its first call
				nc, err := l.Accept()
				if err == nil {
					var m dirty.Message
					far := dirty.NewConn(nc)
					m, err = far.ReadMessage()
					for range chunks {
						err = errors.Join(err, far.WriteMessage(dirty.NewChunk(m.RequestID(), 1)))
					}
					err = errors.Join(err, nc.Close(), l.Close())
				}
				served <- err
			}()
			c, near := forwardTo(t, path)
			raw := dial(t, near)
			require.NoError(t, raw.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
			for range chunks {
				receive(t, raw)
			}
			closed(t, raw)
			require.NoError(t, wait(t, "the far server", served))

			_, err = c.Execute(ctx, app, "do")
			var remote *dirty.RemoteError
			require.ErrorAs(t, err, &remote, "it is known that nothing has run")
			assert.NotErrorIs(t, err, client.ErrOutcomeUnknown)
		})
	}
}

// TestForwarderWithPython runs gunicorn's own clients through a forwarder.
func TestForwarderWithPython(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		_, near := forwardTo(t, start(t, &server.Server{Handler: goApp()}))
		runPythonClients(t, p, near)
	})
}
