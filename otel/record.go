package dirtyotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name under which spans and metrics are made.
const scope = "github.com/gunicorn-go/dirty/otel"

// systemName is the value of rpc.system.name.
var systemName = semconv.RPCSystemNameKey.String("gunicorn_dirty")

// recorder makes the span and the measurement of each call, of a client or a server.
type recorder struct {
	*config
	tracer   trace.Tracer
	duration durations
	methods  *methods
}

// durations is the histogram of rpcconv for a client or a server.
type durations interface {
	Inst() metric.Float64Histogram
	RecordSet(ctx context.Context, val float64, set attribute.Set)
}

func newRecorder(opts []Option, kind trace.SpanKind, instrument func(metric.Meter) (durations, error)) *recorder {
	cfg := newConfig(opts)
	duration, err := instrument(cfg.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)))
	if err != nil {
		otel.Handle(err) // the instrument does nothing
	}
	tracer := cfg.traces.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	return &recorder{cfg, tracer, duration, newMethods(cfg, kind)}
}

// recording is a call that is recorded, and its context.
type recording struct {
	context.Context
	recorder *recorder
	span     trace.Span
	method   *method // nil: the call is not recorded
}

// Value returns the recording itself for the recorder that made it.
func (r *recording) Value(key any) any {
	if key == r.recorder {
		return r
	}
	return r.Context.Value(key)
}

// start begins to record a call. A call that is not recorded has a recording too: else
// a call inside of which it is made would be taken for it.
func (r *recorder) start(ctx context.Context, call Call) context.Context {
	rec := &recording{Context: ctx, recorder: r}
	if r.filter != nil && !r.filter(call) {
		return rec
	}
	rec.method = r.methods.find(call)
	rec.Context, rec.span = r.tracer.Start(ctx, rec.method.name, rec.method.start...)
	if rec.method == r.methods.other {
		rec.span.SetAttributes(semconv.RPCMethodOriginal(cut(call.App) + "/" + cut(call.Action)))
	}
	return rec
}

// find returns the recording of the call whose context this is, or nil.
func (r *recorder) find(ctx context.Context) *recording {
	if rec, ok := ctx.Value(r).(*recording); ok && rec.method != nil {
		return rec
	}
	return nil
}

// end ends the recording of a call. errorType is "" after a success.
func (r *recording) end(seconds float64, errorType string, spanAttributes ...attribute.KeyValue) {
	attrs := r.method.attributes
	if errorType != "" {
		kv := semconv.ErrorTypeKey.String(errorType)
		attrs = append(attrs[:len(attrs):len(attrs)], kv)
		r.span.SetAttributes(kv)
		if errorType != "canceled" { // a call that was told to stop has not failed
			r.span.SetStatus(codes.Error, "")
		}
	}
	if duration := r.recorder.duration; duration.Inst().Enabled(r) {
		duration.RecordSet(r, seconds, attribute.NewSet(attrs...))
	}
	r.span.SetAttributes(spanAttributes...)
	r.span.End()
}

// ShortCallBounds returns bounds for the histograms of durations, in seconds, where
// calls take less than the 5 ms with which the bounds of the conventions begin: from 10
// microseconds to 10 seconds. A View of the SDK sets them, as the example of NewTracer
// shows. This module does not import the SDK.
func ShortCallBounds() []float64 {
	return []float64{
		1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
		0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
	}
}
