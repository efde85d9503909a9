package dirtyotel_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// TestRecordStats: each number of the client's Stats is a point of a metric.
func TestRecordStats(t *testing.T) {
	w := watch(t)
	c := newPair(t, &server.Server{Handler: app()})
	registration, err := dirtyotel.RecordStats(c, w.with(dirtyotel.WithAttributes(attribute.String("pool", "a")))...)
	require.NoError(t, err)
	for range 2 {
		_, err = c.Execute(context.Background(), "app:App", "typed", 1)
		require.NoError(t, err)
	}
	s, err := c.OpenStream(context.Background(), "app:App", "stream", 1)
	require.NoError(t, err)

	ints, wait := map[string]int64{}, -1.0
	note := func(name string, p metricdata.DataPoint[int64]) {
		pool, _ := p.Attributes.Value("pool")
		assert.Equal(t, "a", pool.AsString())
		for _, key := range []attribute.Key{"state", "outcome", "reason"} {
			if v, ok := p.Attributes.Value(key); ok {
				name += " " + v.AsString()
			}
		}
		ints[name] = p.Value
	}
	for _, m := range w.collect() {
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				note(m.Name, p)
			}
		case metricdata.Sum[int64]:
			assert.True(t, data.IsMonotonic, m.Name)
			for _, p := range data.DataPoints {
				note(m.Name, p)
			}
		case metricdata.Sum[float64]:
			assert.Equal(t, "gunicorn_dirty.client.wait.duration", m.Name)
			assert.Equal(t, "s", m.Unit)
			wait = data.DataPoints[0].Value
		}
	}
	assert.Equal(t, map[string]int64{
		"gunicorn_dirty.client.connections in_use": 1, "gunicorn_dirty.client.connections idle": 0,
		"gunicorn_dirty.client.connections dialing": 0, "gunicorn_dirty.client.connections closing": 0,
		"gunicorn_dirty.client.waiting": 0, "gunicorn_dirty.client.calls": 3, "gunicorn_dirty.client.waits": 1,
		"gunicorn_dirty.client.reused": 2, "gunicorn_dirty.client.dials ok": 1, "gunicorn_dirty.client.dials error": 0,
		"gunicorn_dirty.client.backlog_full": 0, "gunicorn_dirty.client.retries": 0,
		"gunicorn_dirty.client.mismatches": 0, "gunicorn_dirty.client.hook_failures": 0,
		"gunicorn_dirty.client.closed idle": 0, "gunicorn_dirty.client.closed surplus": 0,
		"gunicorn_dirty.client.closed dead": 0, "gunicorn_dirty.client.closed cancel": 0,
		"gunicorn_dirty.client.closed timeout": 0, "gunicorn_dirty.client.closed protocol": 0,
		"gunicorn_dirty.client.closed failed": 0, "gunicorn_dirty.client.closed shutdown": 0,
	}, ints)
	assert.Positive(t, wait)

	require.NoError(t, s.Close())
	require.NoError(t, registration.Unregister())
	assert.Empty(t, w.collect())
}

// TestGlobalProviders: without options the global providers are used, of which there are
// none here.
func TestGlobalProviders(t *testing.T) {
	c := newPair(t, &server.Server{Handler: app(), Tracer: dirtyotel.NewServerTracer()}, client.WithTracer(dirtyotel.NewTracer()))
	_, err := c.Execute(context.Background(), "app:App", "typed", 1)
	require.NoError(t, err)
	_, err = dirtyotel.RecordStats(c)
	require.NoError(t, err)
}
