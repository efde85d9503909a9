package client

import (
	"context"
	"encoding/binary"
	"io"
	"time"
)

// peerSpeech is what is known of an arbiter's protocol.
type peerSpeech int

const (
	speechUnknown peerSpeech = iota // nothing is known yet
	speechKnown                     // it is ours, or it is not JSON: no more probes
	speechJSON                      // that of gunicorn 25.0
)

// probeTimeout bounds the probe for the JSON protocol: an arbiter answers it
// in a millisecond or two, or closes.
const probeTimeout = time.Second

// probeRequest is a request in the protocol of gunicorn 25.0, where a length of 4
// bytes comes before the JSON. There is no such app, so nothing runs.
const probeRequest = `{"type":"request","id":"probe","app_path":"no:App","action":"x","args":[],"kwargs":{}}`

// speaksJSON reports whether a peer that closed a new connection without an
// answer is an arbiter of gunicorn 25.0. It reads our header as a length that is
// too large, just as 25.1 and later would close on a bad frame; so it is asked in
// its own protocol, once, on another connection in place of this one.
func (t *turn) speaksJSON() bool {
	p, pool := t.conn.peer, t.client.pool
	speech := pool.speechOf(p)
	if speech == speechUnknown {
		ctx := t.ctx
		if !t.deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, t.deadline)
			defer cancel()
		}
		speech = t.client.probe(ctx, t.conn)
		pool.learn(p, speech)
	}
	return speech == speechJSON
}

// probe asks a peer in JSON, when the old connection to it is closed. It knows
// no more than before if it was cut off by the end of the context.
func (c *Client) probe(outer context.Context, old *conn) peerSpeech {
	ctx, cancel := context.WithTimeout(outer, probeTimeout)
	defer cancel()
	defer context.AfterFunc(c.pool.life, cancel)()
	c.pool.run(old.close)
	select {
	case <-old.closed:
	case <-ctx.Done():
		return speechUnknown
	}
	nc, err := c.cfg.dialPath(ctx, old.peer.path)
	if err != nil {
		return speechUnknown
	}
	probe := newConn(nc, old.peer.path, c.cfg)
	defer c.pool.run(probe.close)
	defer context.AfterFunc(ctx, probe.closeFunc)()
	request := binary.BigEndian.AppendUint32(nil, uint32(len(probeRequest)))
	var answer [5]byte
	if _, err = probe.nc.Write(append(request, probeRequest...)); err == nil {
		_, err = io.ReadFull(probe.nc, answer[:])
	}
	switch {
	case err == nil && answer[4] == '{':
		return speechJSON
	case outer.Err() != nil:
		return speechUnknown
	}
	return speechKnown
}

// speechOf returns what is known of a peer.
func (p *pool) speechOf(which peer) peerSpeech {
	p.mu.Lock()
	defer p.mu.Unlock()
	if which != p.current {
		return speechKnown // another arbiter has taken its place: no probe
	}
	return p.speech
}

// learn notes what a peer speaks.
func (p *pool) learn(which peer, speech peerSpeech) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if which == p.current {
		p.speech = speech
	}
}
