package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frame makes a frame of any payload.
func frame(typ dirty.MessageType, id uint64, payload []byte) []byte {
	b, err := dirty.Header{Type: typ, Length: uint32(len(payload)), RequestID: id}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return append(b, payload...)
}

func encoded(v any) []byte {
	b, err := dirty.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func message(m dirty.Message) []byte {
	b, err := dirty.AppendMessage(nil, m)
	if err != nil {
		panic(err)
	}
	return b
}

// What breaks the frames closes the connection, without an answer and with a
// log line.
func TestBrokenFrames(t *testing.T) {
	header := func(change func(b []byte)) []byte {
		b := frame(dirty.TypeStatus, 1, nil)
		change(b)
		return b
	}
	for name, data := range map[string][]byte{
		"HTTP":         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"JSON":         []byte("\x00\x00\x00\x10{\"type\": \"request\"}"),
		"bad magic":    header(func(b []byte) { b[0] = 'X' }),
		"bad version":  header(func(b []byte) { b[2] = 2 }),
		"unknown type": header(func(b []byte) { b[3] = 0x7f }),
		"type 0":       header(func(b []byte) { b[3] = 0 }),
		"too large":    header(func(b []byte) { binary.BigEndian.PutUint32(b[4:], 64<<20+1) }),
		"largest":      header(func(b []byte) { binary.BigEndian.PutUint32(b[4:], 1<<32-1) }),
		"zeros":        make([]byte, 100),
	} {
		t.Run(name, func(t *testing.T) {
			var log record
			s := &server.Server{Logger: log.logger()}
			path := start(t, s)
			c := dial(t, path)
			usable(t, c)
			_, err := c.NetConn().Write(data)
			require.NoError(t, err)
			closed(t, c)
			eventually(t, "the log line", func() bool { return strings.Contains(log.String(), "does not speak the protocol") })
			assert.EqualValues(t, 1, s.Stats().Faults)
			usable(t, dial(t, path))
		})
	}
}

// What breaks a payload is answered, and the connection lives.
func TestBrokenPayloads(t *testing.T) {
	request := func(v any) []byte { return frame(dirty.TypeRequest, 5, encoded(v)) }
	for name, data := range map[string][]byte{
		"not a value":        frame(dirty.TypeRequest, 5, []byte{0xff}),
		"cut short":          frame(dirty.TypeRequest, 5, []byte{byte(dirty.KindString), 0, 0, 0, 9, 'x'}),
		"trailing bytes":     frame(dirty.TypeRequest, 5, append(encoded(map[string]any{}), 0)),
		"invalid UTF-8":      frame(dirty.TypeRequest, 5, []byte{byte(dirty.KindString), 0, 0, 0, 1, 0xff}),
		"a huge count":       frame(dirty.TypeRequest, 5, []byte{byte(dirty.KindList), 0xff, 0xff, 0xff, 0xff}),
		"a list":             request([]any{1, 2}),
		"None":               request(nil),
		"args a number":      request(kw{"app_path": app, "action": "do", "args": 5}),
		"kwargs a list":      request(kw{"app_path": app, "action": "do", "kwargs": []any{1}}),
		"app_path a number":  request(kw{"app_path": 5}),
		"action bytes":       request(kw{"app_path": app, "action": []byte("x")}),
		"stash: not a dict":  frame(dirty.TypeStash, 5, encoded([]any{1})),
		"stash: garbage":     frame(dirty.TypeStash, 5, []byte("garbage")),
		"stash: bad key":     frame(dirty.TypeStash, 5, []byte{byte(dirty.KindDict), 0, 0, 0, 1, byte(dirty.KindNone), 0}),
		"stash: trailing":    frame(dirty.TypeStash, 5, append(encoded(kw{"op": 9}), 0)),
		"stash: cut short":   frame(dirty.TypeStash, 5, encoded(kw{"op": 9})[:10]),
		"stash: key too big": frame(dirty.TypeStash, 5, []byte{byte(dirty.KindDict), 0, 0, 0, 1, byte(dirty.KindString), 0xff, 0xff, 0xff, 0xff}),
		"manage: op text":    frame(dirty.TypeManage, 5, encoded(kw{"op": "add"})),
		"manage: count text": frame(dirty.TypeManage, 5, encoded(kw{"op": 1, "count": "x"})),
	} {
		t.Run(name, func(t *testing.T) {
			c := connectTo(t, echo)
			_, err := c.NetConn().Write(data)
			require.NoError(t, err)
			m := receive(t, c)
			assert.EqualValues(t, 5, m.RequestID())
			assert.ErrorIs(t, failed(t, m), dirty.ErrPeerProtocol)
			usable(t, c)
		})
	}
}

// TestEveryMessageType checks what the server answers to each type that the
// protocol knows. A type that is added must be added here.
func TestEveryMessageType(t *testing.T) {
	noQuestion := func(typ string) dirty.Message {
		return dirty.NewErrorReply(3, &dirty.RemoteError{Type: "DirtyWorkerError", Message: "Unknown message type: " + typ, Details: map[string]any{}})
	}
	stash := dirty.NewErrorReply(3, &dirty.RemoteError{Type: "DirtyError", Message: "Unknown stash operation: None", Details: map[string]any{}})
	manage := dirty.NewErrorReply(3, &dirty.RemoteError{Type: "DirtyError", Message: "Unknown manage operation: 0", Details: map[string]any{}})
	want := map[dirty.MessageType]dirty.Message{
		dirty.TypeRequest:  dirty.NewResponse(3, nil),
		dirty.TypeResponse: noQuestion("response"),
		dirty.TypeError:    noQuestion("error"),
		dirty.TypeChunk:    noQuestion("chunk"),
		dirty.TypeEnd:      noQuestion("end"),
		dirty.TypeStash:    stash,
		dirty.TypeStatus:   dirty.NewResponse(3, "status"),
		dirty.TypeManage:   manage,
	}
	c := connect(t, &server.Server{Handler: server.HandlerFunc(echo), Status: func(context.Context) (any, error) { return "status", nil }})
	known := 0
	for typ := range 256 {
		typ := dirty.MessageType(typ)
		if strings.HasPrefix(typ.String(), "MessageType(") {
			continue
		}
		known++
		_, err := c.NetConn().Write(frame(typ, 3, nil))
		require.NoError(t, err)
		assert.Equal(t, want[typ], receive(t, c), typ.String())
	}
	assert.Len(t, want, known)
}

// Keys of the payload that are named like fields of the header are data.
func TestHeaderDecides(t *testing.T) {
	c := connectTo(t, echo)
	_, err := c.NetConn().Write(frame(dirty.TypeRequest, 7, encoded(kw{"type": "status", "id": 99, "app_path": app, "args": []any{1}})))
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(7, []any{int64(1)}), receive(t, c))
}

// Fields that are left out have gunicorn's defaults.
func TestLeftOutFields(t *testing.T) {
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond([]any{r.AppPath, r.Action, len(r.Args), len(r.Kwargs)})
	})
	for name, payload := range map[string][]byte{
		"no payload": nil,
		"{}":         encoded(kw{}),
		"None":       encoded(kw{"app_path": nil, "action": nil, "args": nil, "kwargs": nil}),
	} {
		_, err := c.NetConn().Write(frame(dirty.TypeRequest, 7, payload))
		require.NoError(t, err)
		assert.Equal(t, dirty.NewResponse(7, []any{"", "", int64(0), int64(0)}), receive(t, c), name)
	}
}

// The ids of all kinds of messages come back.
func TestIDs(t *testing.T) {
	c := connectTo(t, echo)
	for _, id := range []uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, m := range []dirty.Message{
			dirty.NewRequest(id, app, "do", nil, nil), dirty.NewStatusRequest(id), dirty.NewEnd(id),
			dirty.NewStashRequest(id, dirty.StashTables, "", nil, nil, ""), dirty.NewManageRequest(id, dirty.ManageAdd, 1),
		} {
			assert.Equal(t, id, ask(t, c, m).RequestID())
		}
	}
}

// A client that sends byte by byte is served as others are.
func TestByteByByte(t *testing.T) {
	c := connectTo(t, echo)
	for _, b := range message(dirty.NewRequest(1, app, "do", []any{"x"}, nil)) {
		_, err := c.NetConn().Write([]byte{b})
		require.NoError(t, err)
	}
	assert.Equal(t, dirty.NewResponse(1, []any{"x"}), receive(t, c))
}

// Clients that leave in the middle of a frame leave nothing behind.
func TestHalfFrames(t *testing.T) {
	path := start(t, &server.Server{Handler: server.HandlerFunc(echo)})
	whole := message(dirty.NewRequest(1, app, "do", []any{"x"}, nil))
	for n := range whole {
		c := dial(t, path)
		_, err := c.NetConn().Write(whole[:n])
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	usable(t, dial(t, path))
}

// inBubble serves one connection with fake time. Afterwards nothing runs.
func inBubble(t *testing.T, s *server.Server, test func(t *testing.T, nc net.Conn, served <-chan error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(context.Background(), theirs) }()
		test(t, ours, served)
		_ = ours.Close()
	})
}

// A frame that has begun must become complete in time; an idle connection may
// wait for ever.
func TestFrameTimeout(t *testing.T) {
	whole := message(dirty.NewRequest(1, app, "do", []any{"x"}, nil))
	var log record
	inBubble(t, &server.Server{Handler: server.HandlerFunc(echo), Logger: log.logger()},
		func(t *testing.T, nc net.Conn, served <-chan error) {
			c := dirty.NewConn(nc)
			exchange := func(pause time.Duration) {
				for _, b := range whole {
					_, err := nc.Write([]byte{b})
					require.NoError(t, err)
					time.Sleep(pause)
				}
				m, err := c.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, dirty.NewResponse(1, []any{"x"}), m)
			}
			time.Sleep(100 * time.Hour)
			exchange(0)
			time.Sleep(100 * time.Hour)
			exchange(29 * time.Second / time.Duration(len(whole)))
			time.Sleep(time.Hour)
			begin := time.Now()
			_, err := nc.Write(whole[:1])
			require.NoError(t, err)
			require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
			require.Equal(t, server.DefaultFrameTimeout, time.Since(begin))
			_, err = nc.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		})
	assert.Contains(t, log.String(), "a frame took too long")

	for _, n := range []int{16, 17, len(whole) - 1} {
		inBubble(t, &server.Server{Handler: server.HandlerFunc(echo), FrameTimeout: time.Second},
			func(t *testing.T, nc net.Conn, served <-chan error) {
				begin := time.Now()
				go func() {
					for _, b := range whole[:n] {
						_, _ = nc.Write([]byte{b})
					}
				}()
				require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
				require.Equal(t, time.Second, time.Since(begin))
			})
	}
	inBubble(t, &server.Server{Handler: server.HandlerFunc(echo), FrameTimeout: -1},
		func(t *testing.T, nc net.Conn, served <-chan error) {
			_, err := nc.Write(whole[:20])
			require.NoError(t, err)
			time.Sleep(100 * time.Hour)
			_, err = nc.Write(whole[20:])
			require.NoError(t, err)
			_, err = dirty.NewConn(nc).ReadMessage()
			require.NoError(t, err)
			require.NoError(t, nc.Close())
			require.NoError(t, <-served)
		})
}

// A frame that begins in the read of the one before has its time as well.
func TestFrameTimeoutOfBufferedFrame(t *testing.T) {
	whole := message(dirty.NewRequest(1, app, "do", nil, nil))
	inBubble(t, &server.Server{Handler: server.HandlerFunc(echo)}, func(t *testing.T, nc net.Conn, served <-chan error) {
		go func() { _, _ = nc.Write(append(bytes.Clone(whole), whole[:20]...)) }()
		c := dirty.NewConn(nc)
		_, err := c.ReadMessage()
		require.NoError(t, err)
		begin := time.Now()
		require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
		require.Equal(t, server.DefaultFrameTimeout, time.Since(begin))
	})
}

// A client that does not read is given up, and its handler told.
func TestWriteTimeout(t *testing.T) {
	var told chan error // of the bubble
	s := &server.Server{Handler: server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		var err error
		for err == nil {
			err = w.Chunk("x")
		}
		told <- err
		told <- context.Cause(ctx)
		return err
	})}
	inBubble(t, s, func(t *testing.T, nc net.Conn, served <-chan error) {
		told = make(chan error, 2)
		begin := time.Now()
		require.NoError(t, dirty.WriteMessage(nc, dirty.NewRequest(1, app, "do", nil, nil)))
		require.ErrorIs(t, <-told, os.ErrDeadlineExceeded)
		require.ErrorIs(t, <-told, os.ErrDeadlineExceeded)
		require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
		took := time.Since(begin)
		require.GreaterOrEqual(t, took, server.DefaultWriteTimeout)
		require.LessOrEqual(t, took, server.DefaultWriteTimeout*5/4)
	})
}

// TestHalfAFrameBehindARequest checks that a frame which never becomes complete
// does not take the reply to the one before away.
func TestHalfAFrameBehindARequest(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		time.Sleep(time.Hour) // longer than the timeout
		return w.Respond("x")
	})}
	inBubble(t, s, func(t *testing.T, nc net.Conn, served <-chan error) {
		c := dirty.NewConn(nc)
		send(t, c, "do")
		_, err := nc.Write(message(dirty.NewStatusRequest(2))[:5])
		require.NoError(t, err)
		require.Equal(t, dirty.NewResponse(1, "x"), receive(t, c))
		require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
	})
}

// A slow reader has the timeout for each frame, not for all of them.
func TestSlowReader(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		for range 20 {
			if err := w.Chunk("x"); err != nil {
				return err
			}
		}
		return nil
	})}
	inBubble(t, s, func(t *testing.T, nc net.Conn, served <-chan error) {
		require.NoError(t, dirty.WriteMessage(nc, dirty.NewRequest(1, app, "do", nil, nil)))
		for range 20 {
			time.Sleep(server.DefaultWriteTimeout - time.Second)
			m, err := dirty.ReadMessage(nc)
			require.NoError(t, err)
			require.Equal(t, dirty.NewChunk(1, "x"), m)
		}
		m, err := dirty.ReadMessage(nc)
		require.NoError(t, err)
		require.Equal(t, dirty.NewEnd(1), m)
		require.NoError(t, nc.Close())
		require.NoError(t, <-served)
	})
}

// Many clients with garbage, half frames and slow bytes at once; others are
// served meanwhile.
func TestHostileCrowd(t *testing.T) {
	var served atomic.Int64
	s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		served.Add(1)
		return w.Respond(1)
	})}
	path := start(t, s)
	whole := message(dirty.NewRequest(1, app, "do", nil, nil))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := net.Dial("unix", path)
				if err != nil { // the backlog is full
					runtime.Gosched()
					continue
				}
				var answer [1]byte
				switch i % 4 {
				case 0:
					_, _ = nc.Write([]byte("garbage, and a lot of it, without any end"))
					_, _ = nc.Read(answer[:]) // until it is closed
				case 1:
					_, _ = nc.Write(whole[:len(whole)/2])
				case 2:
					_, _ = nc.Write(bytes.Repeat(whole, 50)) // and does not read
				case 3:
					_, _ = nc.Write(frame(dirty.TypeRequest, 1, []byte{0xff}))
					_, _ = nc.Read(answer[:])
				}
				_ = nc.Close()
			}
		})
	}
	c := newClient(t, path)
	for range 300 {
		v, err := c.Execute(ctx, app, "do")
		require.NoError(t, err)
		require.EqualValues(t, 1, v)
	}
	close(stop)
	wg.Wait()
	_ = c.Close()
	eventually(t, "all connections are gone", func() bool { return s.Stats().Conns == 0 })
	assert.Zero(t, s.Stats().Panics)
}
