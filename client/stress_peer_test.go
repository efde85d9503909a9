package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/require"
)

// stressPeer is an arbiter with all faults, at random. It notes on which calls
// it acted; they are numbered.
type stressPeer struct {
	links
	dir   string
	acted []atomic.Uint32
	stale chan []byte // replies that their callers did not get

	mu       sync.Mutex
	path     string
	listener net.Listener
	restarts int
}

func newStressPeer(t *testing.T, calls int) *stressPeer {
	p := &stressPeer{dir: shortTempDir(t), acted: make([]atomic.Uint32, calls), stale: make(chan []byte, 16)}
	p.restart(t)
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.cut()
		p.handlers.Wait()
	})
	return p
}

// restart moves to another path, as an arbiter that was killed does.
func (p *stressPeer) restart(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.cut()
	}
	p.restarts++
	p.path = filepath.Join(p.dir, strconv.Itoa(p.restarts))
	l, err := net.Listen("unix", p.path)
	require.NoError(t, err)
	p.listener = l
	p.handlers.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			p.start(nc, p.serve)
		}
	})
}

// resolve is a client.Resolver.
func (p *stressPeer) resolve(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.path, nil
}

// pipe is a client.Dialer for connections in memory.
func (p *stressPeer) pipe(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.start(theirs, p.serve)
	return ours, nil
}

func (p *stressPeer) serve(nc net.Conn) {
	c := dirty.NewConn(nc)
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return
		}
		id, fault := m.RequestID(), rand.N(250)
		switch fault { // before it acts
		case 0:
			return
		case 1:
			if c.WriteMessage(dirty.NewErrorReply(id, dirty.ErrNoWorkers)) != nil {
				return
			}
			continue
		}
		reply := p.act(m)
		switch fault {
		case 2:
			return
		case 3:
			_, _ = nc.Write(reply[:rand.N(len(reply))])
			return
		case 4: // as gunicorn up to 26.0 after a timeout
			select {
			case late := <-p.stale:
				p.late(reply)
				reply = late
			default:
				p.late(reply)
				continue
			}
		case 5:
			binary.BigEndian.PutUint64(reply[8:], id-1)
		case 6, 7, 8:
			time.Sleep(rand.N(3 * time.Millisecond))
		case 9: // lost
			p.late(reply)
			continue
		case 10:
			if r, ok := m.(*dirty.Request); !ok || r.Action != "stream" {
				reply = frames(dirty.NewChunk(id, -1))
			}
		case 11:
			reply = append(reply, frames(dirty.NewErrorReply(id, errors.New("second")))...)
		case 12:
			select {
			case late := <-p.stale:
				reply = append(reply, late...)
			default:
			}
		case 13:
			reply = frames(dirty.NewStatusRequest(id))
		case 14, 15:
			n := rand.N(len(reply))
			if _, err := nc.Write(reply[:n]); err != nil {
				return
			}
			reply = reply[n:]
		}
		if _, err := nc.Write(reply); err != nil {
			return
		}
	}
}

// late keeps a reply for somebody else.
func (p *stressPeer) late(reply []byte) {
	select {
	case p.stale <- reply:
	default:
	}
}

// act does what is asked, and returns the reply.
func (p *stressPeer) act(m dirty.Message) []byte {
	id := m.RequestID()
	switch m := m.(type) {
	case *dirty.Request:
		n := m.Args[0].(int64)
		p.acted[n].Add(1)
		if m.Action == "stream" {
			var b []byte
			for i := range stressChunks(int(n)) {
				b = append(b, frames(dirty.NewChunk(id, stressValue(int(n), i)))...)
			}
			return append(b, frames(dirty.NewEnd(id))...)
		}
		return frames(dirty.NewResponse(id, stressValue(int(n), 0)))
	case *dirty.StashRequest:
		n := m.Key.(int64)
		if m.Op == dirty.StashPut {
			p.acted[n].Add(1)
			return frames(dirty.NewResponse(id, true))
		}
		return frames(dirty.NewResponse(id, stressValue(int(n), 0)))
	}
	return frames(dirty.NewResponse(id, statusResult))
}

// stressValue is what belongs to a call, or to a chunk of one.
func stressValue(n, chunk int) int64 { return int64(n)<<16 ^ int64(chunk)<<8 ^ 0x5a }

// stressChunks is how many chunks a stream has.
func stressChunks(n int) int { return n % 7 }
