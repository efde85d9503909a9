package client

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// streamLife is the life of a stream that has interceptors, or that WithRetry may
// repeat. A goroutine of its own runs the interceptors, from the opening of the
// stream to its end, and they make attempts. The first attempt whose first frame
// is good becomes the stream.
type streamLife struct {
	chain    chain
	ctx      context.Context
	cancel   context.CancelCauseFunc
	attempts sync.WaitGroup

	racing context.Context // ends when an attempt has become the stream, or it is over
	decide context.CancelCauseFunc

	tellSent sync.Once
	sent     chan struct{} // closed when a request was sent
	ready    chan struct{} // closed when the stream can be read, or is over
	over     chan struct{} // closed when it is over
	finished chan struct{} // closed when the interceptors have returned
	outcome  error         // what they returned; guarded by the mutex of the stream
}

// openIntercepted opens a stream inside all interceptors.
func (s *Stream) openIntercepted(ctx context.Context, call *CallInfo) (*Stream, error) {
	l := &streamLife{
		sent: make(chan struct{}), ready: make(chan struct{}), over: make(chan struct{}), finished: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.racing, l.decide = context.WithCancelCause(context.Background())
	l.chain.client, l.chain.attempt = s.client, s.attempt
	s.life = l
	if !s.client.pool.adopt(s) {
		err := s.fail(StagePrepare, ErrClosed)
		l.cancel(err)
		_ = s.settle(err)
		return nil, err
	}
	s.client.pool.run(func() { s.finish(l.chain.run(l.ctx, 0, call)) })
	select {
	case <-l.sent:
		return s, nil
	case <-l.finished:
	}
	select {
	case <-l.sent:
		return s, nil
	default:
		return nil, l.outcome
	}
}

// attempt sends the request and waits for the first frame. If that is good, and
// the first one of all attempts, the attempt becomes the stream. It returns
// when the stream is over, or before that if it failed and another one may take
// its place.
func (s *Stream) attempt(ctx context.Context, call *CallInfo) error {
	l := s.life
	if !s.enter() {
		return s.awaitEnd()
	}
	defer l.attempts.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(l.racing, func() { cancel(context.Cause(l.racing)) })
	defer stop()

	t := s.client.newTurn(ctx, s.op, s.client.cfg.Timeout)
	f, err := s.openAttempt(t, call)
	switch {
	case err != nil && l.racing.Err() != nil:
		return s.awaitEnd()
	case err != nil:
		return err
	case stop() && s.begin(t, &f):
		l.decide(errOtherAttempt)
		close(l.ready)
	default:
		t.close(closedCancel)
	}
	return s.awaitEnd()
}

// enter counts an attempt in. It reports whether one may still be made.
func (s *Stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn != nil || s.err != nil {
		return false
	}
	s.life.attempts.Add(1)
	return true
}

// openAttempt sends the request and reads the first frame, which is no error. On
// an error the lease has ended.
func (s *Stream) openAttempt(t *turn, call *CallInfo) (f dirty.Frame, err error) {
	err = t.try(func() (err error) {
		t.bound, t.timeout = callTimeout, s.client.cfg.Timeout
		if err := t.open(newRequest, call); err != nil {
			return err
		}
		good, reason := false, closedFailed // if reading does not return
		defer func() {
			if !good {
				t.close(reason)
			}
		}()
		s.life.chain.sent.Store(true)
		s.life.tellSent.Do(func() { close(s.life.sent) })
		t.becomeStream()
		f, err = t.readWithin(s.client.cfg.ReadAhead > 0)
		reason, err = t.judge(f, err)
		if err == io.EOF { // a stream without chunks
			err = nil
		}
		good = err == nil
		return err
	})
	return f, err
}

// awaitEnd waits for the end of the stream, and returns what interceptors are
// told of it.
func (s *Stream) awaitEnd() error {
	<-s.life.over
	if err := s.ended(); err != io.EOF {
		return err
	}
	return nil
}

// end notes that the stream is over.
func (l *streamLife) end(neverReady bool) {
	l.decide(errInterceptorReturned)
	close(l.over)
	if neverReady {
		close(l.ready)
	}
}

// finish is called with what the interceptors returned. Attempts that still run
// are cancelled, and waited for: they use the caller's arguments.
func (s *Stream) finish(err error) {
	l := s.life
	s.setOutcome(err)
	why := l.chain.fail(s.op, errInterceptorReturned)
	ended := s.end(closedCancel, why)
	l.attempts.Wait()
	if err == nil && (ended == why || s.wasLeft()) {
		err = ended // nil would look like a stream that is complete
	}
	if failure := s.settle(err); failure != nil && err == nil {
		err = s.fail(StageDecode, failure)
	}
	s.setOutcome(err)
	close(l.finished)
	l.cancel(nil)
}

// setOutcome sets what the reader gets at the end; nil is not known, or io.EOF.
func (s *Stream) setOutcome(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life.outcome = err
}

// wasLeft reports whether the stream ended because an interceptor returned.
func (s *Stream) wasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn != nil && context.Cause(s.turn.ctx) == errInterceptorReturned
}

// report returns what the reader gets at the end of the stream: the word of the
// interceptors, unless the stream was closed or cancelled before they have
// returned.
func (s *Stream) report(err error) error {
	l, finished := s.life, false
	select {
	case <-l.finished:
	case <-l.ctx.Done():
	}
	select {
	case <-l.finished:
		finished = true
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.outcome != nil:
		return l.outcome
	case finished:
		return io.EOF
	}
	return err
}

// wait waits until the interceptors have returned, as long as Close does.
func (l *streamLife) wait() {
	select {
	case <-l.finished:
		return
	default:
	}
	if insideHook() {
		return
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-l.finished:
	case <-timer.C:
	}
}
