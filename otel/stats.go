package dirtyotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/gunicorn-go/dirty/client"
)

// RecordStats makes metrics of what [client.Client.Stats] tells, read whenever metrics
// are collected:
//
//	gunicorn_dirty.client.connections     by state: in_use, idle, dialing, closing
//	gunicorn_dirty.client.waiting         calls that wait for a connection
//	gunicorn_dirty.client.calls           calls and streams begun
//	gunicorn_dirty.client.waits           of them, those that found no idle connection
//	gunicorn_dirty.client.wait.duration   how long these waited together, in seconds
//	gunicorn_dirty.client.reused          times that a kept connection was used again
//	gunicorn_dirty.client.dials           by outcome: ok, error
//	gunicorn_dirty.client.backlog_full    attempts to dial that were repeated
//	gunicorn_dirty.client.retries         attempts that the client made again by itself
//	gunicorn_dirty.client.mismatches      replies that belonged to other requests
//	gunicorn_dirty.client.hook_failures   panics of code that was given to the client
//	gunicorn_dirty.client.closed          connections closed, by reason
//
// The first two are gauges, the others counters. Give the attributes of [WithAttributes]
// to tell several clients apart. Unregister what is returned to stop it, at the latest
// when the client is closed: until then it keeps the client.
func RecordStats(c *client.Client, opts ...Option) (metric.Registration, error) {
	cfg := newConfig(opts)
	meter := cfg.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	with := func(attrs ...attribute.KeyValue) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attrs, cfg.attributes...)...))
	}
	waited, err := meter.Float64ObservableCounter(prefix+"wait.duration", metric.WithUnit("s"))
	failures, instruments := []error{err}, []metric.Observable{waited}
	observe := []func(metric.Observer, *client.Stats){func(o metric.Observer, s *client.Stats) {
		o.ObserveFloat64(waited, s.WaitDuration.Seconds(), with())
	}}
	for _, s := range allSeries {
		instrument, err := s.instrument(meter)
		failures, instruments = append(failures, err), append(instruments, instrument)
		for value, read := range s.points {
			var attrs []attribute.KeyValue
			if s.key != "" {
				attrs = append(attrs, attribute.String(s.key, value))
			}
			option := with(attrs...)
			observe = append(observe, func(o metric.Observer, s *client.Stats) { o.ObserveInt64(instrument, read(s), option) })
		}
	}
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats := c.Stats()
		for _, f := range observe {
			f(o, &stats)
		}
		return nil
	}, instruments...)
}

const prefix = "gunicorn_dirty.client."

// reader reads one number.
type reader func(s *client.Stats) int64

// series is a metric of integers.
type series struct {
	name, unit string
	gauge      bool              // else it is a counter
	key        string            // of the attribute that tells the points apart; "": there is one point
	points     map[string]reader // by the value of that attribute
}

func (s series) instrument(m metric.Meter) (metric.Int64Observable, error) {
	if s.gauge {
		return m.Int64ObservableGauge(prefix+s.name, metric.WithUnit(s.unit))
	}
	return m.Int64ObservableCounter(prefix+s.name, metric.WithUnit(s.unit))
}

// one returns the points of a series without an attribute: there is a single one.
func one(read reader) map[string]reader { return map[string]reader{"": read} }

var allSeries = []series{
	{"connections", "{connection}", true, "state", map[string]reader{
		"in_use":  func(s *client.Stats) int64 { return int64(s.InUse) },
		"idle":    func(s *client.Stats) int64 { return int64(s.Idle) },
		"dialing": func(s *client.Stats) int64 { return int64(s.Dialing) },
		"closing": func(s *client.Stats) int64 { return int64(s.Closing) },
	}},
	{"waiting", "{call}", true, "", one(func(s *client.Stats) int64 { return int64(s.Waiting) })},
	{"calls", "{call}", false, "", one(func(s *client.Stats) int64 { return int64(s.Calls) })},
	{"waits", "{call}", false, "", one(func(s *client.Stats) int64 { return int64(s.Waits) })},
	{"reused", "{connection}", false, "", one(func(s *client.Stats) int64 { return int64(s.Reused) })},
	{"dials", "{dial}", false, "outcome", map[string]reader{
		"ok":    func(s *client.Stats) int64 { return int64(s.Dials) },
		"error": func(s *client.Stats) int64 { return int64(s.DialErrors) },
	}},
	{"backlog_full", "{attempt}", false, "", one(func(s *client.Stats) int64 { return int64(s.BacklogFull) })},
	{"retries", "{attempt}", false, "", one(func(s *client.Stats) int64 { return int64(s.Retries) })},
	{"mismatches", "{reply}", false, "", one(func(s *client.Stats) int64 { return int64(s.Mismatches) })},
	{"hook_failures", "{failure}", false, "", one(func(s *client.Stats) int64 { return int64(s.HookFailures) })},
	{"closed", "{connection}", false, "reason", map[string]reader{
		"idle":     func(s *client.Stats) int64 { return int64(s.Closed.Idle) },
		"surplus":  func(s *client.Stats) int64 { return int64(s.Closed.Surplus) },
		"dead":     func(s *client.Stats) int64 { return int64(s.Closed.Dead) },
		"cancel":   func(s *client.Stats) int64 { return int64(s.Closed.Cancel) },
		"timeout":  func(s *client.Stats) int64 { return int64(s.Closed.Timeout) },
		"protocol": func(s *client.Stats) int64 { return int64(s.Closed.Protocol) },
		"failed":   func(s *client.Stats) int64 { return int64(s.Closed.Failed) },
		"shutdown": func(s *client.Stats) int64 { return int64(s.Closed.Shutdown) },
	}},
}
