package client

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// Forward sends a frame to the arbiter as it is, and passes the answers to w as they
// are: for forwarders, which need no value decoded. f must be a REQUEST, a STASH, a
// STATUS or a MANAGE message; others are an [ErrInvalidArgument]. Its payload is not
// checked, and must not change before Forward returns.
//
// The frame goes out under an id of the client's own. The answers come to w with the id
// of f: one RESPONSE or ERROR, or any number of CHUNKs and then an END or ERROR. The
// payload is valid until w returns. w is called by one goroutine at a time, and not
// after Forward has returned. Large answers need not be held whole, see
// [Client.ForwardTo].
//
// An ERROR is an answer like any other: w gets it, and Forward returns nil. An error of
// w is returned as it is; w must not panic, see [ErrHookFailed]. In both cases the
// connection is closed, at which an action that streams stops. Other errors are an
// [*OpError]. After one that matches [ErrOutcomeUnknown] the peer may have acted.
//
// The time until the first answer has the bound of a call, see [WithTimeout]; after
// that the time between two answers has that of a stream, see [WithStreamTimeout]. The
// time that w takes has none. The client repeats a Forward only if nothing was written.
//
// Interceptors and tracers see an [Operation] of the name "forward", with the App and
// the Action of a REQUEST as they can be read from it. Of several attempts that an
// Interceptor makes, only the first one that is answered calls w; the others end as
// that one does.
func (c *Client) Forward(ctx context.Context, f dirty.Frame, w func(dirty.Frame) error) error {
	op, err := forwardOperation(f, w == nil)
	if err != nil {
		return err
	}
	return c.forward(ctx, op, &forwarding{frame: f, deliver: w})
}

// forwardOperation returns the operation for a frame that can be forwarded.
func forwardOperation(f dirty.Frame, isNil bool) (Operation, error) {
	op := Operation{Name: "forward"}
	switch f.Type {
	case dirty.TypeRequest:
		app, _ := dirty.View(f.Payload).Get("app_path").Text()
		action, _ := dirty.View(f.Payload).Get("action").Text()
		op.App, op.Action = string(app), string(action)
	case dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
		fallthrough
	default:
		err := fmt.Errorf("%w: a frame of type %v is no request", ErrInvalidArgument, f.Type)
		return op, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	if isNil {
		err := fmt.Errorf("%w: what takes the answers is nil", ErrInvalidArgument)
		return op, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	return op, nil
}

// forward is Forward and ForwardTo.
func (c *Client) forward(ctx context.Context, op Operation, fw *forwarding) error {
	fw.over = make(chan struct{})
	_, err := c.do(ctx, &exchange{call: CallInfo{Operation: op}, forward: fw})
	return err
}

// forwarding is a frame that is forwarded. Interceptors can make several attempts at
// one time, but only one of them delivers answers.
type forwarding struct {
	frame   dirty.Frame
	deliver func(dirty.Frame) error

	// deliverFrom takes large answers, in pieces. If it is nil, deliver does.
	deliverFrom func(dirty.Header, io.Reader) error

	answered atomic.Bool   // by the attempt that delivers
	over     chan struct{} // closed when that attempt has ended
	err      error         // how; after that
	chunks   int           // that were delivered; after that
	refused  error         // what deliver returned
}

// attempt makes an attempt, or waits for the one that delivers.
func (fw *forwarding) attempt(ctx context.Context, c *Client, op Operation) error {
	if fw.answered.Load() {
		return fw.await()
	}
	t := c.newTurn(ctx, op, c.cfg.Timeout)
	ours, returned := false, false // ours: this attempt delivers
	var err error
	defer func() {
		if !ours {
			return
		}
		if !returned { // deliver has ended the goroutine
			err = t.fail(StageRead, markFailure(usercode.NewFailure(hookForward, nil)))
		}
		fw.err = err
		close(fw.over)
	}()
	err = t.try(func() error { return t.forward(fw, &ours) })
	returned = true
	switch {
	case !ours && fw.answered.Load():
		return fw.await()
	case ours && err == nil:
		err = fw.refused // try must not see it: it could look like one to be repeated
	}
	return err
}

// await waits for the end of the attempt that delivers.
func (fw *forwarding) await() error {
	<-fw.over
	return fw.err
}

// forward sends the frame and delivers the answers, if no other attempt does. It sets
// ours before the first one.
func (t *turn) forward(fw *forwarding, ours *bool) error {
	t.bound, t.timeout = callTimeout, t.client.cfg.Timeout
	if err := t.openWith(func(*dirty.Writer) error {
		f := fw.frame
		f.RequestID = t.id
		return t.conn.writeFrame(f)
	}); err != nil {
		return err
	}
	end := closedFailed // if deliver panics or ends the goroutine
	defer func() {
		t.conn.inPieces = false
		t.close(end)
	}()
	t.conn.inPieces = fw.deliverFrom != nil
	f, err := t.readFirst()
	for err == nil {
		if !isAnswer(f.Type) {
			end = closedProtocol
			return t.fail(StageRead, unexpected(f))
		}
		if !*ours {
			if !fw.answered.CompareAndSwap(false, true) {
				end = closedCancel
				return nil
			}
			*ours = true
			t.becomeStream()
		}
		failure, broken := t.deliver(fw, f)
		if failure != nil || fw.refused != nil {
			return failure
		}
		if broken != nil {
			end, err = t.explain(broken)
			return err
		}
		if f.Type != dirty.TypeChunk {
			end = keep
			return nil
		}
		f, err = t.readWithin(false)
	}
	end, err = t.explain(err)
	return err
}

// delivered returns how many chunks were delivered.
func (fw *forwarding) delivered() int {
	if fw == nil {
		return 0
	}
	return fw.chunks
}

// isAnswer reports whether frames of a type answer a request.
func isAnswer(typ dirty.MessageType) bool {
	switch typ {
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
		return true
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
	}
	return false
}

// deliver passes an answer on. failure is that of a hook, broken that of the connection;
// what the function returned is in refused.
func (t *turn) deliver(fw *forwarding, f dirty.Frame) (failure, broken error) {
	if f.Type == dirty.TypeChunk {
		fw.chunks++
		if err := t.client.cfg.tracers.chunk(t.ctx, t.op, int(f.Length)); err != nil {
			return t.fail(StageRead, err), nil
		}
	}
	f.RequestID = fw.frame.RequestID
	err := t.client.cfg.hooks.Try(hookForward, func() (err error) {
		if t.conn.inPieces && passesInPieces(f.Header) {
			broken, err = t.passOn(fw, f.Header)
			return err
		}
		fw.refused = fw.deliver(f)
		return nil
	})
	if err != nil {
		return t.fail(StageRead, err), nil
	}
	return nil, broken
}
