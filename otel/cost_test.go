package dirtyotel_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// TestNoProviderCost: without a provider a tracer costs little. The numbers are those of
// the package's comment.
func TestNoProviderCost(t *testing.T) {
	inject := dirtyotel.WithInject(func(dirtyotel.Call) bool { return true })
	for name, test := range map[string]struct {
		tracer *server.Tracer
		opts   []client.Option
		most   float64
	}{
		"client":              {nil, []client.Option{client.WithTracer(dirtyotel.NewTracer())}, 12},
		"server":              {dirtyotel.NewServerTracer(), nil, 12},
		"client that injects": {nil, []client.Option{client.WithTracer(dirtyotel.NewTracer(inject))}, 16},
	} {
		plain := allocsPerCall(t, nil, nil)
		traced := allocsPerCall(t, test.tracer, test.opts)
		t.Logf("%s: %.0f allocations a call more than %.0f", name, traced-plain, plain)
		assert.LessOrEqual(t, traced-plain, test.most, name)
	}
}

// allocsPerCall counts the allocations of a call, of both sides.
func allocsPerCall(t *testing.T, tracer *server.Tracer, opts []client.Option) float64 {
	c := newPair(t, &server.Server{Handler: pingMux(), Tracer: tracer}, opts...)
	return testing.AllocsPerRun(500, func() {
		_, err := client.Call[string](context.Background(), c, "app:App", "ping")
		require.NoError(t, err)
	})
}

func BenchmarkNoProvider(b *testing.B) {
	for name, opts := range map[string][]client.Option{
		"without a tracer": nil,
		"with a tracer":    {client.WithTracer(dirtyotel.NewTracer())},
	} {
		b.Run(name, func(b *testing.B) {
			c := newPair(b, &server.Server{Handler: pingMux()}, opts...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Call[string](context.Background(), c, "app:App", "ping"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func pingMux() *server.Mux {
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(func(context.Context, struct{}) (string, error) { return "pong", nil }))
	return mux
}
