package dirtyotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// request is the operation of a call of an action, at a server.
const request = "request"

// NewServerTracer returns a tracer for the field Tracer of a [server.Server]. It makes a
// span of the kind server for each message that is answered, and records how long that
// took; see the comment of the package. If the client has sent the context of its span,
// that is the parent. Handlers find the span in their context.
func NewServerTracer(opts ...Option) *server.Tracer {
	t := &serverTracer{newRecorder(opts, trace.SpanKindServer, func(m metric.Meter) (durations, error) {
		return rpcconv.NewServerCallDuration(m)
	})}
	return &server.Tracer{TakeKeyword: t.keyword, Start: t.start, Done: t.done}
}

type serverTracer struct{ *recorder }

func (t *serverTracer) start(ctx context.Context, call server.CallInfo) context.Context {
	if len(call.Taken) > 0 {
		ctx = t.propagators.Extract(ctx, taken(call.Taken))
	}
	return t.recorder.start(ctx, Call{operationOf(call), call.App, call.Action})
}

// operationOf names what a server is asked, as client.Operation does, but for requests:
// they do not say whether the client expects a stream.
func operationOf(call server.CallInfo) string {
	switch call.Type {
	case dirty.TypeStash:
		return "stash " + call.Stash.String()
	case dirty.TypeManage:
		return "manage " + call.Manage.String()
	case dirty.TypeStatus:
		return "status"
	case dirty.TypeRequest:
		return request
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
	}
	return other // it asks for nothing
}

func (t *serverTracer) done(ctx context.Context, call server.CallInfo, r server.CallResult) {
	rec := t.find(ctx)
	if rec == nil {
		return
	}
	var attrs []attribute.KeyValue
	if r.Chunks > 0 {
		attrs = append(attrs, attribute.Int("gunicorn_dirty.chunks", r.Chunks))
	}
	if r.Waited > 0 {
		attrs = append(attrs, attribute.Float64("gunicorn_dirty.wait", r.Waited.Seconds()))
	}
	rec.end(r.Duration.Seconds(), errorType(r), attrs...)
}

// errorType is the error.type of a call: for an error that the client was told, the word
// that the client has for it.
func errorType(r server.CallResult) string {
	switch {
	case r.Panic != nil && r.Outcome != "aborted":
		return "panic"
	case r.Outcome == "ok":
		return ""
	case r.Outcome != "error":
		return r.Outcome
	}
	word := client.Outcome(&dirty.RemoteError{Type: r.Class})
	if word == "other" { // no class that the client has a word for
		return "remote_error"
	}
	return word
}

// taken reads the context of a span from the keyword argument of a request. Nobody has
// checked it: what cannot be read is not there.
type taken dirty.View

var _ propagation.TextMapCarrier = taken(nil)

func (t taken) Get(key string) string {
	text, _ := dirty.View(t).Get(key).Text()
	return string(text)
}

// Set does nothing: the argument is only read.
func (t taken) Set(string, string) {}

func (t taken) Keys() (keys []string) {
	for key := range dirty.View(t).Entries() {
		keys = append(keys, string(key))
	}
	return keys
}
