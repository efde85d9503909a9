package transport

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// The app and the actions that the children serve.
const (
	app          = "bench:App"
	echoAction   = "echo"
	chunksAction = "chunks"
)

// The ways to produce a stream of chunks.
const (
	serveLibrary  = "server.Server"
	serveFrames   = "WriteFrame each"
	serveMessages = "WriteMessage each"
	serveGathered = "AppendMessage, gathered in 64 KiB"
	servePrepared = "prepared frames, gathered in 64 KiB"
)

func init() {
	services[serveLibrary] = serveWithLibrary
	services[serveFrames] = onEach(produce(eachFrame))
	services[serveMessages] = onEach(produce(eachMessage))
	services[serveGathered] = onEach(produce(gathered(func(chunk dirty.Message) (appender, error) {
		return func(b []byte) ([]byte, error) { return dirty.AppendMessage(b, chunk) }, nil
	})))
	services[servePrepared] = onEach(produce(gathered(func(chunk dirty.Message) (appender, error) {
		f, err := frameOf(chunk)
		return f.AppendBinary, err
	})))
}

// chunksArgs are the arguments of a call that streams.
type chunksArgs struct{ Count, Size int }

// serveWithLibrary is the library's own server.
func serveWithLibrary(_ job, l net.Listener) error {
	mux := server.NewMux()
	mux.Handle(app, echoAction, server.Func(func(_ context.Context, text string) (string, error) { return text, nil }))
	mux.Handle(app, chunksAction, server.StreamFunc(func(_ context.Context, a chunksArgs) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			data := make([]byte, a.Size)
			for range a.Count {
				if !yield(data, nil) {
					return
				}
			}
		}
	}))
	return (&server.Server{Handler: mux}).Serve(l)
}

// producer writes the chunk count times.
type producer func(c *dirty.Conn, nc net.Conn, chunk dirty.Message, count int) error

// produce answers calls of chunksAction with what send writes.
func produce(send producer) func(job, *net.UnixConn) error {
	return func(_ job, nc *net.UnixConn) error {
		c := dirty.NewConn(nc)
		for {
			m, err := c.ReadMessage()
			if err != nil {
				return err
			}
			r, ok := m.(*dirty.Request)
			if !ok || len(r.Args) != 2 {
				return errors.New("not a request for chunks")
			}
			count, size := r.Args[0].(int64), r.Args[1].(int64)
			if err := send(c, nc, dirty.NewChunk(r.ID, make([]byte, size)), int(count)); err != nil {
				return err
			}
			if err := c.WriteMessage(dirty.NewEnd(r.ID)); err != nil {
				return err
			}
		}
	}
}

func eachFrame(c *dirty.Conn, _ net.Conn, chunk dirty.Message, count int) error {
	f, err := frameOf(chunk)
	if err != nil {
		return err
	}
	for range count {
		if err := c.WriteFrame(f); err != nil {
			return err
		}
	}
	return nil
}

func eachMessage(c *dirty.Conn, _ net.Conn, chunk dirty.Message, count int) error {
	for range count {
		if err := c.WriteMessage(chunk); err != nil {
			return err
		}
	}
	return nil
}

// appender appends one chunk to b.
type appender func(b []byte) ([]byte, error)

// gathered returns a producer that gathers chunks in large writes.
func gathered(prepare func(chunk dirty.Message) (appender, error)) producer {
	const enough = 64 << 10
	return func(_ *dirty.Conn, nc net.Conn, chunk dirty.Message, count int) error {
		add, err := prepare(chunk)
		if err != nil {
			return err
		}
		buf := make([]byte, 0, enough+4096)
		for range count {
			if buf, err = add(buf); err != nil {
				return err
			}
			if len(buf) >= enough {
				if _, err := nc.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
		}
		_, err = nc.Write(buf)
		return err
	}
}

// frameOf returns the frame of a message.
func frameOf(m dirty.Message) (f dirty.Frame, err error) {
	b, err := dirty.AppendMessage(nil, m)
	if err != nil {
		return f, err
	}
	err = f.UnmarshalBinary(b)
	return f, err
}

// The ways to read a stream.
const (
	readFrames  = "ReadFrameInto"
	readLibrary = "client.Stream"
)

// streamCase returns the name of a way from end to end.
func streamCase(produced, read string) string { return produced + " → " + read }

var streamWays = []struct{ produced, read string }{
	{serveFrames, readFrames},
	{serveMessages, readFrames},
	{serveGathered, readFrames},
	{servePrepared, readFrames},
	{serveLibrary, readFrames},
	{serveFrames, readLibrary},
	{serveGathered, readLibrary},
	{serveLibrary, readLibrary},
}

// streams measures chunks, which go one way.
func (p plan) streams(place string, r *Results) error {
	for _, size := range []int{100, 1600} {
		empty, err := frameSize(dirty.NewChunk(1, []byte{}))
		if err != nil {
			return err
		}
		err = withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, way := range streamWays {
				c, err := peers.start(job{Serve: way.produced})
				if err != nil {
					return err
				}
				read := peers.frameReader
				if way.read == readLibrary {
					read = peers.streamReader
				}
				run, err := read(c, size-empty)
				if err != nil {
					return err
				}
				cases = append(cases, rounds.Case{Name: streamCase(way.produced, way.read), Run: run})
			}
			results, err := p.measure(cases)
			r.streams = append(r.streams, set{place: place, size: size, results: results})
			return err
		})
		if err != nil {
			return fmt.Errorf("stream of %d bytes a frame: %w", size, err)
		}
	}
	return nil
}

// frameReader returns a function that asks for n chunks of a size and reads their
// frames.
func (p *peers) frameReader(c *peer, size int) (func(n int) error, error) {
	nc, err := p.dial(c)
	if err != nil {
		return nil, err
	}
	conn, id := dirty.NewConn(nc), uint64(0)
	var f dirty.Frame
	return func(n int) error {
		id++
		if err := conn.WriteMessage(dirty.NewRequest(id, app, chunksAction, []any{n, size}, nil)); err != nil {
			return err
		}
		for got := 0; ; got++ {
			if f, err = conn.ReadFrameInto(f.Payload[:0]); err != nil {
				return err
			}
			if f.Type != dirty.TypeChunk {
				return checkCount(got, n, f.Type)
			}
		}
	}, nil
}

// checkCount says whether as many chunks as wanted came, and then an END.
func checkCount(got, want int, last dirty.MessageType) error {
	if got != want || last != dirty.TypeEnd {
		return fmt.Errorf("%d chunks and then %v, not %d and END", got, last, want)
	}
	return nil
}

// streamReader does what frameReader does, with the library's client.
func (p *peers) streamReader(c *peer, size int) (func(n int) error, error) {
	caller, err := p.client(c, 1)
	if err != nil {
		return nil, err
	}
	return func(n int) error {
		got := 0
		for chunk, err := range caller.Stream(context.Background(), app, chunksAction, n, size) {
			if err != nil {
				return err
			}
			if data, ok := chunk.([]byte); !ok || len(data) != size {
				return errors.New("a chunk of another size")
			}
			got++
		}
		return checkCount(got, n, dirty.TypeEnd)
	}, nil
}

// client returns a client that keeps so many connections to a child.
func (p *peers) client(c *peer, conns int) (*client.Client, error) {
	caller, err := client.New(client.WithSocket(c.path), client.WithMaxConns(conns), client.WithMaxIdle(conns, time.Hour))
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, caller)
	return caller, nil
}
