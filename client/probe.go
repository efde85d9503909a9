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
	speechKnown                     // ours, or nothing that we know: no more probes
	speechJSON                      // that of gunicorn 25.0
)

// probeTimeout bounds the probe for the JSON protocol: an arbiter answers it
// in a millisecond or two, or closes.
const probeTimeout = time.Second

// probe is a request in the protocol of gunicorn 25.0: a length of 4 bytes
// and JSON. It names no app, so nothing runs.
const probe = `{"type":"request","id":"probe","app_path":"","action":"","args":[],"kwargs":{}}`

// speaksJSON reports whether a peer that closed a new connection without an
// answer is an arbiter of gunicorn 25.0. It reads our header as a length that is
// too large, just as 25.1 and later would close on a bad frame; so it is asked in
// its own protocol, once, on another connection in place of this one.
func (t *turn) speaksJSON() bool {
	p, pool := t.conn.peer, t.client.pool
	speech := pool.speechOf(p)
	if speech == speechUnknown {
		t.conn.close()
		speech = speechKnown
		if t.client.answersJSON(t.ctx, p, t.deadline) {
			speech = speechJSON
		}
		pool.learn(p, speech)
	}
	return speech == speechJSON
}

func (c *Client) answersJSON(ctx context.Context, p peer, deadline time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	defer context.AfterFunc(c.pool.life, cancel)()
	nc, err := c.cfg.dial(ctx, p.path)
	if err != nil {
		return false
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	_ = nc.SetDeadline(deadline) // as for the call; the context's end closes
	request := binary.BigEndian.AppendUint32(nil, uint32(len(probe)))
	if _, err := nc.Write(append(request, probe...)); err != nil {
		return false
	}
	var answer [5]byte
	_, err = io.ReadFull(nc, answer[:])
	return err == nil && answer[4] == '{'
}

// speechOf returns what is known of a peer.
func (p *pool) speechOf(which peer) peerSpeech {
	p.mu.Lock()
	defer p.mu.Unlock()
	if which != p.current {
		return speechKnown // it is not ours any more
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
