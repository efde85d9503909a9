package dirtyotel_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// traceOf is the trace that a context is in.
func traceOf(ctx context.Context) string { return trace.SpanContextFromContext(ctx).TraceID().String() }

// TestSpans: the spans and the histograms of both sides, for each kind of call.
func TestSpans(t *testing.T) {
	execute := func(action string) func(context.Context, *client.Client) error {
		return func(ctx context.Context, c *client.Client) error {
			_, err := c.Execute(ctx, "app:App", action, 1)
			return err
		}
	}
	for name, test := range map[string]struct {
		call   func(context.Context, *client.Client) error
		method string
		client map[string]any // attributes of the span, beside those that all have
		server map[string]any
		status codes.Code // of the client's span
	}{
		"success": {execute("typed"), "app:App/typed", nil, nil, codes.Unset},
		"failure": {execute("fail"), "app:App/fail", map[string]any{"error.type": "app_error", "exception.type": "ValueError"}, map[string]any{"error.type": "app_error"}, codes.Error},
		"panic":   {execute("panic"), "app:App/panic", map[string]any{"error.type": "app_error"}, map[string]any{"error.type": "panic"}, codes.Error},
		"stream that is left": {func(ctx context.Context, c *client.Client) error {
			for range c.Stream(ctx, "app:App", "stream", 1) {
				break
			}
			return nil
		}, "app:App/stream", map[string]any{"error.type": "canceled", "gunicorn_dirty.chunks": int64(1)}, map[string]any{"error.type": "canceled"}, codes.Unset},
		"stash": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Stash("t").Get(ctx, "k")
			return err
		}, "stash get", map[string]any{"error.type": "not_found"}, map[string]any{"error.type": "not_found"}, codes.Error},
		"status": {func(ctx context.Context, c *client.Client) error { return c.Ping(ctx) }, "status", nil, nil, codes.Unset},
		"manage": {func(ctx context.Context, c *client.Client) error {
			_, err := c.AddWorkers(ctx, 1)
			return err
		}, "manage add", map[string]any{"error.type": "remote_error"}, map[string]any{"error.type": "remote_error"}, codes.Error},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := watch(t), watch(t)
			c := newPair(t, &server.Server{Handler: app(), Tracer: dirtyotel.NewServerTracer(there.opts...)},
				client.WithTracer(dirtyotel.NewTracer(here.opts...)))
			_ = test.call(context.Background(), c)
			for side, w := range map[string]*watched{"client": here, "server": there} {
				want := map[string]any{"rpc.system.name": "gunicorn_dirty", "rpc.method": test.method}
				more := test.client
				if side == "server" {
					more = test.server
				}
				for key, value := range more {
					want[key] = value
				}
				span := w.ended(1)[0]
				got := attributesOf(span)
				if side == "client" {
					assert.Equal(t, test.status, span.Status().Code)
				} else if name == "stream that is left" {
					assert.Positive(t, got["gunicorn_dirty.chunks"])
					delete(got, "gunicorn_dirty.chunks")
				}
				assert.Equal(t, want, got, side)
				assert.Equal(t, test.method, span.Name())
				assert.Equal(t, side, span.SpanKind().String())
				assert.NotContains(t, fmt.Sprint(span.Attributes(), span.Events(), span.Status()), "secret")

				attrs := []attribute.KeyValue{attribute.String("rpc.system.name", "gunicorn_dirty"), attribute.String("rpc.method", test.method)}
				if word, ok := want["error.type"].(string); ok {
					attrs = append(attrs, attribute.String("error.type", word))
				}
				assert.Equal(t, map[attribute.Set]uint64{attribute.NewSet(attrs...): 1}, w.points("rpc."+side+".call.duration"))
			}
		})
	}
}

// TestStreamSpan: the span of a stream lasts until the stream has ended, on both sides.
func TestStreamSpan(t *testing.T) {
	here, there := watch(t), watch(t)
	c := newPair(t, &server.Server{Handler: app(), Tracer: dirtyotel.NewServerTracer(there.opts...)},
		client.WithTracer(dirtyotel.NewTracer(here.opts...)))
	s, err := c.OpenStream(context.Background(), "app:App", "stream", 1)
	require.NoError(t, err)
	for range 10 {
		_, err := s.Recv()
		require.NoError(t, err)
	}
	assert.Empty(t, here.spans.Ended())
	assert.Empty(t, there.spans.Ended())
	require.NoError(t, s.Close())
	assert.Equal(t, int64(10), attributesOf(here.ended(1)[0])["gunicorn_dirty.chunks"])
	there.ended(1)
}

// TestInject: the trace goes on at a Go server for the actions that are named, whatever
// the kind of handler, and no handler sees the keyword argument.
func TestInject(t *testing.T) {
	here, there := watch(t), watch(t)
	choose := dirtyotel.WithInject(func(c dirtyotel.Call) bool { return c.Action != "fail" })
	c := newPair(t, &server.Server{Handler: app(), Tracer: dirtyotel.NewServerTracer(there.opts...)},
		client.WithTracer(dirtyotel.NewTracer(here.with(choose)...)))
	call := func(action string) (trace string) {
		if action == "stream" {
			for trace, err := range client.StreamOf[string](context.Background(), c, "app:App", action, client.Kwargs{"a": 1}) {
				require.NoError(t, err)
				return trace
			}
		}
		trace, err := client.Call[string](context.Background(), c, "app:App", action, client.Kwargs{"a": 1})
		if action != "fail" {
			require.NoError(t, err)
		}
		return trace
	}
	for n, action := range []string{"typed", "plain", "stream", "fail"} {
		got := call(action)
		ours, theirs := here.ended(n + 1)[n], there.ended(n + 1)[n]
		if action == "fail" {
			assert.NotEqual(t, ours.SpanContext().TraceID(), theirs.SpanContext().TraceID(), "it was not named")
			continue
		}
		assert.Equal(t, ours.SpanContext().TraceID().String(), got, action)
		assert.Equal(t, ours.SpanContext().SpanID(), theirs.Parent().SpanID(), action)
		assert.True(t, theirs.Parent().IsRemote(), action)
	}
}

// TestInjectNothing: without a propagator, a keyword or a span there is no argument.
func TestInjectNothing(t *testing.T) {
	w := watch(t)
	inject := dirtyotel.WithInject(func(dirtyotel.Call) bool { return true })
	for name, opts := range map[string][]dirtyotel.Option{
		"no propagator": {inject},
		"no keyword":    w.with(inject, dirtyotel.WithKeyword("")),
		"filtered":      w.with(inject, dirtyotel.WithFilter(func(dirtyotel.Call) bool { return false })),
		"not chosen":    w.opts,
	} {
		t.Run(name, func(t *testing.T) {
			kwargs := make(chan map[string]any, 1)
			c := newPair(t, &server.Server{Handler: server.Func(func(_ context.Context, r *dirty.Request) (any, error) {
				kwargs <- r.Kwargs
				return nil, nil
			})}, client.WithTracer(dirtyotel.NewTracer(opts...)))
			_, err := c.Execute(context.Background(), "app:App", "do", client.Kwargs{"a": 1})
			require.NoError(t, err)
			assert.Equal(t, map[string]any{"a": int64(1)}, <-kwargs)
		})
	}
}

// TestBadMeta: what a client sends as a span's context is nobody's to trust.
func TestBadMeta(t *testing.T) {
	there := watch(t)
	c := newPair(t, &server.Server{Handler: app(), Tracer: dirtyotel.NewServerTracer(there.opts...)})
	for n, meta := range []any{
		nil, 5, "00-1-2-01", []any{}, map[string]any{}, map[string]any{"traceparent": 1}, map[any]any{1: 2},
		map[string]any{"traceparent": strings.Repeat("x", 1<<20)}, map[string]any{"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"},
	} {
		_, err := c.Execute(context.Background(), "app:App", "typed", client.Kwargs{"a": 1, "_meta": meta})
		require.NoError(t, err)
		assert.False(t, there.ended(n + 1)[n].Parent().IsValid())
	}
}

// TestFilter: what is left out makes no span and no measurement, and the call around it
// keeps its own.
func TestFilter(t *testing.T) {
	w := watch(t)
	var inner *client.Client
	mux := app()
	mux.Handle("app:App", "outer", server.Func(func(ctx context.Context, _ struct{}) (any, error) { return nil, inner.Ping(ctx) }))
	tracer := dirtyotel.NewTracer(w.with(dirtyotel.WithFilter(func(c dirtyotel.Call) bool { return c.Operation != "status" }))...)
	calling := client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
		if call.Name == "execute" {
			require.NoError(t, inner.Ping(ctx)) // inside the call that is recorded
		}
		return next(ctx)
	})
	inner = newPair(t, &server.Server{Handler: mux}, client.WithTracer(tracer))
	c := newPair(t, &server.Server{Handler: mux}, client.WithTracer(tracer), calling)
	_, err := c.Execute(context.Background(), "app:App", "typed", 1)
	require.NoError(t, err)
	assert.Equal(t, "app:App/typed", w.ended(1)[0].Name())
	assert.Len(t, w.points("rpc.client.call.duration"), 1)

	filtered := dirtyotel.NewServerTracer(w.with(dirtyotel.WithFilter(func(dirtyotel.Call) bool { return false }))...)
	require.NoError(t, newPair(t, &server.Server{Tracer: filtered}).Ping(context.Background()))
	w.ended(1)
}

// TestNames: names that a caller chooses are bounded in number and in length.
func TestNames(t *testing.T) {
	there := watch(t)
	c := newPair(t, &server.Server{Tracer: dirtyotel.NewServerTracer(there.opts...)})
	call := func(app, action string) {
		_, err := c.Execute(context.Background(), app, action)
		require.ErrorIs(t, err, dirty.ErrNoWorkers)
	}
	call("a"+strings.Repeat("ä", 1000), "do") // its byte 200 is in the middle of a letter
	for n := range 1100 {
		call("app:App", fmt.Sprint("do", n))
	}
	call("app:App", "do0") // it has its name already
	spans := there.ended(1102)
	assert.Equal(t, "_OTHER", spans[0].Name())
	assert.Equal(t, "a"+strings.Repeat("ä", 99)+"/do", attributesOf(spans[0])["rpc.method_original"])
	assert.Equal(t, "app:App/do999", spans[1000].Name())
	assert.Equal(t, "_OTHER", spans[1001].Name())
	assert.Equal(t, "app:App/do1000", attributesOf(spans[1001])["rpc.method_original"])
	assert.Equal(t, "app:App/do0", spans[1101].Name())
	assert.Len(t, there.points("rpc.server.call.duration"), 1001)
}

// TestKnown: what a server does not have is not named.
func TestKnown(t *testing.T) {
	there, mux := watch(t), app()
	known := dirtyotel.WithKnown(func(c dirtyotel.Call) bool { return mux.Handler(c.App, c.Action) != nil })
	c := newPair(t, &server.Server{Handler: mux, Tracer: dirtyotel.NewServerTracer(there.with(known)...)})
	ctx := context.Background()
	_, err := c.Execute(ctx, "app:App", "typed", 1)
	require.NoError(t, err)
	_, err = c.Execute(ctx, "app:App", "unknown")
	require.Error(t, err)
	require.NoError(t, c.Ping(ctx))
	spans := there.ended(3)
	assert.Equal(t, "app:App/typed", spans[0].Name())
	assert.Equal(t, "_OTHER", spans[1].Name())
	assert.Equal(t, "status", spans[2].Name())
}
