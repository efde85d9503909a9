package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

func Example() {
	ctx := context.Background()
	c, err := client.New() // one for the whole program; the socket is GUNICORN_DIRTY_SOCKET
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	sum, err := c.Execute(ctx, "app:Model", "add", 1, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum)

	for token, err := range client.StreamOf[string](ctx, c, "app:LLM", "generate", "Tell me of a cat.") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(token)
	}
	// Output:
	// 3
	// A cat sat on the mat.
}

func ExampleCall() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	type prediction struct {
		Label string  `dirty:"label"`
		Score float64 `dirty:"score"`
	}
	image := []byte{0xff, 0xd8}
	p, err := client.Call[prediction](context.Background(), c, "app:Model", "predict", image, client.Kwargs{"top": 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s with %.0f %%\n", p.Label, 100*p.Score)
	// Output:
	// cat with 93 %
}

func ExampleStreamOf() {
	c, err := client.New(client.WithReadAhead(1 << 20)) // a slow loop does not block the worker
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for the whole
	defer cancel()
	for token, err := range client.StreamOf[string](ctx, c, "app:LLM", "generate", "Tell me of a cat.") {
		if err != nil {
			log.Fatal(err) // the last pair, if there is an error
		}
		fmt.Printf("%q\n", token)
		if token == "on " {
			break // closes the connection, which stops the action
		}
	}
	// Output:
	// "A "
	// "cat "
	// "sat "
	// "on "
}

func ExampleClient_OpenStream() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	s, err := c.OpenStream(context.Background(), "app:LLM", "generate", "Tell me of a cat.")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // if it is left before its end
	for {
		token, err := s.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(token)
	}
	// Output:
	// A cat sat on the mat.
}

func ExampleStash() {
	ctx := context.Background()
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	sessions := c.Stash("sessions")
	if err := sessions.Put(ctx, "ada", 3); err != nil {
		log.Fatal(err)
	}
	visits, err := client.StashGet[int](ctx, sessions, "ada")
	fmt.Println(visits, err)

	_, err = sessions.Get(ctx, "bob")
	fmt.Println(errors.Is(err, dirty.ErrKeyNotFound))

	_, found, err := sessions.Lookup(ctx, "bob")
	fmt.Println(found, err)

	for item, err := range sessions.Items(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(item.Key, item.Value)
	}
	existed, err := sessions.Drop(ctx)
	fmt.Println(existed, err)
	// Output:
	// 3 <nil>
	// true
	// false <nil>
	// ada 3
	// true <nil>
}

func ExampleClient_Status() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	status, err := c.Status(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range status.Workers {
		fmt.Println(w.PID, w.Apps, w.Booted, w.HeartbeatAge)
	}
	fmt.Println(status.Serving("app:Model"), "of", len(status.Workers), "serve app:Model")
	// Output:
	// 101 [app:Model app:LLM] true 500ms
	// 102 [app:Model] false 0s
	// 1 of 2 serve app:Model
}

func ExampleClient_WaitReady() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.WaitReady(ctx, "app:Model", "app:LLM"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	// Output:
	// ready
}

func ExampleClient_AddWorkers() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	s, err := c.AddWorkers(context.Background(), 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Changed, "started,", s.Total, "now")
	// Output:
	// 2 started, 4 now
}

// What happened to a call, and what to do.
func ExampleOpError() {
	c, err := client.New(client.WithTimeout(50 * time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	advice := func(err error) string {
		var remote *dirty.RemoteError
		switch {
		case err == nil:
			return "use the result"
		case errors.Is(err, dirty.ErrNoWorkers):
			return "no worker has that app, or there is no such app: look at the status"
		case errors.Is(err, dirty.ErrPeerTimeout):
			return "dirty_timeout passed; the action may still run, so the next call may be slow"
		case errors.As(err, &remote) && errors.Is(err, dirty.ErrApp):
			return "the action raised: log remote.Traceback(), tell " + remote.Message
		case errors.Is(err, context.Canceled):
			return "our own caller has left"
		case errors.Is(err, client.ErrOutcomeUnknown):
			return "it may have run: do not repeat it unless that does no harm"
		case client.SafeToRetry(err):
			return "nothing ran: wait a moment and try again"
		}
		return "give up: " + err.Error()
	}
	for _, call := range [][]any{
		{"app:Model", "add", 1, 2},
		{"app:Model", "predict_all"},
		{"app:Nothing", "predict"},
		{"app:Model", "sleep"},
		{"app:Model", "add", make(chan int)},
	} {
		_, err := c.Execute(context.Background(), call[0].(string), call[1].(string), call[2:]...)
		fmt.Println(advice(err))
	}
	// Output:
	// use the result
	// the action raised: log remote.Traceback(), tell no such image
	// no worker has that app, or there is no such app: look at the status
	// it may have run: do not repeat it unless that does no harm
	// give up: dirty: execute app:Model.add: prepare: unsupported type: Go value of type chan int at args[0]
}

func ExampleSafeToRetry() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for pause := 100 * time.Millisecond; ; pause *= 2 {
		result, err := c.Execute(context.Background(), "app:Model", "warm")
		if client.SafeToRetry(err) && pause < time.Second {
			fmt.Println(err)
			time.Sleep(pause) // gunicorn is replacing a worker
			continue
		}
		fmt.Println(result, err)
		break
	}
	// Output:
	// dirty: execute app:Model.warm: DirtyWorkerError: Worker communication failed: [Errno 111] Connection refused
	// dirty: execute app:Model.warm: DirtyWorkerError: Worker communication failed: [Errno 111] Connection refused
	// warm <nil>
}

// A limit for the calls of one app. A stream holds its place until its end.
func ExampleWithInterceptor() {
	places := make(chan struct{}, 1)
	c, err := client.New(client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
		if call.App != "app:LLM" {
			return next(ctx)
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			return next(ctx)
		default:
			return fmt.Errorf("too many calls of %v", call.Operation)
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	for token, err := range c.Stream(ctx, "app:LLM", "generate", "Tell me of a cat.") {
		if err != nil {
			log.Fatal(err)
		}
		_, busy := c.OpenStream(ctx, "app:LLM", "generate", "Tell me of a dog.")
		fmt.Printf("%q; %v\n", token, busy)
		break
	}
	s, err := c.OpenStream(ctx, "app:LLM", "generate", "Tell me of a dog.")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Recv())
	s.Close()
	// Output:
	// "A "; too many calls of stream app:LLM.generate
	// A  <nil>
}

// An interceptor that adds a keyword argument to each call.
func ExampleCallInfo() {
	c, err := client.New(client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
		call.Kwargs["top"] = 1 // a copy; the caller's stay as they are
		return next(ctx)
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Execute(context.Background(), "app:Model", "predict", []byte{0xff, 0xd8})
	fmt.Println(err)
	// Output:
	// <nil>
}

func ExampleOutcome() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	counts := map[string]int{} // a metric with a label, in real life
	for _, action := range []string{"add", "predict_all", "add"} {
		_, err := c.Execute(context.Background(), "app:Model", action, 1, 2)
		counts[client.Outcome(err)]++
	}
	fmt.Println(counts)
	// Output:
	// map[app_error:1 ok:2]
}

// Whether connections are used again, and why they were closed.
func ExampleClient_Stats() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for range 3 {
		if _, err := c.Execute(context.Background(), "app:Model", "add", 1, 2); err != nil {
			log.Fatal(err)
		}
	}
	for range c.Stream(context.Background(), "app:LLM", "generate", "Tell me of a cat.") {
		break // closes the connection
	}
	s := c.Stats()
	fmt.Println(s.Calls, "calls,", s.Dials, "dial,", s.Reused, "times reused")
	fmt.Println("closed because a call was left:", s.Closed.Cancel)
	// Output:
	// 4 calls, 1 dial, 3 times reused
	// closed because a call was left: 1
}

// A program that ends lets its calls end first. The context may come from
// signal.NotifyContext.
func ExampleClient_Shutdown() {
	c, err := client.New()
	if err != nil {
		log.Fatal(err)
	}
	// ... and when the program is to end:
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		log.Print(err) // some calls were cut
	}
	_, err = c.Execute(context.Background(), "app:Model", "add", 1, 2)
	fmt.Println(errors.Is(err, client.ErrClosed))
	// Output:
	// true
}

func ExampleWithTracer() {
	c, err := client.New(client.WithTracer(client.Tracer{
		CallStart: func(ctx context.Context, op client.Operation) context.Context {
			fmt.Println("start:", op)
			return ctx // may carry a span
		},
		Chunk: func(_ context.Context, op client.Operation, size int) {
			fmt.Println("chunk:", op, size, "bytes")
		},
		CallDone: func(_ context.Context, op client.Operation, r client.CallResult) {
			fmt.Println("end:", op, r.Chunks, r.Err)
		},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for range c.Stream(context.Background(), "app:LLM", "generate", "Tell me of a cat.") {
		break
	}
	// Output:
	// start: stream app:LLM.generate
	// chunk: stream app:LLM.generate 21 bytes
	// end: stream app:LLM.generate 1 dirty: stream app:LLM.generate: read: the stream is closed; the outcome is unknown
}

// The arbiter's socket has a new path after each restart. On the same machine
// and as the same user its pid file leads to it.
func ExampleWithResolver() {
	c, err := client.New(client.WithResolver(client.FromPIDFile(client.PIDFileName("app:wsgi"))))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}
