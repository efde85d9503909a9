package dirtyotel

import (
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	other     = "_OTHER" // as the conventions say, for an action that is not known
	maxNames  = 1000     // actions that are named
	maxLength = 200      // bytes of an app or an action that is named
)

// method is what calls of one name have in common.
type method struct {
	name       string
	attributes []attribute.KeyValue // of spans and of measurements
	start      []trace.SpanStartOption
}

// methods finds the method of a call, and bounds how many there are.
type methods struct {
	kind       trace.SpanKind
	attributes []attribute.KeyValue
	known      func(Call) bool // nil: all are
	other      *method

	mu    sync.RWMutex
	named map[Call]*method // by App and Action, or else by Operation
}

func newMethods(cfg *config, kind trace.SpanKind) *methods {
	m := &methods{kind: kind, attributes: cfg.attributes, known: cfg.known, named: map[Call]*method{}}
	m.other = m.make(other)
	return m
}

func (m *methods) make(name string) *method {
	attrs := append([]attribute.KeyValue{systemName, semconv.RPCMethod(name)}, m.attributes...)
	return &method{name, attrs, []trace.SpanStartOption{trace.WithSpanKind(m.kind), trace.WithAttributes(attrs...)}}
}

// find returns the method of a call. It may be called concurrently.
func (m *methods) find(call Call) *method {
	key := Call{App: call.App, Action: call.Action}
	if call.App == "" {
		key = Call{Operation: call.Operation}
	}
	m.mu.RLock()
	found := m.named[key]
	m.mu.RUnlock()
	switch {
	case found != nil:
		return found
	case call.App == "" && call.Operation == request: // its names cannot be read
		return m.other
	case len(call.App) > maxLength || len(call.Action) > maxLength:
		return m.other
	case call.App != "" && m.known != nil && !m.known(call):
		return m.other
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.named) >= maxNames {
		return m.other
	}
	name := key.Operation
	if name == "" {
		name = key.App + "/" + key.Action
	}
	found = m.make(name)
	m.named[key] = found
	return found
}

// cut shortens a name that a caller has chosen. What is left is valid UTF-8, or exporters
// would refuse all spans that are sent with it.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxLength)], "") }
