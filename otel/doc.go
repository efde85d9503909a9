// Package dirtyotel makes OpenTelemetry traces and metrics of calls to dirty workers.
//
// One field on each side is enough. A client:
//
//	c, err := client.New(client.WithTracer(dirtyotel.NewTracer()))
//
// and a server:
//
//	s := &server.Server{Handler: mux, Tracer: dirtyotel.NewServerTracer()}
//
// Both make a span for each call and record its duration. The span of a stream lasts
// until the stream has ended. [RecordStats] adds what a client's pool of connections
// does. All use the global providers and the global propagator, unless options say
// otherwise.
//
// # Names
//
// Spans and metrics follow OpenTelemetry's conventions for RPC:
//
//	rpc.client.call.duration   histogram, in seconds
//	rpc.server.call.duration   histogram, in seconds
//	rpc.system.name            gunicorn_dirty
//	rpc.method                 app:Class/action, or what else was asked: "stash get", "status"
//	error.type                 a word of client.Outcome; on a server also "panic" and the words
//	                           of server.CallResult; absent after a success
//
// Spans have these too:
//
//	exception.type             the Python class that the app raised, if the client could tell
//	rpc.method_original        the name that the client gave, where rpc.method is _OTHER (server)
//	gunicorn_dirty.chunks      how many chunks a stream had
//	gunicorn_dirty.wait        how long a request waited for MaxConcurrent, in seconds (server)
//
// Give [WithAttributes] the address of the server if you need it: the path of the socket
// can change from call to call, and the conventions' server.address is not set.
//
// Arguments, results, texts of errors and tracebacks are never recorded.
//
// The buckets of the histograms are those of the conventions, of which the first ends
// at 5 ms. [ShortCallBounds] are for calls that are faster, as the example of NewTracer
// shows.
//
// # Traces that go on at the peer
//
// The protocol has no place for headers. [WithInject] sends the span's context as one
// keyword argument, a dict named _meta with the keys traceparent and tracestate. It is
// off unless you name the actions that get it, because a Python action without **kwargs
// raises a TypeError. In Python the action reads kwargs.get("_meta"). A [server.Server]
// with a tracer of NewServerTracer takes the argument out, so no Go handler needs to
// know of it.
//
// A server takes the context that its client sends as it is, as there is no way to tell
// whether it is true. So a client can put its calls into any trace. Where that matters,
// give [WithPropagators] propagation.NewCompositeTextMapPropagator(), which reads nothing;
// the argument is taken out all the same.
//
// # Names that others choose
//
// A metric costs memory for each name. App and action come from whoever calls, so a
// tracer uses at most 1000 names of actions, and none longer than 200 bytes. All others
// are _OTHER. On a server [WithKnown] says which actions there are, so that unknown ones
// do not use up the 1000.
//
// # Cost
//
// Without a provider a call makes at most 12 allocations more, and with [WithInject] 16.
package dirtyotel
