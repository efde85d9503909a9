package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a handler does decides what its client receives.
func TestReplies(t *testing.T) {
	unsendable := map[string]any{"f": func() {}}
	huge := strings.Repeat("x", 70<<20)
	appError := func(message string) *dirty.RemoteError {
		return &dirty.RemoteError{Type: "DirtyAppError", Message: message,
			Details: map[string]any{"app_path": app, "action": "do"}}
	}
	remote := &dirty.RemoteError{Type: "MyError", Message: "mine", Details: map[string]any{"n": int64(1)}}
	for name, test := range map[string]struct {
		handle server.HandlerFunc
		want   []dirty.Message // ErrorReply: the message is a part of the text
	}{
		"respond": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return w.Respond("x")
		}, []dirty.Message{dirty.NewResponse(9, "x")}},
		"nothing": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return nil
		}, []dirty.Message{dirty.NewResponse(9, nil)}},
		"chunks": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return errors.Join(w.Chunk(1), w.Chunk(nil))
		}, []dirty.Message{dirty.NewChunk(9, int64(1)), dirty.NewChunk(9, nil), dirty.NewEnd(9)}},
		"an empty stream": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			w.Stream()
			return nil
		}, []dirty.Message{dirty.NewEnd(9)}},
		"stream and chunk": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			w.Stream()
			return w.Chunk(1)
		}, []dirty.Message{dirty.NewChunk(9, int64(1)), dirty.NewEnd(9)}},
		"an error": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return errBoom
		}, []dirty.Message{dirty.NewErrorReply(9, appError("boom"))}},
		"an error after chunks": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return errors.Join(w.Chunk(1), errBoom)
		}, []dirty.Message{dirty.NewChunk(9, int64(1)), dirty.NewErrorReply(9, appError("boom"))}},
		"an error of an empty stream": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			w.Stream()
			return errBoom
		}, []dirty.Message{dirty.NewErrorReply(9, appError("boom"))}},
		"a remote error": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return fmt.Errorf("wrapped: %w", remote)
		}, []dirty.Message{dirty.NewErrorReply(9, remote)}},
		"a kind of error": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return fmt.Errorf("%w: sold out", dirty.ErrNoWorkers)
		}, []dirty.Message{dirty.NewErrorReply(9, &dirty.RemoteError{
			Type: "DirtyNoWorkersAvailableError", Message: "sold out", Details: map[string]any{}})}},
		"a deadline": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return context.DeadlineExceeded
		}, []dirty.Message{dirty.NewErrorReply(9, &dirty.RemoteError{
			Type: "DirtyTimeoutError", Message: "deadline", Details: map[string]any{}})}},
		"an error after the response": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return errors.Join(w.Respond("x"), errBoom)
		}, []dirty.Message{dirty.NewResponse(9, "x")}},
		"two responses": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Respond("x")
			return w.Respond("y")
		}, []dirty.Message{dirty.NewResponse(9, "x")}},
		"a chunk after the response": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Respond("x")
			w.Stream()
			return w.Chunk("y")
		}, []dirty.Message{dirty.NewResponse(9, "x")}},
		"a response after a chunk": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Chunk("x")
			_ = w.Respond("y")
			return nil
		}, []dirty.Message{dirty.NewChunk(9, "x"), dirty.NewErrorReply(9, appError("the reply streams"))}},
		"an unsendable response, noticed": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return w.Respond(unsendable)
		}, []dirty.Message{dirty.NewErrorReply(9, appError("unsupported type: Go value of type func() at result.f"))}},
		"an unsendable response, not noticed": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Respond(unsendable)
			return nil
		}, []dirty.Message{dirty.NewErrorReply(9, appError("at result.f"))}},
		"an unsendable chunk, not noticed": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Chunk(1)
			_ = w.Chunk(unsendable)
			_ = w.Chunk(3)
			return nil
		}, []dirty.Message{dirty.NewChunk(9, int64(1)), dirty.NewErrorReply(9, appError("at data.f"))}},
		"a huge response": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return w.Respond(huge)
		}, []dirty.Message{dirty.NewErrorReply(9, appError("73400320 bytes, allowed 67108864"))}},
		"a huge error": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return errors.New(huge)
		}, []dirty.Message{dirty.NewErrorReply(9, &dirty.RemoteError{
			Type: "DirtyAppError", Message: "the error cannot be sent: ", Details: map[string]any{}})}},
		"an unsendable error": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return &dirty.RemoteError{Type: "\xff", Message: "\xff", Details: unsendable}
		}, []dirty.Message{dirty.NewErrorReply(9, &dirty.RemoteError{
			Type: "DirtyAppError", Message: "the error cannot be sent", Details: map[string]any{}})}},
		"an error that is no text": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return errors.New("a\xffb")
		}, []dirty.Message{dirty.NewErrorReply(9, appError("a\ufffdb"))}},
		"a panic": {func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			panic("secret")
		}, []dirty.Message{dirty.NewErrorReply(9, appError("internal error"))}},
		"a panic after a chunk": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Chunk(1)
			panic("secret")
		}, []dirty.Message{dirty.NewChunk(9, int64(1)), dirty.NewErrorReply(9, appError("internal error"))}},
		"a panic in a Marshaler": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return w.Respond(panicking{})
		}, []dirty.Message{dirty.NewErrorReply(9, appError("internal error"))}},
		"a panic after the response": {func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			_ = w.Respond(1)
			panic("secret")
		}, []dirty.Message{dirty.NewResponse(9, int64(1))}},
	} {
		t.Run(name, func(t *testing.T) {
			c := connectTo(t, test.handle)
			require.NoError(t, c.WriteMessage(dirty.NewRequest(9, app, "do", nil, nil)))
			for _, want := range test.want {
				got := receive(t, c)
				if want, ok := want.(*dirty.ErrorReply); ok {
					err := failed(t, got)
					assert.EqualValues(t, 9, got.RequestID())
					assert.Contains(t, err.Message, want.Err.Message)
					assert.NotContains(t, err.Message, "secret")
					assert.Equal(t, want.Err.Type, err.Type)
					assert.Equal(t, want.Err.Details, err.Details)
					continue
				}
				assert.Equal(t, want, got)
			}
			usable(t, c)
		})
	}
}

type panicking struct{}

func (panicking) AppendTLV([]byte) ([]byte, error) { panic("secret") }

// What ResponseWriter returns to the handler.
func TestResponseWriterErrors(t *testing.T) {
	errs := make(chan error, 10)
	var kept *server.ResponseWriter
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		switch r.Action {
		case "twice":
			kept = w
			errs <- w.Respond(1)
			errs <- w.Respond(2)
			errs <- w.Chunk(3)
		case "mixed":
			errs <- w.Chunk(1)
			errs <- w.Respond(2)
			errs <- w.Chunk(3)
		case "unsendable":
			errs <- w.Respond(func() {})
			errs <- w.Respond(1)
		}
		return nil
	})
	for action, want := range map[string][]error{
		"twice":      {nil, server.ErrReplied, server.ErrReplied},
		"mixed":      {nil, server.ErrStreaming, server.ErrStreaming},
		"unsendable": {dirty.ErrUnsupportedType, dirty.ErrUnsupportedType},
	} {
		require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, action, nil, nil)))
		for i, want := range want {
			assert.ErrorIs(t, wait(t, "the handler", errs), want, "%s, call %d", action, i)
		}
		for { // to the end of the reply
			if m := receive(t, c); m.Type() != dirty.TypeChunk {
				break
			}
		}
	}
	assert.ErrorIs(t, kept.Respond(1), server.ErrReplied, "after the handler has returned")
	assert.ErrorIs(t, kept.Chunk(1), server.ErrReplied)
	usable(t, c)
}

// Several goroutines may write chunks of one reply.
func TestConcurrentChunks(t *testing.T) {
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					assert.NoError(t, w.Chunk("x"))
				}
			})
		}
		wg.Wait()
		return nil
	})
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
	for range 8 * 50 {
		require.Equal(t, dirty.NewChunk(1, "x"), receive(t, c))
	}
	require.Equal(t, dirty.NewEnd(1), receive(t, c))
}

func TestPanicIsLogged(t *testing.T) {
	var log record
	s := &server.Server{Logger: log.logger(), Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			if r.Action == "late" {
				_ = w.Respond(1)
				return errBoom
			}
			panic("the reason")
		})}
	c := connect(t, s)
	call(t, c, "do", "argument")
	text := log.String()
	assert.Contains(t, text, `panic="the reason"`)
	assert.Contains(t, text, "TestPanicIsLogged", "the stack")
	assert.Contains(t, text, "app=app:App action=do")
	assert.NotContains(t, text, "argument")
	assert.EqualValues(t, 1, s.Stats().Panics)
	call(t, c, "late")
	eventually(t, "the error is logged", func() bool { return strings.Contains(log.String(), "boom") })
}

func TestAbortHandler(t *testing.T) {
	var log record
	s := &server.Server{Logger: log.logger(), Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			if r.Action == "stream" {
				_ = w.Chunk(1)
			}
			panic(server.ErrAbortHandler)
		})}
	path := start(t, s)
	c := dial(t, path)
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", nil, nil)))
	closed(t, c)
	c = dial(t, path)
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "stream", nil, nil)))
	require.Equal(t, dirty.NewChunk(1, int64(1)), receive(t, c))
	closed(t, c)
	assert.NotContains(t, log.String(), "panic")
	assert.Zero(t, s.Stats().Panics)
}

func TestChain(t *testing.T) {
	var order []string
	note := func(name string) func(server.Handler) server.Handler {
		return func(next server.Handler) server.Handler {
			return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
				order = append(order, name)
				return next.ServeDirty(ctx, w, r)
			})
		}
	}
	mux := server.NewMux()
	mux.Handle(app, "do", server.HandlerFunc(echo))
	c := connect(t, &server.Server{Handler: server.Chain(mux, note("outer"), note("inner"))})
	assert.Equal(t, dirty.NewResponse(1, []any{int64(5)}), call(t, c, "do", 5))
	assert.Equal(t, []string{"outer", "inner"}, order)

	status := ask(t, c, dirty.NewStatusRequest(2)).(*dirty.Response).Result.(map[string]any)
	assert.Equal(t, []any{app}, status["apps"], "the chain still tells the apps")
	_, isLister := server.Chain(server.HandlerFunc(echo)).(interface{ Apps() []string })
	assert.False(t, isLister)
}

// TestArgumentsAreOwned checks that what a handler keeps stays as it was while
// later frames are read, by the connection and, ahead, by the watch of a handler
// that takes long. The sizes are those around which the root package changes what
// it does with the memory of a payload.
func TestArgumentsAreOwned(t *testing.T) {
	type args struct {
		Data []byte
		Text string
		Any  any
	}
	const inOneArgument = "one argument of Func"
	kinds := map[string]func(kept chan<- any) server.Handler{
		"a Request": func(kept chan<- any) server.Handler {
			return server.HandlerFunc(func(_ context.Context, _ *server.ResponseWriter, r *dirty.Request) error {
				kept <- []any{r.Args[0], r.Args[1], r.Args[2]}
				return nil
			})
		},
		"a Request of Func": func(kept chan<- any) server.Handler {
			return server.Func(func(_ context.Context, r *dirty.Request) (any, error) {
				kept <- []any{r.Args[0], r.Args[1], r.Args[2]}
				return nil, nil
			})
		},
		"arguments of Func": func(kept chan<- any) server.Handler {
			return server.Func(func(_ context.Context, a args) (any, error) {
				kept <- []any{a.Data, a.Text, a.Any}
				return nil, nil
			})
		},
		"raw arguments of Func": func(kept chan<- any) server.Handler {
			return server.Func(func(_ context.Context, a struct{ Data, Text, Any dirty.RawValue }) (any, error) {
				kept <- []any{[]byte(a.Data[5:]), string(a.Text[5:]), []byte(a.Any[5:])}
				return nil, nil
			})
		},
		inOneArgument: func(kept chan<- any) server.Handler {
			return server.Func(func(_ context.Context, all []any) (any, error) {
				kept <- all
				return nil, nil
			})
		},
	}
	for name, handler := range kinds {
		for _, size := range []int{1, 100, 4<<10 - 100, 4 << 10, 40 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 2 << 20} {
			t.Run(fmt.Sprint(name, " of ", size), func(t *testing.T) {
				const frames = 6
				kept, next := make(chan any, frames), make(chan struct{})
				h := handler(kept)
				mux := server.NewMux()
				mux.Handle(app, "direct", h)
				mux.Handle(app, "slow", server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
					<-next // so that the watch reads ahead
					return h.ServeDirty(ctx, w, r)
				}))
				s := &server.Server{Handler: mux}
				ours, theirs := net.Pipe()
				served := make(chan error, 1)
				go func() { served <- s.ServeConn(ctx, theirs) }()
				c := dirty.NewConn(ours)
				text := func(i int) string { return strings.Repeat(string(rune('a'+i)), size) }
				values := func(i int) []any {
					all := []any{[]byte(text(i)), text(i), []byte(text(i))}
					if name == inOneArgument {
						return []any{all}
					}
					return all
				}
				check := func() {
					var all []any
					for range frames {
						all = append(all, wait(t, "the arguments", kept))
					}
					for i, got := range all {
						require.Equal(t, []any{[]byte(text(i)), text(i), []byte(text(i))}, got)
					}
				}
				for i := range frames {
					// Over a pipe this returns when the server has read the frame,
					// while the handler of the one before runs.
					send(t, c, "slow", values(i)...)
					if i > 0 {
						next <- struct{}{}
						receive(t, c)
					}
				}
				next <- struct{}{}
				receive(t, c)
				check()
				for i := range frames {
					call(t, c, "direct", values(i)...)
				}
				check()
				require.NoError(t, ours.Close())
				require.NoError(t, wait(t, "the end", served))
			})
		}
	}
}

func TestUseDict(t *testing.T) {
	kwargs := dirty.Dict{{Key: "z", Value: int64(1)}, {Key: "a", Value: dirty.Dict{{Key: "y", Value: nil}, {Key: "b", Value: nil}}}}
	got := make(chan dirty.Dict, 1)
	c := connect(t, &server.Server{UseDict: true, Handler: server.HandlerFunc(
		func(_ context.Context, _ *server.ResponseWriter, r *dirty.Request) error {
			got <- r.OrderedKwargs
			return nil
		})})
	ask(t, c, &dirty.Request{AppPath: app, Action: "do", OrderedKwargs: kwargs})
	assert.Equal(t, kwargs, <-got)
}
