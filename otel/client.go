package dirtyotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// NewTracer returns a tracer for [client.WithTracer]. It makes a span of the kind client
// for each call and records its duration; see the comment of the package. Attempts that
// the client repeats are events of the one span.
func NewTracer(opts ...Option) client.Tracer {
	t := &clientTracer{newRecorder(opts, trace.SpanKindClient, func(m metric.Meter) (durations, error) {
		return rpcconv.NewClientCallDuration(m)
	})}
	tracer := client.Tracer{CallStart: t.start, Retry: t.retry, CallDone: t.done}
	if t.inject != nil && t.keyword != "" {
		tracer.AddKeyword = t.addKeyword
	}
	return tracer
}

type clientTracer struct{ *recorder }

// callOf is a client's operation for the functions of options.
func callOf(op client.Operation) Call { return Call{op.Name, op.App, op.Action} }

func (t *clientTracer) start(ctx context.Context, op client.Operation) context.Context {
	return t.recorder.start(ctx, callOf(op))
}

// addKeyword returns the context of the call's span as a keyword argument.
func (t *clientTracer) addKeyword(ctx context.Context, op client.Operation) (name string, value any) {
	if t.find(ctx) == nil || !t.inject(callOf(op)) {
		return "", nil
	}
	meta := map[string]string{}
	t.propagators.Inject(ctx, propagation.MapCarrier(meta))
	if len(meta) == 0 {
		return "", nil
	}
	return t.keyword, meta
}

func (t *clientTracer) retry(ctx context.Context, _ client.Operation, attempt int, err error) {
	if rec := t.find(ctx); rec != nil {
		rec.span.AddEvent("retry", trace.WithAttributes(
			attribute.Int("gunicorn_dirty.attempt", attempt), semconv.ErrorTypeKey.String(client.Outcome(err))))
	}
}

func (t *clientTracer) done(ctx context.Context, op client.Operation, r client.CallResult) {
	rec := t.find(ctx)
	if rec == nil {
		return
	}
	errorType := client.Outcome(r.Err)
	if errorType == "ok" {
		errorType = ""
	}
	var attrs []attribute.KeyValue
	if rec.span.IsRecording() {
		if op.Name == "stream" {
			attrs = append(attrs, attribute.Int("gunicorn_dirty.chunks", r.Chunks))
		}
		var remote *dirty.RemoteError
		if errors.As(r.Err, &remote) && remote.Exception() != "" {
			attrs = append(attrs, semconv.ExceptionType(cut(remote.Exception())))
		}
	}
	rec.end(r.Duration.Seconds(), errorType, attrs...)
}
