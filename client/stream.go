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
// Read it to its end or to an error, or close it; the end of the context closes
// it as well.
//
// It must not be used concurrently, but for Close.
type Stream struct {
	client *Client
	op     Operation
	traced *tracing
	ranged bool
	single bool
	chunks atomic.Int64
	life   *streamLife // nil without interceptors and WithRetry

	mu    sync.Mutex
	turn  *turn        // the attempt that is read; nil until it is known
	ahead *readAhead   // nil: frames are read when they are asked for
	first *dirty.Frame // was read by the attempt
	err   error        // why it is over; nil while it is not
}

// OpenStream calls an action of an app and returns when the request was sent.
// For loops [Client.Stream] is simpler.
//
// Interceptors run on until the stream has ended, and may make further attempts
// before the first chunk; Recv then waits for these.
func (c *Client) OpenStream(ctx context.Context, app, action string, args ...any) (s *Stream, err error) {
	op := streamOf(app, action)
	call, err := newCall(op, args)
	if err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	ctx, kwargs, traced, failure := c.cfg.tracers.start(ctx, call)
	call.Kwargs = kwargs
	err = errAbandoned
	opened := false
	defer func() {
		if !opened {
			_ = traced.end(err, 0)
		}
	}()
	if failure != nil {
		return nil, &OpError{Operation: op, Stage: StagePrepare, Err: failure}
	}
	if err := c.pool.startCall(); err != nil {
		return nil, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	s = &Stream{client: c, op: op, traced: traced}
	if len(c.cfg.interceptors) > 0 || c.cfg.Retry.Attempts > 1 {
		opened = true // in any case it ends by itself
		return s.openIntercepted(ctx, &call)
	}
	defer func() {
		if !opened {
			c.pool.endCall()
		}
	}()
	t := c.newTurn(ctx, op, c.cfg.Timeout)
	if err := t.try(func() error { return t.open(newRequest, &call) }); err != nil {
		return nil, err
	}
	t.becomeStream()
	if !c.pool.adopt(s) {
		t.close(closedShutdown)
		return nil, t.fail(StageRead, ErrClosed)
	}
	opened = true
	returned := false
	defer func() {
		if !returned { // a method of the context has panicked
			_ = s.end(closedFailed, t.fail(StageRead, ErrStreamClosed))
		}
	}()
	if !s.begin(t, nil) { // the client was closed just now
		t.close(closedShutdown)
	}
	returned = true
	return s, nil
}

// becomeStream ends the bounds of the request: from now on the stream has its
// own.
func (t *turn) becomeStream() {
	t.conn.stopTimer()
	t.bound, t.timeout = "the timeout of the stream", t.client.cfg.StreamTimeout
}

// begin makes an attempt the one that is read. From now on the stream ends when
// the context of the attempt or the client does, even if it is not read any
// more. It reports whether the stream is not over and has no attempt yet.
func (s *Stream) begin(t *turn, first *dirty.Frame) bool {
	s.mu.Lock() // end waits until all is set
	defer s.mu.Unlock()
	if s.turn != nil || s.err != nil {
		return false
	}
	s.turn, s.first = t, first
	if limit := s.client.cfg.ReadAhead; limit > 0 {
		s.ahead = newReadAhead(limit)
		if first == nil || first.Type == dirty.TypeChunk {
			s.client.pool.run(s.readAhead)
		}
	}
	if t.stop != nil {
		t.stop()
		t.stop = context.AfterFunc(t.ctx, func() {
			_ = s.end(closedCancel, t.fail(StageRead, contextError(t.ctx)))
		})
	}
	return true
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
	if f.Type == dirty.TypeChunk {
		if err := s.decode(f, payload); err != nil {
			return zero, s.fail(StageDecode, err)
		}
		return payload.Data, nil
	}
	// A RESPONSE: the value of an action that does not stream. The payload is
	// valid until the lease ends.
	s.single = true
	var response responsePayload[T]
	err = s.decode(f, &response)
	_ = s.end(keep, io.EOF)
	if err != nil {
		return zero, s.fail(StageDecode, err)
	}
	return response.Result, nil
}

// decode decodes the payload of the frame that was just received.
func (s *Stream) decode(f dirty.Frame, v any) error {
	return s.client.cfg.hooks.Try(hookValue, func() error {
		o := s.client.decodeOptions()
		if s.ahead != nil { // the frame has memory of its own
			o.AliasBytes = true
			return o.UnmarshalPayload(f, v)
		}
		return s.turn.conn.buffer.UnmarshalPayload(o, v)
	})
}

// Single reports whether the peer answered with one value, because the action
// does not stream, and not with chunks. It is known after the first Recv, and
// false before that.
func (s *Stream) Single() bool { return s.single }

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
			yield(zero, &OpError{Operation: s.op, Stage: StagePrepare, Err: ErrStreamUsed})
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
//
// It waits until the interceptors of the stream have returned, but at most a
// second, and not if it is called from inside one.
func (s *Stream) Close() error {
	s.abort(closedCancel, ErrStreamClosed)
	if s.life != nil {
		s.life.wait()
	}
	return nil
}

// next returns the next CHUNK or RESPONSE, which is not yet decoded. At
// anything else it ends the stream and returns why.
func (s *Stream) next() (dirty.Frame, error) {
	if s.life == nil {
		return s.receive()
	}
	<-s.life.ready
	f, err := s.receive()
	if err != nil {
		err = s.report(err)
	}
	return f, err
}

// receive is next without a word of the interceptors.
func (s *Stream) receive() (dirty.Frame, error) {
	if err := s.ended(); err != nil {
		return dirty.Frame{}, err
	}
	f, err := s.frame()
	if ended := s.ended(); ended != nil { // meanwhile, by somebody else
		return f, ended
	}
	reason, err := s.turn.judge(f, err)
	if err != nil {
		return f, s.end(reason, err)
	}
	s.chunks.Add(1)
	if failure := s.client.cfg.tracers.chunk(s.turn.ctx, s.op, len(f.Payload)); failure != nil {
		return f, s.end(closedFailed, s.fail(StageRead, failure))
	}
	return f, nil
}

// judge says how a stream ends with a frame, or with an error of reading it; a
// CHUNK or a RESPONSE is no end yet.
func (t *turn) judge(f dirty.Frame, err error) (closeReason, error) {
	if err != nil {
		return t.explain(err)
	}
	switch f.Type {
	case dirty.TypeChunk, dirty.TypeResponse:
		return keep, nil
	case dirty.TypeEnd:
		return keep, io.EOF
	case dirty.TypeError:
		return keep, t.remote(f)
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
	}
	return closedProtocol, t.fail(StageRead, unexpected(f))
}

// frame returns the next frame of the stream.
func (s *Stream) frame() (dirty.Frame, error) {
	if s.first != nil {
		f := *s.first
		s.first = nil
		return f, nil
	}
	if s.ahead != nil {
		return s.ahead.take()
	}
	return s.turn.readWithin(false)
}

// readWithin reads the next frame within the timeout of the stream.
func (t *turn) readWithin(owned bool) (dirty.Frame, error) {
	return t.read(t.conn.readWithin(t.timeout, owned))
}

// fail makes an error of the stream.
func (s *Stream) fail(stage Stage, err error) error {
	sent := s.life == nil || s.life.chain.sent.Load()
	return &OpError{Operation: s.op, Stage: stage, Sent: sent, Err: err}
}

// ended returns why the stream is over, or nil.
func (s *Stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// abort ends the stream wherever it is.
func (s *Stream) abort(reason closeReason, why error) {
	stage := StageRead
	if s.life != nil && !s.life.chain.sent.Load() {
		stage = StageWait
	}
	err := s.end(reason, s.fail(stage, why))
	if s.life != nil {
		s.life.cancel(err)
	}
}

// end ends the stream, unless that was done before, and returns why it is over.
func (s *Stream) end(reason closeReason, err error) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	s.err = err
	t, ahead := s.turn, s.ahead
	s.mu.Unlock()
	if t != nil {
		t.close(reason)
	}
	if ahead != nil {
		ahead.close()
	}
	if s.life != nil {
		s.life.end(t == nil)
		return err
	}
	if failure := s.settle(err); failure != nil && err == io.EOF {
		err = s.fail(StageDecode, failure)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
	}
	return err
}

// settle tells how the stream ended, and counts it out. The error is that of a
// tracer.
func (s *Stream) settle(err error) error {
	defer s.client.pool.release(s)
	if err == io.EOF {
		err = nil
	}
	return s.traced.end(err, int(s.chunks.Load()))
}
