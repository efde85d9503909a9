package dirty_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connPairs return the two ends of a connection, of each kind that a Conn is used
// with.
var connPairs = map[string]func(t testing.TB) (a, b net.Conn){
	"pipe": func(testing.TB) (a, b net.Conn) { return net.Pipe() },
	"unix": func(t testing.TB) (net.Conn, net.Conn) { a, b := unixPair(t); return a, b },
	"tcp":  tcpPair,
}

// tcpPair returns the two ends of a connection over the loopback interface.
func tcpPair(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	return a, b
}

// TestConnConcurrent reads and writes in both directions at once, from several
// goroutines. All frames stay whole.
func TestConnConcurrent(t *testing.T) {
	const writers, each = 4, 50
	for name, pair := range connPairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			ends := []*dirty.Conn{dirty.NewConn(a), dirty.NewConn(b)}
			defer ends[0].Close()
			defer ends[1].Close()
			payload := func(id uint64) any {
				if id%10 == 0 { // as a vectored write
					return []any{bytes.Repeat([]byte{byte(id)}, 40_000), int64(id)}
				}
				return []any{strings.Repeat("x", int(id)), int64(id)}
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for end, c := range ends {
				seen := map[uint64]bool{}
				for w := range writers {
					wg.Go(func() {
						for i := range each {
							id := uint64(w*each + i)
							var err error
							m := dirty.NewChunk(id, payload(id))
							if i%2 == 0 {
								err = c.WriteMessage(m)
							} else {
								var f dirty.Frame
								assert.NoError(t, f.UnmarshalBinary(streamOf(t, m)))
								err = c.WriteFrame(f)
							}
							assert.NoError(t, err)
						}
					})
				}
				for r := range 2 {
					wg.Go(func() {
						for range writers * each / 2 {
							var m dirty.Message
							var err error
							if r == 0 {
								m, err = c.ReadMessage()
							} else {
								var f dirty.Frame
								if f, err = c.ReadFrame(); err == nil {
									m, err = f.Message()
								}
							}
							if !assert.NoError(t, err) {
								return
							}
							id := m.RequestID()
							assert.Equal(t, payload(id), m.(*dirty.Chunk).Data)
							mu.Lock()
							assert.False(t, seen[id], "%d at end %d", id, end)
							seen[id] = true
							mu.Unlock()
						}
					})
				}
			}
			wg.Wait()
		})
	}
}

// TestConnClose checks that Close does not wait for calls that wait, and that these
// return net.ErrClosed.
func TestConnClose(t *testing.T) {
	for name, pair := range connPairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			defer b.Close()
			c := dirty.NewConn(a)
			assert.Same(t, a, c.NetConn())
			started, errs := make(chan bool, 2), make(chan error, 2)
			go func() {
				started <- true
				_, err := c.ReadMessage()
				errs <- err
			}()
			go func() {
				started <- true
				for {
					if err := c.WriteMessage(dirty.NewChunk(1, make([]byte, 1<<20))); err != nil {
						errs <- err
						return
					}
				}
			}()
			<-started
			<-started
			require.NoError(t, c.Close())
			for range 2 {
				assert.ErrorIs(t, <-errs, net.ErrClosed)
			}
			_, err := c.ReadFrame()
			assert.ErrorIs(t, err, net.ErrClosed)
			assert.ErrorIs(t, c.WriteFrame(dirty.Frame{Header: dirty.Header{Type: 1}}), net.ErrClosed)
		})
	}
}

// TestConnPeerCloses checks that the end of a stream is io.EOF only between two
// frames.
func TestConnPeerCloses(t *testing.T) {
	for name, pair := range connPairs {
		for _, cut := range []int{0, 5, 16, 20} {
			t.Run(fmt.Sprint(name, cut), func(t *testing.T) {
				a, b := pair(t)
				c := dirty.NewConn(a)
				defer c.Close()
				data := streamOf(t, dirty.NewChunk(1, "data"))
				go func() {
					_, err := b.Write(join(data, data[:cut]))
					assert.NoError(t, err)
					b.Close()
				}()
				_, err := c.ReadMessage()
				require.NoError(t, err)
				for range 2 {
					_, err = c.ReadMessage()
					if cut == 0 {
						assert.Equal(t, io.EOF, err)
					} else {
						assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
					}
				}
				assert.Error(t, c.WriteMessage(dirty.NewChunk(1, make([]byte, 1<<20))))
			})
		}
	}
}

// isTimeout reports whether err is a timeout, by both ways to ask.
func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &e) && e.Timeout()
}

// TestConnReadDeadline checks that a frame of which a part has arrived by the deadline
// is not lost, however large the part is.
func TestConnReadDeadline(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		data := streamOf(t, dirty.NewChunk(1, strings.Repeat("x", size)))
		for _, cut := range []int{0, 1, 15, 16, 17, len(data) / 2, len(data) - 1} {
			for _, frames := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					c := dirty.NewConn(a)
					defer c.Close()
					defer b.Close()
					go func() {
						_, err := b.Write(data[:cut])
						assert.NoError(t, err)
						time.Sleep(time.Minute) // takes no real time
						_, err = b.Write(data[cut:])
						assert.NoError(t, err)
					}()
					start := time.Now()
					read := func() error {
						if frames {
							f, err := c.ReadFrameInto(make([]byte, 200_000))
							assert.True(t, err != nil || string(f.Payload) == string(data[16:]))
							return err
						}
						m, err := c.ReadMessage()
						assert.True(t, err != nil || m.(*dirty.Chunk).Data == strings.Repeat("x", size))
						return err
					}
					for i := range 3 {
						require.NoError(t, c.SetReadDeadline(start.Add(time.Duration(i+1)*time.Second)))
						assert.True(t, isTimeout(read()))
						assert.Equal(t, time.Duration(i+1)*time.Second, time.Since(start))
					}
					require.NoError(t, c.SetReadDeadline(time.Time{}))
					assert.NoError(t, read())
					assert.Equal(t, time.Minute, time.Since(start))
				})
			}
		}
	}
}

// TestConnWriteDeadline checks that the connection can be used after a timeout only if
// no byte of the frame was written.
func TestConnWriteDeadline(t *testing.T) {
	for _, taken := range []int64{0, 1, 20} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			c := dirty.NewConn(a)
			defer c.Close()
			defer b.Close()
			start := time.Now()
			require.NoError(t, c.SetWriteDeadline(start.Add(time.Second)))
			go io.CopyN(io.Discard, b, taken)
			err := c.WriteMessage(dirty.NewChunk(1, "some data"))
			assert.True(t, isTimeout(err), "%v", err)
			assert.Equal(t, time.Second, time.Since(start))
			require.NoError(t, c.SetDeadline(time.Time{}))
			go io.Copy(io.Discard, b)
			again := c.WriteMessage(dirty.NewEnd(2))
			if taken == 0 {
				assert.NoError(t, again)
			} else {
				assert.Equal(t, err, again)
			}
		})
	}
}

// TestConnDeadlineInTurn checks that reads and writes have deadlines of their own, and
// that setting a deadline ends calls that are waiting.
func TestConnDeadlineInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, peer := dirty.NewConn(a), dirty.NewConn(b)
		defer c.Close()
		defer peer.Close()
		done := make(chan error)
		go func() { _, err := c.ReadMessage(); done <- err }()
		synctest.Wait() // it reads and holds the lock
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		go func() { _, err := peer.ReadMessage(); done <- err }()
		require.NoError(t, c.WriteMessage(dirty.NewEnd(1)), "while another reads")
		require.NoError(t, <-done)
		require.NoError(t, c.SetDeadline(time.Now()))
		assert.True(t, isTimeout(<-done))
		assert.True(t, isTimeout(c.WriteMessage(dirty.NewEnd(1))))
	})
}
