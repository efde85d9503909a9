package dirtyotel_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// newPair starts a server and returns a client of it.
func newPair(tb testing.TB, s *server.Server, opts ...client.Option) *client.Client {
	tb.Helper()
	folder, err := os.MkdirTemp("", "d") // short enough for the path of a socket
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(folder) })
	l, err := server.Listen(filepath.Join(folder, "s"), 0)
	require.NoError(tb, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := client.New(append([]client.Option{client.WithSocket(l.Addr().String())}, opts...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		require.NoError(tb, c.Close())
		require.NoError(tb, s.Close())
		require.ErrorIs(tb, <-served, server.ErrServerClosed)
	})
	return c
}

// args takes no keyword argument but a.
type args struct {
	A int `dirty:"a"`
}

// app answers calls with the trace that their handler is in.
func app() *server.Mux {
	mux := server.NewMux()
	mux.Handle("app:App", "typed", server.Func(func(ctx context.Context, _ args) (string, error) { return traceOf(ctx), nil }))
	mux.Handle("app:App", "plain", server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if len(r.Kwargs) > 1 {
			return errors.New("too many keyword arguments")
		}
		return w.Respond(traceOf(ctx))
	}))
	mux.Handle("app:App", "stream", server.StreamFunc(func(ctx context.Context, _ args) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for yield(traceOf(ctx), nil) {
			}
		}
	}))
	mux.Handle("app:App", "fail", server.Func(func(context.Context, args) (any, error) {
		return nil, &dirty.RemoteError{Type: dirty.ClassApp, Message: "secret", Details: map[string]any{
			"traceback": "Traceback (most recent call last):\n  File \"app.py\", line 1, in f\nValueError: secret\n",
		}}
	}))
	mux.Handle("app:App", "panic", server.Func(func(context.Context, args) (any, error) { panic("secret") }))
	return mux
}

// watched is an SDK that keeps what it is told.
type watched struct {
	tb     testing.TB
	spans  *tracetest.SpanRecorder
	reader *metric.ManualReader
	opts   []dirtyotel.Option
}

func watch(tb testing.TB) *watched {
	w := &watched{tb: tb, spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	w.opts = []dirtyotel.Option{
		dirtyotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(w.spans))),
		dirtyotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(w.reader))),
		dirtyotel.WithPropagators(propagation.TraceContext{}),
	}
	return w
}

// with returns the options with more.
func (w *watched) with(opts ...dirtyotel.Option) []dirtyotel.Option { return append(w.opts, opts...) }

// ended returns all spans that have ended, once there are n.
func (w *watched) ended(n int) []trace.ReadOnlySpan {
	w.tb.Helper()
	require.Eventually(w.tb, func() bool { return len(w.spans.Ended()) >= n }, time.Minute, time.Millisecond)
	spans := w.spans.Ended()
	require.Len(w.tb, spans, n)
	return spans
}

// points returns the attributes of all points of a histogram, and how many calls each
// counts.
func (w *watched) points(name string) map[attribute.Set]uint64 {
	w.tb.Helper()
	counts := map[attribute.Set]uint64{}
	for _, m := range w.collect() {
		if m.Name != name {
			continue
		}
		assert.Equal(w.tb, "s", m.Unit)
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			counts[p.Attributes] = p.Count
			assert.Positive(w.tb, p.Sum)
		}
	}
	return counts
}

func (w *watched) collect() (all []metricdata.Metrics) {
	w.tb.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(w.tb, w.reader.Collect(context.Background(), &data))
	for _, scope := range data.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	return all
}

// attributesOf returns the attributes of a span by their keys.
func attributesOf(s trace.ReadOnlySpan) map[string]any {
	all := map[string]any{}
	for _, kv := range s.Attributes() {
		all[string(kv.Key)] = kv.Value.AsInterface()
	}
	return all
}
