package dirtyotel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// DefaultKeyword is the name of the keyword argument that has the span's context.
const DefaultKeyword = "_meta"

// Call is a call as the functions of options see it.
type Call struct {
	Operation   string // of a client that of client.Operation; of a server "request", "stash get", "status", "manage add", ...
	App, Action string // of calls of actions
}

// Option is an option of [NewTracer], [NewServerTracer] and [RecordStats]. Each says
// where it has an effect, if that is not everywhere.
type Option func(*config)

type config struct {
	traces      trace.TracerProvider
	meters      metric.MeterProvider
	propagators propagation.TextMapPropagator
	filter      func(Call) bool
	known       func(Call) bool
	inject      func(Call) bool
	keyword     string
	attributes  []attribute.KeyValue
}

func newConfig(opts []Option) *config {
	c := &config{keyword: DefaultKeyword}
	for _, opt := range opts {
		opt(c)
	}
	if c.traces == nil {
		c.traces = otel.GetTracerProvider()
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	if c.propagators == nil {
		c.propagators = otel.GetTextMapPropagator()
	}
	return c
}

// WithTracerProvider sets where spans go; by default, and if p is nil, to the global
// provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(c *config) { c.traces = p } }

// WithMeterProvider sets where metrics go; by default, and if p is nil, to the global
// provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(c *config) { c.meters = p } }

// WithPropagators sets how the span's context is written and read; by default, and if p
// is nil, as the global propagator does, which does nothing until the program sets it.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return func(c *config) { c.propagators = p }
}

// WithFilter records only the calls for which f returns true; by default all. f may be
// called concurrently. It has no effect on RecordStats.
func WithFilter(f func(Call) bool) Option { return func(c *config) { c.filter = f } }

// WithKnown says which actions may be named in spans and metrics; the others are called
// _OTHER. By default all are, up to a bound: see the comment of the package. f may be
// called concurrently. It is not asked about calls without an App, and has no effect on
// RecordStats. For a server:
//
//	dirtyotel.WithKnown(func(c dirtyotel.Call) bool { return mux.Handler(c.App, c.Action) != nil })
func WithKnown(f func(Call) bool) Option { return func(c *config) { c.known = f } }

// WithInject sends the span's context along with the calls of actions for which f
// returns true; by default with none. f may be called concurrently. It has an effect on
// NewTracer alone.
func WithInject(f func(Call) bool) Option { return func(c *config) { c.inject = f } }

// WithKeyword sets the name of the keyword argument that has the span's context, by
// default [DefaultKeyword]. With "" none is sent, and a server takes none out: its
// handlers see what clients send. It has no effect on RecordStats.
func WithKeyword(name string) Option { return func(c *config) { c.keyword = name } }

// WithAttributes adds attributes to all spans and metrics, for example to tell two
// clients of one program apart.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attributes = append(c.attributes, attrs...) }
}
