package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// journal writes down what its tracer is told, and checks that contexts are those
// that the tracer returned.
type journal struct {
	t    *testing.T
	name string

	mu     sync.Mutex
	events []string
	op     client.Operation
	result client.CallResult
	dial   client.DialResult
	get    client.AcquireResult
}

type journalKey string

func (j *journal) tracer() client.Tracer {
	return client.Tracer{
		CallStart: func(ctx context.Context, op client.Operation) context.Context {
			ctx = context.WithValue(ctx, journalKey(j.name), "call")
			j.note(ctx, func() { j.op = op }, "start %v", op)
			return ctx
		},
		CallDone: func(ctx context.Context, op client.Operation, r client.CallResult) {
			j.note(ctx, func() { j.result = r }, "end %v after %d: %v", op, r.Chunks, r.Err != nil)
		},
		AcquireStart: func(ctx context.Context, op client.Operation) { j.note(ctx, func() {}, "acquire %v", op) },
		AcquireDone: func(ctx context.Context, op client.Operation, a client.AcquireResult) {
			j.note(ctx, func() { j.get = a }, "acquired %v %v: %v", op, a.Reused, a.Err != nil)
		},
		Retry: func(ctx context.Context, op client.Operation, attempt int, err error) {
			j.note(ctx, func() {}, "retry %v %d: %v", op, attempt, err != nil)
		},
		Chunk: func(ctx context.Context, op client.Operation, size int) {
			j.note(ctx, func() {}, "chunk %v %d", op, size)
		},
		Dialed: func(_ context.Context, d client.DialResult) {
			j.write(func() { j.dial = d }, "dial after %d: %v", d.Retries, d.Err != nil)
		},
	}
}

// note writes an event of a call down.
func (j *journal) note(ctx context.Context, keep func(), format string, args ...any) {
	assert.Equal(j.t, "call", ctx.Value(journalKey(j.name)), format)
	j.write(keep, format, args...)
}

func (j *journal) write(keep func(), format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	keep()
	j.events = append(j.events, fmt.Sprintf(format, args...))
}

// take returns what was told since the last time.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.events
	j.events = nil
	return events
}

// TestTracer: what it is told, and in which order.
func TestTracer(t *testing.T) {
	ctx := context.Background()
	p := newPeer(t, answering(arbiter))
	j := &journal{t: t, name: "j"}
	c := p.client(t, client.WithTracer(j.tracer()))

	_, err := c.Execute(ctx, app, "echo", 1)
	require.NoError(t, err)
	assert.Equal(t, []string{"start execute app:App.echo", "acquire execute app:App.echo", "dial after 0: false", "acquired execute app:App.echo false: false", "end execute app:App.echo after 0: false"}, j.take())
	assert.Equal(t, client.Operation{Name: "execute", App: app, Action: "echo"}, j.op)
	assert.Equal(t, p.path, j.dial.Path)
	assert.Equal(t, p.path, j.get.Path)
	assert.Equal(t, j.dial.PeerPID, j.get.PeerPID)
	assert.Positive(t, j.result.Duration)
	assert.Positive(t, j.dial.Duration)
	assert.GreaterOrEqual(t, j.result.Duration, j.get.Duration)

	_, err = c.Stash("t").Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, []string{`start stash get "t"["k"]`, `acquire stash get "t"["k"]`, `acquired stash get "t"["k"] true: false`, `end stash get "t"["k"] after 0: false`}, j.take())
	assert.True(t, j.op.ReadOnly())

	_, err = c.Execute(ctx, app, "raise")
	require.ErrorIs(t, err, dirty.ErrApp)
	assert.Equal(t, "end execute app:App.raise after 0: true", j.take()[3])
	assert.Equal(t, err, j.result.Err, "the error of the caller")

	for name, ahead := range aheads {
		c := p.client(t, client.WithTracer(j.tracer()), client.WithReadAhead(ahead))
		_, err = collect(c.Stream(ctx, app, "count", "a", "bcd"))
		require.NoError(t, err)
		assert.Equal(t, []string{
			"start stream app:App.count", "acquire stream app:App.count", "dial after 0: false", "acquired stream app:App.count false: false",
			fmt.Sprintf("chunk stream app:App.count %d", len(encoded(map[string]any{"data": "a"}))),
			fmt.Sprintf("chunk stream app:App.count %d", len(encoded(map[string]any{"data": "bcd"}))),
			"end stream app:App.count after 2: false",
		}, j.take(), name)

		for range c.Stream(ctx, app, "count", 1, 2, 3) {
			break
		}
		events := j.take()
		assert.Equal(t, "end stream app:App.count after 1: true", events[len(events)-1])
		assert.ErrorIs(t, j.result.Err, client.ErrStreamClosed)

		_, err = collect(c.Stream(ctx, app, "raise"))
		require.ErrorIs(t, err, dirty.ErrApp)
		events = j.take()
		assert.Equal(t, "end stream app:App.raise after 0: true", events[len(events)-1])
		assert.Equal(t, err, j.result.Err)

		cancelled, cancel := context.WithCancel(ctx)
		s, err := c.OpenStream(cancelled, app, "count", 1, 2, 3)
		require.NoError(t, err)
		j.take()
		cancel()
		await(t, "the end", func() bool {
			e := j.take()
			return len(e) > 0 && e[len(e)-1] == "end stream app:App.count after 0: true"
		})
		assert.ErrorIs(t, j.result.Err, context.Canceled, "nobody need read it")
		require.NoError(t, s.Close())
		assert.Empty(t, j.take(), "it is told once")
	}

	require.NoError(t, c.Close())
	require.Error(t, c.Ping(ctx))
	assert.Equal(t, []string{"start status", "end status after 0: true"}, j.take())
}

// TestTracerOfFailures: of a dial, of its repetitions, and of a wait.
func TestTracerOfFailures(t *testing.T) {
	j := &journal{t: t, name: "j"}
	left := 3
	p := newPipePeer(t, answering(arbiter))
	c := newClient(t, client.WithSocket("/x"), client.WithTracer(j.tracer()), client.WithMaxConns(1), client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
		if left--; left >= 0 {
			return nil, dialError(syscall.EAGAIN)
		}
		if left == -1 {
			return nil, dialError(syscall.ENOENT)
		}
		return p.dial(ctx, path)
	}))
	require.ErrorIs(t, c.Ping(context.Background()), syscall.ENOENT)
	assert.Equal(t, []string{"start status", "acquire status", "dial after 3: true", "acquired status false: true", "end status after 0: true"}, j.take())
	assert.Equal(t, "/x", j.dial.Path)
	assert.ErrorIs(t, j.dial.Err, client.ErrUnavailable)
	assert.ErrorIs(t, j.get.Err, client.ErrUnavailable)

	s, err := c.OpenStream(context.Background(), app, "count")
	require.NoError(t, err)
	j.take()
	ctx, cancel := context.WithCancel(context.Background())
	ping := async(func() error { return c.Ping(ctx) })
	await(t, "it waits", func() bool { return c.Stats().Waiting == 1 })
	begin := time.Now()
	time.Sleep(time.Millisecond)
	waited := time.Since(begin)
	cancel()
	require.ErrorIs(t, receive(t, "the call", ping), client.ErrPoolTimeout)
	assert.Equal(t, []string{"start status", "acquire status", "acquired status false: true", "end status after 0: true"}, j.take())
	assert.GreaterOrEqual(t, j.get.Duration, waited)
	require.NoError(t, s.Close())

	// A call that is made again.
	require.NoError(t, c.Ping(context.Background()))
	p.cut()
	j.take()
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, []string{"start status", "acquire status", "acquired status true: false", "retry status 2: true", "acquire status", "dial after 0: false", "acquired status false: false", "end status after 0: false"}, j.take())
}

// TestTracers: several are around each other, and see each its own context. The
// functions that one lacks are skipped.
func TestTracers(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	var order []string
	around := func(name string) client.Option {
		return client.WithTracer(client.Tracer{
			CallStart: func(ctx context.Context, _ client.Operation) context.Context {
				order = append(order, name+" start")
				return context.WithValue(ctx, journalKey(name), name)
			},
			CallDone: func(ctx context.Context, _ client.Operation, _ client.CallResult) {
				order = append(order, ctx.Value(journalKey(name)).(string)+" end")
			},
		})
	}
	j := &journal{t: t, name: "j"}
	c := p.client(t, around("outer"), client.WithTracer(client.Tracer{}), client.WithTracer(j.tracer()), around("inner"))
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, []string{"outer start", "inner start", "inner end", "outer end"}, order)
	assert.Len(t, j.take(), 5)
}

// TestTracerContext: what CallStart returns is the context of the call, and nil
// leaves it as it is.
func TestTracerContext(t *testing.T) {
	p := newPeer(t, mute)
	for _, before := range []bool{false, true} {
		cancelling := client.WithTracer(client.Tracer{CallStart: func(ctx context.Context, _ client.Operation) context.Context {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errLeft)
			return ctx
		}})
		none := client.WithTracer(client.Tracer{CallStart: func(context.Context, client.Operation) context.Context { return nil }})
		opts := []client.Option{cancelling, none}
		if before {
			opts[0], opts[1] = opts[1], opts[0]
		}
		c := p.client(t, opts...)
		for _, op := range operations {
			err := op.call(context.Background(), c)
			require.ErrorIs(t, err, errLeft, op.name)
			assert.True(t, errors.Is(err, context.Canceled))
		}
	}
}

// TestTracerKeyword: a tracer adds a keyword argument to what it is asked for, and
// changes nothing that is the caller's.
func TestTracerKeyword(t *testing.T) {
	kwargs := make(chan map[string]any, 1)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if r, ok := m.(*dirty.Request); ok {
			kwargs <- r.Kwargs
		}
		return arbiter(c, m)
	}))
	adding := func(name string, value any) client.Option {
		return client.WithTracer(client.Tracer{
			CallStart: func(ctx context.Context, _ client.Operation) context.Context {
				return context.WithValue(ctx, journalKey("call"), name)
			},
			AddKeyword: func(ctx context.Context, op client.Operation) (string, any) {
				assert.Equal(t, name, ctx.Value(journalKey("call")), "the context of CallStart")
				assert.Equal(t, app, op.App, "only a call of an action has arguments")
				return name, value
			},
		})
	}
	passing := client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
		if call.App != "" {
			assert.Contains(t, call.Kwargs, "_meta", "an interceptor sees it")
		}
		return next(ctx)
	})
	for name, test := range map[string]struct {
		opts  []client.Option
		given client.Kwargs
		want  map[string]any
	}{
		"none":                  {[]client.Option{adding("", 1)}, client.Kwargs{"a": true}, map[string]any{"a": true}},
		"alone":                 {[]client.Option{adding("_meta", 1)}, nil, map[string]any{"_meta": int64(1)}},
		"beside the caller's":   {[]client.Option{adding("_meta", 1)}, client.Kwargs{"a": true}, map[string]any{"a": true, "_meta": int64(1)}},
		"the caller has it":     {[]client.Option{adding("_meta", 1)}, client.Kwargs{"_meta": "mine"}, map[string]any{"_meta": "mine"}},
		"two tracers":           {[]client.Option{adding("_meta", 1), adding("b", 2)}, nil, map[string]any{"_meta": int64(1), "b": int64(2)}},
		"inside an interceptor": {[]client.Option{adding("_meta", 1), passing}, client.Kwargs{"a": true}, map[string]any{"a": true, "_meta": int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, c := context.Background(), p.client(t, test.opts...)
			given, args := maps.Clone(test.given), []any{1}
			if test.given != nil {
				args = append(args, test.given)
			}
			_, err := c.Execute(ctx, app, "echo", args...)
			require.NoError(t, err)
			assert.Equal(t, test.want, <-kwargs)
			_, err = collect(c.Stream(ctx, app, "count", args...))
			require.NoError(t, err)
			assert.Equal(t, test.want, <-kwargs)
			assert.Equal(t, given, test.given, "the caller's map stays as it is")
			require.NoError(t, c.Ping(ctx))
		})
	}
}

// TestTracerKeywordFails: a tracer that does not return fails the call.
func TestTracerKeywordFails(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panic("secret") }, "Goexit": runtime.Goexit} {
		c := newPeer(t, answering(arbiter)).client(t, client.WithTracer(client.Tracer{
			AddKeyword: func(context.Context, client.Operation) (string, any) { fail(); return "", nil },
		}))
		_, err := c.Execute(context.Background(), app, "echo")
		require.ErrorIs(t, err, client.ErrHookFailed, name)
		require.ErrorContains(t, err, "Tracer.AddKeyword", name)
		_, err = c.OpenStream(context.Background(), app, "count")
		require.ErrorIs(t, err, client.ErrHookFailed, name)
		assert.Zero(t, c.Stats().InUse, name)
	}
}
