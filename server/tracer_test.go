package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// traced is what a Tracer was told, in order, and how the last message ended.
type traced struct {
	lines chan string
	done  chan server.CallResult
}

// traceKey is the key of a context's value that only the Tracer sets.
type traceKey struct{}

// newTracer makes a Tracer that writes down all it is told.
func newTracer(tb testing.TB) (*server.Tracer, traced) {
	got := traced{make(chan string, 1000), make(chan server.CallResult, 100)}
	add := func(ctx context.Context, call server.CallInfo, what string) {
		if what != "start" {
			assert.Equal(tb, "traced", ctx.Value(traceKey{}), "the context of Start")
		}
		got.lines <- fmt.Sprintf("%s %v %s.%s", what, call.Type, call.App, call.Action)
	}
	return &server.Tracer{
		Start: func(ctx context.Context, call server.CallInfo) context.Context {
			add(ctx, call, "start")
			return context.WithValue(ctx, traceKey{}, "traced")
		},
		Waited: func(ctx context.Context, call server.CallInfo, d time.Duration) { add(ctx, call, "waited") },
		Chunk:  func(ctx context.Context, call server.CallInfo) { add(ctx, call, "chunk") },
		Done: func(ctx context.Context, call server.CallInfo, r server.CallResult) {
			add(ctx, call, "done")
			got.done <- r
		},
	}, got
}

// read returns the lines so far.
func (t traced) read() (lines []string) {
	for {
		select {
		case line := <-t.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

// TestTracer checks what a Tracer is told of each kind of message and reply.
func TestTracer(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "typed", server.Func(func(ctx context.Context, _ struct{}) (any, error) { return ctx.Value(traceKey{}), nil }))
	mux.Handle(app, "one", server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		return w.Respond(ctx.Value(traceKey{}))
	}))
	mux.Handle(app, "none", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error { return nil }))
	mux.Handle(app, "chunks", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		return errors.Join(w.Chunk(1), w.Chunk(2))
	}))
	mux.Handle(app, "gathered", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) { _ = yield(1, nil) && yield(2, nil) && yield(0, errBoom) }
	}))
	mux.Handle(app, "unsendable", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		return w.Respond(func() {})
	}))
	mux.Handle(app, "class", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error {
		return &dirty.RemoteError{Type: "\xff"}
	}))
	mux.Handle(app, "panic", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error { panic("secret") }))
	mux.Handle(app, "bad error", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error {
		return usercodetest.BadError{Method: "Error", Fail: func() { panic("secret") }}
	}))
	mux.Handle(app, "abort", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error { panic(server.ErrAbortHandler) }))
	mux.Handle(app, "exit", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error { runtime.Goexit(); return nil }))
	request := func(action string) dirty.Message { return dirty.NewRequest(1, app, action, nil, nil) }
	type result = server.CallResult
	for name, test := range map[string]struct {
		ask    dirty.Message
		answer bool // there is a reply
		want   result
		err    string // of the result
		value  any    // of a RESPONSE
	}{
		"response":                  {request("one"), true, result{Outcome: "ok"}, "", "traced"},
		"response of Func":          {request("typed"), true, result{Outcome: "ok"}, "", "traced"},
		"nothing":                   {request("none"), true, result{Outcome: "ok"}, "", nil},
		"chunks":                    {request("chunks"), true, result{Outcome: "ok", Chunks: 2}, "", nil},
		"gathered, with an error":   {request("gathered"), true, result{Outcome: "error", Class: dirty.ClassApp, Chunks: 2}, "", nil},
		"result without encoding":   {request("unsendable"), true, result{Outcome: "error", Class: dirty.ClassApp}, "", nil},
		"class that cannot be sent": {request("class"), true, result{Outcome: "error", Class: dirty.ClassApp}, "", nil},
		"panic":                     {request("panic"), true, result{Outcome: "error", Class: dirty.ClassApp, Panic: "secret"}, "", nil},
		"panic of an error":         {request("bad error"), true, result{Outcome: "error", Class: dirty.ClassApp, Panic: "secret"}, "", nil},
		"abort":                     {request("abort"), false, result{Outcome: "aborted"}, "abort", nil},
		"unknown app":               {dirty.NewRequest(1, "x:X", "do", nil, nil), true, result{Outcome: "error", Class: dirty.ClassNoWorkersAvailable}, "", nil},
		"stash":                     {dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, ""), true, result{Outcome: "error", Class: dirty.ClassKeyNotFound}, "", nil},
		"status":                    {dirty.NewStatusRequest(1), true, result{Outcome: "ok"}, "", nil},
		"manage":                    {dirty.NewManageRequest(1, dirty.ManageAdd, 1), true, result{Outcome: "error", Class: dirty.ClassError}, "", nil},
		"a message that is a reply": {dirty.NewEnd(1), true, result{Outcome: "error", Class: dirty.ClassWorker}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, got := newTracer(t)
			c := connect(t, &server.Server{Handler: mux, Tracer: tracer})
			require.NoError(t, c.WriteMessage(test.ask))
			last := dirty.TypeChunk
			for test.answer && last == dirty.TypeChunk {
				m := receive(t, c)
				last = m.Type()
				if r, ok := m.(*dirty.Response); ok && test.ask.Type() == dirty.TypeRequest {
					assert.Equal(t, test.value, r.Result, "the handler has the context of Start")
				}
			}
			r := wait(t, "Done", got.done)
			assert.Positive(t, r.Duration)
			if test.err != "" {
				assert.ErrorContains(t, r.Err, test.err)
			} else {
				assert.NoError(t, r.Err)
			}
			r.Duration, r.Err = 0, nil
			assert.Equal(t, test.want, r)
			what := fmt.Sprintf(" %v .", test.ask.Type())
			if m, ok := test.ask.(*dirty.Request); ok {
				what = fmt.Sprintf(" request %s.%s", m.AppPath, m.Action)
			}
			want := []string{"start" + what}
			for range test.want.Chunks {
				want = append(want, "chunk"+what)
			}
			assert.Equal(t, append(want, "done"+what), got.read())
		})
	}
	t.Run("Goexit", func(t *testing.T) {
		tracer, got := newTracer(t)
		c := connect(t, &server.Server{Handler: mux, Tracer: tracer})
		assert.Equal(t, "internal error", failed(t, ask(t, c, request("exit"))).Message)
		r := wait(t, "Done", got.done)
		assert.Equal(t, "error", r.Outcome)
		assert.ErrorContains(t, r.Panic.(error), "Goexit")
	})
}

// TestTracerCallInfo checks what a Tracer is told of a message before it is answered.
func TestTracerCallInfo(t *testing.T) {
	calls := make(chan server.CallInfo, 1)
	c := connect(t, &server.Server{Tracer: &server.Tracer{Start: func(_ context.Context, call server.CallInfo) context.Context {
		calls <- call
		return nil
	}}})
	twice := dirty.AppendDictHeader(nil, 4)
	for _, pair := range [][2]string{{"app_path", "first"}, {"action", "first"}, {"app_path", "last"}, {"action", "last"}} {
		twice = dirty.AppendString(dirty.AppendString(twice, pair[0]), pair[1])
	}
	badOp := dirty.AppendInt64(dirty.AppendString(dirty.AppendDictHeader(nil, 1), "op"), 257)
	for name, test := range map[string]struct {
		f    dirty.Frame
		want server.CallInfo
	}{
		"request":         {frameOf(t, dirty.NewRequest(1, app, "do", nil, nil)), server.CallInfo{Type: dirty.TypeRequest, App: app, Action: "do"}},
		"names twice":     {dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: twice}, server.CallInfo{Type: dirty.TypeRequest, App: "last", Action: "last"}},
		"request, broken": {dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: twice[:len(twice)-1]}, server.CallInfo{Type: dirty.TypeRequest}},
		"stash":           {frameOf(t, dirty.NewStashRequest(1, dirty.StashKeys, "t", nil, nil, "")), server.CallInfo{Type: dirty.TypeStash, Stash: dirty.StashKeys}},
		"stash, bad":      {dirty.Frame{Header: dirty.Header{Type: dirty.TypeStash}, Payload: badOp}, server.CallInfo{Type: dirty.TypeStash}},
		"status":          {frameOf(t, dirty.NewStatusRequest(1)), server.CallInfo{Type: dirty.TypeStatus}},
		"manage":          {frameOf(t, dirty.NewManageRequest(1, dirty.ManageRemove, 1)), server.CallInfo{Type: dirty.TypeManage, Manage: dirty.ManageRemove}},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.WriteFrame(test.f))
			got := wait(t, "Start", calls)
			receive(t, c)
			if runtime.GOOS == "linux" {
				assert.Equal(t, os.Getpid(), got.PeerPID)
			}
			got.PeerPID = 0
			assert.Equal(t, test.want, got)
		})
	}
}

// TestTracerOfFrames checks that a Tracer sees what a FrameHandler writes.
func TestTracerOfFrames(t *testing.T) {
	chunk, end := frameOf(t, dirty.NewChunk(1, 5)), frameOf(t, dirty.NewEnd(1))
	for name, test := range map[string]struct {
		frames []dirty.Frame
		want   server.CallResult
	}{
		"stream":           {[]dirty.Frame{chunk, chunk, end}, server.CallResult{Outcome: "ok", Chunks: 2}},
		"error":            {[]dirty.Frame{frameOf(t, dirty.NewErrorReply(1, dirty.ErrWorker))}, server.CallResult{Outcome: "error", Class: dirty.ClassWorker}},
		"error, no class":  {[]dirty.Frame{{Header: dirty.Header{Type: dirty.TypeError}}}, server.CallResult{Outcome: "error", Class: dirty.ClassError}},
		"nothing":          {nil, server.CallResult{Outcome: "ok"}},
		"frame of no type": {[]dirty.Frame{{}}, server.CallResult{Outcome: "error", Class: dirty.ClassApp}},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, got := newTracer(t)
			c := connect(t, &server.Server{Tracer: tracer, FrameHandler: frameHandler(func(ctx context.Context, w *server.ResponseWriter, _ dirty.Frame) error {
				assert.Equal(t, "traced", ctx.Value(traceKey{}))
				for _, f := range test.frames {
					_ = w.Frame(f)
				}
				return nil
			})})
			require.NoError(t, c.WriteMessage(dirty.NewStatusRequest(1)))
			r := wait(t, "Done", got.done)
			r.Duration = 0
			assert.Equal(t, test.want, r)
		})
	}
}

// TestTracerWaits checks that a Tracer is told how long a request waits, and of one
// whose client leaves before its turn.
func TestTracerWaits(t *testing.T) {
	tracer, got := newTracer(t)
	running, finish := make(chan struct{}, 1), make(chan struct{})
	s := &server.Server{MaxConcurrent: 1, Tracer: tracer, Handler: server.HandlerFunc(
		func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			running <- struct{}{}
			<-finish
			return nil
		})}
	path := start(t, s)
	first, second := dial(t, path), dial(t, path)
	require.NoError(t, first.WriteMessage(dirty.NewRequest(1, app, "first", nil, nil)))
	wait(t, "the first request", running)
	require.NoError(t, second.WriteMessage(dirty.NewRequest(1, app, "second", nil, nil)))
	eventually(t, "the second request waits", func() bool { return s.Stats().Queued == 1 })
	require.NoError(t, second.Close())
	r := wait(t, "Done of the second", got.done)
	assert.Equal(t, "canceled", r.Outcome)
	assert.ErrorIs(t, r.Err, server.ErrClientGone)
	assert.GreaterOrEqual(t, r.Duration, r.Waited)
	assert.Positive(t, r.Waited)
	assert.Equal(t, []string{
		"start request app:App.first", "waited request app:App.first",
		"start request app:App.second", "waited request app:App.second", "done request app:App.second",
	}, got.read())
	close(finish)
	receive(t, first)
	assert.Equal(t, "ok", wait(t, "Done of the first", got.done).Outcome)
	usable(t, first)
	assert.NotContains(t, strings.Join(got.read(), "\n"), "waited", "messages of other types do not wait")
}

// TestTracerOfEnds checks what a Tracer is told of replies that cannot be written.
func TestTracerOfEnds(t *testing.T) {
	chunks := func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		for {
			if err := w.Chunk(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	untilEnd := func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		<-ctx.Done()
		return nil
	}
	for name, test := range map[string]struct {
		handle server.HandlerFunc
		end    func(s *server.Server, c *dirty.Conn)
		want   string
		err    error
	}{
		"the client leaves":        {untilEnd, func(_ *server.Server, c *dirty.Conn) { _ = c.Close() }, "canceled", server.ErrClientGone},
		"the server is closed":     {untilEnd, func(s *server.Server, _ *dirty.Conn) { _ = s.Close() }, "closed", server.ErrServerClosed},
		"the client does not read": {chunks, func(*server.Server, *dirty.Conn) {}, "timeout", os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, got := newTracer(t)
			s := &server.Server{Handler: test.handle, Tracer: tracer, WriteTimeout: 100 * time.Millisecond}
			c := connect(t, s)
			require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
			eventually(t, "the handler runs", func() bool { return s.Stats().Requests == 1 })
			test.end(s, c)
			r := wait(t, "Done", got.done)
			assert.Equal(t, test.want, r.Outcome)
			assert.ErrorIs(t, r.Err, test.err)
		})
	}
}

// TestTracerContext checks that the handler's context ends although Start returns one
// that is no child of the one it got.
func TestTracerContext(t *testing.T) {
	causes := make(chan error, 1)
	s := &server.Server{
		Tracer: &server.Tracer{Start: func(context.Context, server.CallInfo) context.Context {
			return context.WithValue(context.Background(), traceKey{}, "traced")
		}},
		Handler: server.HandlerFunc(func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		}),
	}
	c := connect(t, s)
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
	eventually(t, "the handler runs", func() bool { return s.Stats().Requests == 1 })
	require.NoError(t, c.Close())
	assert.ErrorIs(t, wait(t, "the end of the handler", causes), server.ErrClientGone)
}

// TestTracerContextOfFunc checks the same for the calls of a typed function, which all end
// well.
func TestTracerContextOfFunc(t *testing.T) {
	var seen context.Context
	c := connect(t, &server.Server{
		Tracer: &server.Tracer{Start: func(context.Context, server.CallInfo) context.Context { return context.Background() }},
		Handler: server.Func(func(ctx context.Context, n int) (int, error) {
			seen = ctx
			return n, nil
		}),
	})
	for i := range 3 {
		require.Equal(t, dirty.NewResponse(1, int64(i)), call(t, c, "do", i))
		wait(t, "the end of the context", seen.Done())
		assert.Equal(t, context.Canceled, context.Cause(seen))
	}
}

// TestTracerThatFails checks that a function of a Tracer which panics changes no reply,
// that one which ends its goroutine loses only its connection, and that no place is
// lost.
func TestTracerThatFails(t *testing.T) {
	for _, function := range []string{"Start", "Waited", "Chunk", "Done", "Done of Start's context"} {
		for reason, fail := range map[string]func(){"panic": func() { panic("secret") }, "Goexit": runtime.Goexit} {
			t.Run(function+", "+reason, func(t *testing.T) {
				var log record
				tracer := &server.Tracer{}
				switch function {
				case "Start":
					tracer.Start = func(context.Context, server.CallInfo) context.Context { fail(); return nil }
				case "Waited":
					tracer.Waited = func(context.Context, server.CallInfo, time.Duration) { fail() }
				case "Chunk":
					tracer.Chunk = func(context.Context, server.CallInfo) { fail() }
				case "Done":
					tracer.Done = func(context.Context, server.CallInfo, server.CallResult) { fail() }
				default:
					tracer.Start = func(ctx context.Context, _ server.CallInfo) context.Context { return badContext{ctx, fail} }
				}
				s := &server.Server{MaxConcurrent: 1, Tracer: tracer, Logger: log.logger(), Handler: server.HandlerFunc(
					func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error { return w.Chunk(1) })}
				path := start(t, s)
				for n := range 2 { // the second time its place is free again
					c := dial(t, path)
					require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
					if reason == "panic" {
						assert.Equal(t, dirty.NewChunk(1, int64(1)), receive(t, c))
						assert.Equal(t, dirty.NewEnd(1), receive(t, c))
					} else {
						for m, err := c.ReadMessage(); err == nil; m, err = c.ReadMessage() {
							if m.Type() == dirty.TypeError {
								assert.Equal(t, "internal error", failed(t, m).Message)
							}
						}
					}
					eventually(t, "it is counted", func() bool { return s.Stats().Panics == uint64(n+1) })
					eventually(t, "nothing runs", func() bool { return s.Stats().Running == 0 })
				}
				assert.Contains(t, log.String(), "tracer_test.go", "the stack")
			})
		}
	}
}

// badContext is a context whose Done does what fail does.
type badContext struct {
	context.Context
	fail func()
}

func (c badContext) Done() <-chan struct{} { c.fail(); return nil }

// TestTracerKeyword checks that a Tracer gets the keyword argument that is for it, and
// that handlers of all kinds do not.
func TestTracerKeyword(t *testing.T) {
	type args struct {
		A int `dirty:"a"`
	}
	mux := server.NewMux()
	mux.Handle(app, "struct", server.Func(func(_ context.Context, in args) (any, error) { return map[string]any{"a": in.A}, nil }))
	mux.Handle(app, "request", server.Func(func(_ context.Context, r *dirty.Request) (any, error) { return keywordsOf(r), nil }))
	mux.Handle(app, "plain", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond(keywordsOf(r))
	}))
	mux.Handle(app, "single", server.Func(func(_ context.Context, a int) (any, error) { return map[string]any{"a": a}, nil }))
	mux.Handle(app, "stream", server.StreamFunc(func(_ context.Context, in args) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) { yield(map[string]any{"a": in.A}, nil) }
	}))
	behind := func(next server.Handler) server.Handler {
		return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			assert.NotContains(t, r.Kwargs, "_meta", "nor does middleware")
			return next.ServeDirty(ctx, w, r)
		})
	}
	taken := make(chan dirty.RawValue, 100)
	tracer := &server.Tracer{TakeKeyword: "_meta", Start: func(_ context.Context, call server.CallInfo) context.Context {
		taken <- call.Taken
		return nil
	}}
	meta := map[string]any{"traceparent": "00-1-2-01"}
	for name, s := range map[string]*server.Server{
		"direct":     {Handler: mux},
		"ordered":    {Handler: mux, UseDict: true},
		"encoded":    {Handler: server.Chain(mux, behind), RawArgs: true},
		"middleware": {Handler: server.Chain(mux, behind)},
	} {
		t.Run(name, func(t *testing.T) {
			s.Tracer = tracer
			c := connect(t, s)
			for _, action := range []string{"struct", "request", "plain", "single", "stream"} {
				for _, sent := range []bool{true, false} {
					args, kwargs := []any(nil), map[string]any{"a": 5}
					if action == "single" {
						args, kwargs = []any{5}, map[string]any{}
					}
					if sent {
						kwargs["_meta"] = meta
					}
					m := ask(t, c, dirty.NewRequest(1, app, action, args, kwargs))
					raw := wait(t, "Start", taken)
					if sent {
						var got map[string]any
						require.NoError(t, dirty.Unmarshal(raw, &got), action)
						assert.Equal(t, meta, got, action)
					} else {
						assert.Nil(t, raw, action)
					}
					want := map[string]any{"a": int64(5)}
					if action == "stream" {
						assert.Equal(t, dirty.NewChunk(1, want), m)
						assert.Equal(t, dirty.NewEnd(1), receive(t, c))
					} else {
						assert.Equal(t, dirty.NewResponse(1, want), m, action)
					}
				}
			}
		})
	}
}

// keywordsOf returns the keyword arguments of a request.
func keywordsOf(r *dirty.Request) any {
	if r.OrderedKwargs != nil {
		return r.OrderedKwargs
	}
	return r.Kwargs
}
