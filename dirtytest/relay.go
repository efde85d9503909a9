package dirtytest

import (
	"context"
	"net"

	"github.com/gunicorn-go/dirty"
)

// relay forwards frames between a client's connection and a connection to the real
// server that nobody else uses. The faults happen here. It does not decode answers.
type relay struct {
	server *Server
	number int
	ctx    context.Context
	front  net.Conn    // to the client
	back   *dirty.Conn // to the server
}

// serve forwards requests and their answers until either side ends the connection.
func (r *relay) serve(requests <-chan dirty.Frame) {
	for {
		select {
		case f := <-requests:
			if r.exchange(f) == hangUp {
				return
			}
		case <-r.ctx.Done():
			return
		}
	}
}

// readRequests reads the client's frames in the background. It reads while a
// request is handled, so that it notices at once when the client leaves. It calls
// gone when there are no more frames.
func (r *relay) readRequests(gone func()) <-chan dirty.Frame {
	frames := make(chan dirty.Frame)
	r.server.background.Go(func() {
		defer gone()
		in := dirty.NewReader(r.front)
		for {
			f, err := in.ReadFrame()
			if err != nil {
				return
			}
			select {
			case frames <- f:
			case <-r.ctx.Done():
				return
			}
		}
	})
	return frames
}

// exchange forwards a request and its answer.
func (r *relay) exchange(f dirty.Frame) verdict {
	request := Request{Frame: f, Conn: r.number}
	request.Message, request.Err = f.Message()
	r.server.recorder.add(request)

	x := &exchange{ctx: r.ctx, server: r.server, send: r.send, request: request}
	faults := r.server.faultsFor(request)
	for _, fault := range faults {
		if fault.request == nil {
			continue
		}
		switch fault.request(x) {
		case answer:
			return goOn
		case hang:
			<-r.ctx.Done()
			return hangUp
		case hangUp:
			return hangUp
		}
	}
	if r.back.WriteFrame(f) != nil {
		return hangUp
	}
	for {
		reply, err := r.back.ReadFrame()
		if err != nil {
			return hangUp // the server did so
		}
		b, err := reply.MarshalBinary()
		if err != nil {
			return hangUp
		}
		final := isFinal(b)
		if len(faults) == 0 {
			r.server.swapLast(b)
		}
		b, v := tamper(x, faults, b)
		if r.send(b) != nil {
			return hangUp
		}
		x.sent += len(b)
		x.frames++
		switch {
		case v == hangUp:
			return hangUp
		case v == hang:
			<-r.ctx.Done()
			return hangUp
		case final:
			return goOn
		}
	}
}

// tamper applies the faults to a frame of an answer. It returns the bytes to send
// and the worst verdict.
func tamper(x *exchange, faults []Fault, frame []byte) ([]byte, verdict) {
	worst := goOn
	for _, fault := range faults {
		if fault.reply == nil || len(frame) < dirty.HeaderSize {
			continue
		}
		var v verdict
		frame, v = fault.reply(x, frame)
		worst = max(worst, v)
	}
	return frame, worst
}

// send writes bytes to the client.
func (r *relay) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := r.front.Write(b)
	return err
}
