package dirtyotel_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// A client whose calls are faster than 5 ms: a View gives the histogram finer buckets.
// The recorder and the reader stand for the exporters of a real program.
func ExampleNewTracer() {
	spans, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
	short := metric.NewView(
		metric.Instrument{Name: "rpc.client.call.duration"},
		metric.Stream{Aggregation: metric.AggregationExplicitBucketHistogram{Boundaries: dirtyotel.ShortCallBounds()}})
	tracer := dirtyotel.NewTracer(
		dirtyotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
		dirtyotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader), metric.WithView(short))))
	c, err := client.New(client.WithTracer(tracer)) // the socket is GUNICORN_DIRTY_SOCKET
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	_, err = c.Execute(ctx, "app:App", "ping")
	fmt.Println(err)

	span := spans.Ended()[0]
	fmt.Println(span.Name(), span.SpanKind())
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &metrics); err != nil {
		log.Fatal(err)
	}
	m := metrics.ScopeMetrics[0].Metrics[0]
	fmt.Println(m.Name, m.Data.(metricdata.Histogram[float64]).DataPoints[0].Bounds[:3])
	// Output:
	// <nil>
	// app:App/ping client
	// rpc.client.call.duration [1e-05 2.5e-05 5e-05]
}

// Send the trace along to the actions of one app. In Python such an action has
// **kwargs, and finds the trace in kwargs["_meta"].
func ExampleWithInject() {
	tracer := dirtyotel.NewTracer(
		dirtyotel.WithPropagators(propagation.TraceContext{}),
		dirtyotel.WithInject(func(c dirtyotel.Call) bool { return c.App == "app:LLM" }))
	_, err := client.New(client.WithTracer(tracer))
	fmt.Println(err)
	// Output:
	// <nil>
}

// A server that names only the actions that it has.
func ExampleNewServerTracer() {
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(func(context.Context, struct{}) (string, error) { return "pong", nil }))
	s := &server.Server{Handler: mux, Tracer: dirtyotel.NewServerTracer(
		dirtyotel.WithPropagators(propagation.TraceContext{}),
		dirtyotel.WithKnown(func(c dirtyotel.Call) bool { return mux.Handler(c.App, c.Action) != nil }))}
	fmt.Println(s.Tracer.TakeKeyword)
	// Output:
	// _meta
}

func ExampleRecordStats() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	registration, err := dirtyotel.RecordStats(c)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister() // before Close
}

// startExamplePeer serves what the examples call, and sets the variable by which they
// find it.
func startExamplePeer(folder string) (stop func() error, err error) {
	s := &server.Server{Handler: pingMux()}
	l, err := server.Listen(folder+"/s", 0)
	if err != nil {
		return nil, err
	}
	go func() { _ = s.Serve(l) }()
	return s.Close, os.Setenv(client.EnvSocket, folder+"/s")
}
