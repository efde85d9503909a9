package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jsonArbiter answers as an arbiter of gunicorn 25.0 does: a length of 4 bytes
// and JSON. A length over 64 MiB makes it close without a word.
func jsonArbiter(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > 64<<20 {
			return
		}
		request := make([]byte, n)
		if _, err := io.ReadFull(r, request); err != nil || !json.Valid(request) {
			return
		}
		reply := `{"type": "error", "id": "x", "error": {"error_type": "DirtyNoWorkersAvailableError"}}`
		if _, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// TestJSONArbiter: an arbiter of gunicorn 25.0 is named in the error.
func TestJSONArbiter(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			p := newPeer(t, jsonArbiter)
			c := p.client(t)
			for range 3 {
				err := op.call(context.Background(), c)
				require.ErrorIs(t, err, client.ErrUnsupportedPeer)
				requireOp(t, err, client.StageRead, true)
				assert.False(t, client.SafeToRetry(err), "it would be the same again")
				assert.False(t, isUnknown(err), "it cannot have acted on what it cannot read")
				assert.Contains(t, err.Error(), "25.0")
			}
			await(t, "the connections are closed", func() bool { return p.open() == 0 })
			s := c.Stats()
			assert.EqualValues(t, 3, s.Closed.Protocol)
			assert.Zero(t, s.Retries)
			assert.Equal(t, 4, p.connections(), "one for each call, and one probe")
		})
	}
}

// TestJSONArbiterDetails: it is recognised however it closes the first connection:
// in the middle of a large request, or with a reset.
func TestJSONArbiterDetails(t *testing.T) {
	unread := func(nc net.Conn) { // it closes with bytes unread, which is a reset
		var size [4]byte
		if _, err := io.ReadFull(nc, size[:]); err == nil && size[0] == 0 {
			_, _ = nc.Write([]byte{0, 0, 0, 2, '{', '}'})
		}
	}
	for name, serve := range map[string]func(net.Conn){"EOF": jsonArbiter, "reset": unread} {
		for what, arg := range map[string]any{"small": 1, "large": make([]byte, 20<<20)} {
			t.Run(name+"/"+what, func(t *testing.T) {
				c := newPeer(t, serve).client(t)
				for range 2 {
					_, err := c.Execute(context.Background(), app, "x", arg)
					require.ErrorIs(t, err, client.ErrUnsupportedPeer)
					assert.False(t, client.SafeToRetry(err))
					assert.False(t, isUnknown(err))
				}
			})
		}
	}
}

// TestForeignPeer: others that are no arbiter of ours, some by mistake in the
// path.
func TestForeignPeer(t *testing.T) {
	// says writes without being asked, and reads what comes.
	says := func(text string) func(net.Conn) {
		return func(nc net.Conn) {
			_, _ = io.WriteString(nc, text)
			mute(nc)
		}
	}
	// replies waits for a request first.
	replies := func(reply string) func(net.Conn) {
		return sending(func(uint64) []byte { return []byte(reply) })
	}
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		want  error
	}{
		{"HTTP", replies("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), dirty.ErrBadMagic},
		{"a server that speaks first", says("SSH-2.0-OpenSSH_9.6\r\n"), dirty.ErrBadMagic},
		{"Redis", replies("-ERR unknown command 'GD', with args beginning with:\r\n"), dirty.ErrBadMagic},
		{"TLS", replies("\x15\x03\x01\x00\x02\x02\x46 and some more"), dirty.ErrBadMagic},
		{"another version", replies("GD\x02\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), dirty.ErrBadVersion},
		{"an unknown type", replies("GD\x01\x7f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), dirty.ErrUnknownType},
		{"zeros", replies(string(make([]byte, 100))), dirty.ErrBadMagic},
		{"JSON without being asked", replies(`{"type": "response"}`), dirty.ErrBadMagic},
	} {
		for _, op := range operations {
			t.Run(tt.name+"/"+op.name, func(t *testing.T) {
				p := newPeer(t, tt.serve)
				c := p.client(t)
				err := op.call(context.Background(), c)
				require.ErrorIs(t, err, tt.want)
				requireOp(t, err, client.StageRead, true)
				assert.Equal(t, !op.reads, isUnknown(err))
				assert.Equal(t, client.ClosedStats{Protocol: 1}, c.Stats().Closed)
				assert.Equal(t, 1, p.connections(), "no probe, no retry")
				await(t, "the connection is closed", func() bool { return p.open() == 0 })
			})
		}
	}
}

// TestProbe: it is made on the first connection only, and is over soon. What it
// is told when it is not JSON does not matter: the call failed without an answer.
func TestProbe(t *testing.T) {
	isProbe := func(b []byte) bool { return bytes.Contains(b, []byte(`"id":"probe"`)) }
	for _, tt := range []struct {
		name   string
		answer func(nc net.Conn)
		took   time.Duration
		want   error
	}{
		{"is closed", func(net.Conn) {}, 0, io.ErrUnexpectedEOF},
		{"is not answered", mute, time.Second, io.ErrUnexpectedEOF},
		{"is answered in part", func(nc net.Conn) { _, _ = nc.Write([]byte{0, 0, 0, 9}) }, 0, io.ErrUnexpectedEOF},
		{"is answered in another way", func(nc net.Conn) { _, _ = nc.Write([]byte("HTTP/1.1 400\r\n")) }, 0, io.ErrUnexpectedEOF},
		{"is answered in JSON", func(nc net.Conn) { _, _ = nc.Write([]byte{0, 0, 0, 2, '{', '}'}) }, 0, client.ErrUnsupportedPeer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				probes := 0
				p := newPipePeer(t, func(nc net.Conn) {
					b := make([]byte, 1000)
					n, err := nc.Read(b)
					if err == nil && isProbe(b[:n]) {
						probes++
						assert.EqualValues(t, n-4, binary.BigEndian.Uint32(b), "its length")
						assert.True(t, json.Valid(b[4:n]), "%q", b[4:n])
						tt.answer(nc)
					}
				})
				c := p.client(t)
				for i := range 3 {
					begin := time.Now()
					_, err := c.Execute(context.Background(), app, "x")
					require.ErrorIs(t, err, tt.want)
					requireOp(t, err, client.StageRead, true)
					if i == 0 {
						assert.Equal(t, tt.took, time.Since(begin))
					}
				}
				synctest.Wait()
				assert.Equal(t, 1, probes)
			})
		})
	}
}

// TestNoProbe: who has answered in our protocol is not asked.
func TestNoProbe(t *testing.T) {
	var silent atomic.Bool
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if silent.Load() {
			return io.EOF
		}
		return arbiter(c, m)
	}))
	c := p.client(t, client.WithMaxIdle(0, 0))
	require.NoError(t, c.Ping(context.Background()))
	silent.Store(true)
	_, err := c.Execute(context.Background(), app, "x")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, 2, p.connections())
}

// TestProbeIsAConnection: it counts like the others.
func TestProbeIsAConnection(t *testing.T) {
	p := newPeer(t, jsonArbiter)
	d := &countingDialer{dial: func(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) }}
	c := p.client(t, client.WithDialer(d.Dial), client.WithMaxConns(1))
	require.ErrorIs(t, c.Ping(context.Background()), client.ErrUnsupportedPeer)
	open, _ := d.most()
	assert.Equal(t, 1, open)
}

// TestProbeEnds: a probe that is not answered holds up neither a cancelled call
// nor a client that is closed, nor one whose time is up; and a probe that cannot
// be dialled changes nothing.
func TestProbeEnds(t *testing.T) {
	// closing answers nothing; its second connection, the probe, stays open.
	closing := func() func(net.Conn) {
		var n atomic.Int32
		return func(nc net.Conn) {
			if n.Add(1) > 1 {
				mute(nc)
				return
			}
			_, _ = nc.Read(make([]byte, 1000))
		}
	}
	for _, tt := range []struct {
		name string
		opts []client.Option
		end  func(c *client.Client, cancel func())
		took time.Duration
		want error
	}{
		{"cancel", nil, func(_ *client.Client, cancel func()) { cancel() }, 500 * time.Millisecond, nil},
		{"close", nil, func(c *client.Client, _ func()) { _ = c.Close() }, 500 * time.Millisecond, nil},
		{"timeout", []client.Option{client.WithTimeout(300 * time.Millisecond)}, func(*client.Client, func()) {}, 300 * time.Millisecond, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPipePeer(t, closing()).client(t, tt.opts...)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				begin := time.Now()
				done := async(func() error {
					_, err := c.Execute(ctx, app, "x")
					assert.Equal(t, tt.took, time.Since(begin))
					return err
				})
				time.Sleep(500 * time.Millisecond)
				tt.end(c, cancel)
				err := <-done
				requireOp(t, err, client.StageRead, true)
				if tt.want != nil {
					assert.ErrorIs(t, err, tt.want)
				}
			})
		})
	}
	t.Run("and is made later", func(t *testing.T) {
		// A probe that was cut off has told nothing.
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			c := newPipePeer(t, func(nc net.Conn) {
				if time.Since(begin) < time.Second {
					time.Sleep(100 * time.Millisecond)
				}
				jsonArbiter(nc)
			}).client(t)
			ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
			defer cancel()
			_, err := c.Execute(ctx, app, "x")
			require.Error(t, err)
			time.Sleep(2 * time.Second)
			_, err = c.Execute(context.Background(), app, "x")
			require.ErrorIs(t, err, client.ErrUnsupportedPeer)
		})
	})
	t.Run("no dial", func(t *testing.T) {
		p := newPeer(t, closing())
		dials := 0
		c := p.client(t, client.WithDialer(func(_ context.Context, path string) (net.Conn, error) {
			if dials++; dials > 1 {
				return nil, fmt.Errorf("dialling: %w", syscall.ECONNREFUSED)
			}
			return net.Dial("unix", path)
		}))
		_, err := c.Execute(context.Background(), app, "x")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.False(t, errors.Is(err, syscall.ECONNREFUSED))
		assert.Equal(t, 2, dials)
	})
}
