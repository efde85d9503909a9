package client

import (
	"context"
	"io"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/gunicorn-go/dirty"
)

// Stream calls an action of an app and ranges over what it yields, as
// [Client.Execute] calls and decodes. The call is made when the loop begins.
//
//	for token, err := range c.Stream(ctx, "app:LLM", "generate", prompt) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(token)
//	}
//
// An error is yielded once, as the last pair. Leaving the loop in any way, and
// the end of the context, close the connection, at which the action stops with
// its next chunk or two. An action that returns a value instead of a generator
// yields it once. The sequence can be used once: a second loop gets
// [ErrStreamUsed].
//
// A loop that is slow blocks the worker for everybody; see [WithReadAhead].
func (c *Client) Stream(ctx context.Context, app, action string, args ...any) iter.Seq2[any, error] {
	return StreamOf[any](ctx, c, app, action, args...)
}

// StreamOf is [Client.Stream] with chunks of type T, into which each is decoded
// at once, as [Call] does.
func StreamOf[T any](ctx context.Context, c *Client, app, action string, args ...any) iter.Seq2[T, error] {
	var used atomic.Bool
	return func(yield func(T, error) bool) {
		var zero T
		if used.Swap(true) {
			yield(zero, &OpError{Operation: streamOf(app, action), Stage: StagePrepare, Err: ErrStreamUsed})
			return
		}
		s, err := c.OpenStream(ctx, app, action, args...)
		if err != nil {
			yield(zero, err)
			return
		}
		all[T](s)(yield)
	}
}

func streamOf(app, action string) Operation {
	return Operation{Name: "stream", App: app, Action: action}
}

// Stream is a call that streams. It has a connection of its own until its end.
// Who opens one must read it to its end or an error, or close it; the end of the
// context closes it as well.
//
// It must not be used concurrently, but for Close.
type Stream struct {
	turn   *turn
	traced func(err error, chunks int)
	ahead  *readAhead // nil: frames are read when they are asked for
	ranged bool
	chunks atomic.Int64

	mu  sync.Mutex
	err error // why it is over; nil while it is not
}

// OpenStream calls an action of an app and returns when the request was sent.
// For loops [Client.Stream] is simpler.
func (c *Client) OpenStream(ctx context.Context, app, action string, args ...any) (*Stream, error) {
	op := streamOf(app, action)
	request, err := newRequest(op, args)
	if err != nil {
		return nil, err
	}
	ctx, traced := c.cfg.tracer.start(ctx, op)
	s := &Stream{traced: traced}
	err = errPanicked
	defer func() {
		if err != nil {
			traced(err, 0)
		}
	}()
	if err = s.begin(ctx, c, op, request); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// begin sends the request, inside all interceptors.
func (s *Stream) begin(ctx context.Context, c *Client, op Operation, request func(uint64) dirty.Message) error {
	if err := c.pool.begin(); err != nil {
		return &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	begun := false
	defer func() {
		if !begun { // or an interceptor panics
			s.abandon()
			c.pool.done()
		}
	}()
	err := c.intercepted(ctx, op, func(inner context.Context) error {
		s.abandon() // if the interceptor calls again after a success
		return s.open(inner, ctx, c, op, request)
	})
	if err == nil && s.turn == nil { // an interceptor made no call
		err = &OpError{Operation: op, Stage: StagePrepare, Err: ErrStreamClosed}
	}
	begun = err == nil
	return err
}

// abandon closes the connection of a stream that does not start.
func (s *Stream) abandon() {
	if s.turn != nil {
		s.turn.close(closedCancel)
		s.turn = nil
	}
}

// open sends the request, again where that is known to be safe. An interceptor
// may end its context when it returns: the stream lives on in the outer one.
func (s *Stream) open(ctx, outer context.Context, c *Client, op Operation, request func(uint64) dirty.Message) error {
	t := &turn{client: c, op: op, ctx: ctx, bound: callTimeout, timeout: c.cfg.Timeout, deadline: deadline(ctx, c.cfg.Timeout)}
	err := t.open(request)
	if err != nil && t.again {
		c.retrying(ctx, op, err)
		err = t.open(request)
	}
	if err != nil {
		return err
	}
	if t.stop != nil && !t.stop() {
		t.close(closedCancel)
		return t.failed(StageRead, contextError(ctx))
	}
	t.ctx, t.stop = outer, nil
	t.bound, t.timeout = "the timeout of the stream", c.cfg.StreamTimeout
	s.turn = t
	return nil
}

// start sees to it that the stream ends when its context or the client does,
// even if it is not read any more, and reads ahead if that is wished.
func (s *Stream) start() {
	t := s.turn
	var run func()
	if limit := t.client.cfg.ReadAhead; limit > 0 {
		s.ahead, run = newReadAhead(limit), s.readAhead
	}
	closed := func() { _ = s.end(closedShutdown, t.failed(StageRead, ErrClosed)) }
	if !t.client.pool.adopt(t.conn, closed, run) {
		closed()
		return
	}
	if t.ctx.Done() != nil {
		s.mu.Lock() // end waits until t.stop is set
		defer s.mu.Unlock()
		if s.err != nil {
			return
		}
		t.stop = context.AfterFunc(t.ctx, func() {
			_ = s.end(closedCancel, t.failed(StageRead, contextError(t.ctx)))
		})
	}
}

// Recv returns the next chunk, or [io.EOF] at the end of the stream. Any other
// error is an [*OpError]. All but one whose Stage is StageDecode, a chunk that
// could not be decoded, end the stream, and come again.
//
// It waits no longer than the context, nor than the timeout of a stream.
func (s *Stream) Recv() (any, error) { return RecvOf[any](s) }

// RecvOf is [Stream.Recv] with a chunk of type T, into which it is decoded at
// once, as [Call] does.
func RecvOf[T any](s *Stream) (T, error) { return recv(s, new(chunkPayload[T])) }

// recv is RecvOf with memory for a payload, which is zero.
func recv[T any](s *Stream, payload *chunkPayload[T]) (T, error) {
	var zero T
	f, err := s.next()
	if err != nil {
		return zero, err
	}
	opts := s.turn.client.decodeOptions(f.Payload)
	if f.Type == dirty.TypeChunk {
		if err := opts.UnmarshalPayload(f, payload); err != nil {
			return zero, s.turn.failed(StageDecode, err)
		}
		return payload.Data, nil
	}
	// A RESPONSE: the value of an action that does not stream. The payload is
	// good until the lease ends.
	var response responsePayload[T]
	err = opts.UnmarshalPayload(f, &response)
	_ = s.end(keep, io.EOF)
	if err != nil {
		return zero, s.turn.failed(StageDecode, err)
	}
	return response.Result, nil
}

// isPlain reports whether decoding a value of the type calls no methods of the
// user's, which could keep a pointer into it.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Interface, reflect.Int, reflect.Int64, reflect.Float32, reflect.Float64:
		return reflect.PointerTo(t).NumMethod() == 0
	}
	return false
}

// chunkPayload is the payload of a CHUNK.
type chunkPayload[T any] struct {
	Data T `dirty:"data"`
}

// All ranges over the chunks that are left, as [Client.Stream] does, and closes
// the stream. It can be used once.
func (s *Stream) All() iter.Seq2[any, error] { return all[any](s) }

func all[T any](s *Stream) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if s.ranged {
			yield(zero, &OpError{Operation: s.turn.op, Stage: StagePrepare, Err: ErrStreamUsed})
			return
		}
		s.ranged = true
		defer s.Close()
		payload, again := new(chunkPayload[T]), isPlain(reflect.TypeFor[T]())
		for {
			v, err := recv(s, payload)
			if again { // one for all is an allocation less for each
				*payload = chunkPayload[T]{}
			} else {
				payload = new(chunkPayload[T])
			}
			if err == io.EOF {
				return
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the stream. If it was not read to its end the connection is closed,
// which stops the action with its next chunk or two. It may be called more than
// once, and while another goroutine reads, which then gets [ErrStreamClosed]. The
// error is always nil.
func (s *Stream) Close() error {
	_ = s.end(closedCancel, s.turn.failed(StageRead, ErrStreamClosed))
	return nil
}

// next returns the next CHUNK or RESPONSE, which is not yet decoded. At
// anything else it ends the stream and returns why.
func (s *Stream) next() (dirty.Frame, error) {
	if err := s.ended(); err != nil {
		return dirty.Frame{}, err
	}
	f, err := s.frame()
	if ended := s.ended(); ended != nil { // meanwhile, by somebody else
		return f, ended
	}
	t := s.turn
	switch {
	case err != nil:
		reason, err := t.explain(err)
		return f, s.end(reason, err)
	case f.Type == dirty.TypeChunk, f.Type == dirty.TypeResponse:
		s.chunks.Add(1)
		t.client.cfg.tracer.chunk(t.ctx, t.op, len(f.Payload))
		return f, nil
	case f.Type == dirty.TypeEnd:
		return f, s.end(keep, io.EOF)
	case f.Type == dirty.TypeError:
		return f, s.end(keep, t.remote(f))
	}
	return f, s.end(closedProtocol, t.failed(StageRead, unexpected(f)))
}

// frame returns the next frame of the stream.
func (s *Stream) frame() (dirty.Frame, error) {
	if s.ahead != nil {
		return s.ahead.take()
	}
	return s.read(false)
}

// read reads the next frame from the connection, within the timeout.
func (s *Stream) read(owned bool) (dirty.Frame, error) {
	s.turn.conn.bound(s.turn.timeout)
	return s.turn.read(owned)
}

// ended returns why the stream is over, or nil.
func (s *Stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end ends the stream, unless that was done before, and returns why it is over.
func (s *Stream) end(reason closeReason, err error) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	s.err = err
	s.mu.Unlock()
	s.turn.close(reason)
	if s.ahead != nil {
		s.ahead.close()
	}
	s.turn.client.pool.done()
	traced := err
	if traced == io.EOF {
		traced = nil
	}
	s.traced(traced, int(s.chunks.Load()))
	return err
}
