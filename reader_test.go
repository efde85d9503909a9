package dirty_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script is a stream of steps. A step is bytes, which take as many reads as they
// need, or an error, which one read returns. The end is io.EOF.
type script struct {
	steps []any
	reads int
}

func (s *script) Read(b []byte) (int, error) {
	s.reads++
	if len(b) == 0 {
		return 0, nil
	}
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	switch step := s.steps[0].(type) {
	case error:
		s.steps = s.steps[1:]
		return 0, step
	default:
		data := step.([]byte)
		n := copy(b, data)
		if s.steps[0] = data[n:]; n == len(data) {
			s.steps = s.steps[1:]
		}
		return n, nil
	}
}

// TestReaderChunking checks that the messages are the same however the stream is cut
// into reads, and that frames and messages belong to the caller.
func TestReaderChunking(t *testing.T) {
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole":    func(r io.Reader) io.Reader { return r },
		"bytes":    iotest.OneByteReader,
		"half":     iotest.HalfReader,
		"data+EOF": iotest.DataErrReader,
		"random": func(r io.Reader) io.Reader {
			return &randomReader{r: r, rng: rand.New(rand.NewPCG(1, 2))}
		},
	} {
		messages := streamMessages()
		if name == "bytes" { // slow
			messages = messages[:5]
		}
		data := streamOf(t, messages...)
		for _, size := range []int{0, 1, 100, 4 << 20} {
			var opts []dirty.Option
			if size > 0 {
				opts = append(opts, dirty.WithBufferSize(size))
			}
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				r := dirty.NewReader(cut(bytes.NewReader(data)), opts...)
				var got []dirty.Message
				for range messages {
					m, err := r.ReadMessage()
					require.NoError(t, err)
					got = append(got, m)
				}
				assert.True(t, assert.ObjectsAreEqual(messages, got), "after all were read")
				assert.EqualValues(t, len(data), r.Offset())
				assert.Zero(t, r.Buffered())
				for range 2 {
					_, err := r.ReadMessage()
					assert.Equal(t, io.EOF, err)
				}

				r = dirty.NewReader(cut(bytes.NewReader(data)), opts...)
				var frames []dirty.Frame
				for i := range messages {
					var f dirty.Frame
					var err error
					if i%3 == 2 { // in turn with messages
						_, err = r.ReadMessage()
						f = dirty.Frame{}
					} else {
						f, err = r.ReadFrame()
					}
					require.NoError(t, err)
					frames = append(frames, f)
				}
				var again []byte
				for i, f := range frames {
					if i%3 == 2 {
						again = append(again, streamOf(t, messages[i])...)
						continue
					}
					assert.Len(t, f.Payload, int(f.Length))
					again, _ = f.AppendBinary(again)
				}
				assert.True(t, bytes.Equal(data, again))
				_, err := r.ReadFrame()
				assert.Equal(t, io.EOF, err)
			})
		}
	}
}

// randomReader reads a random number of bytes, sometimes none.
type randomReader struct {
	r   io.Reader
	rng *rand.Rand
}

func (c *randomReader) Read(b []byte) (int, error) {
	return c.r.Read(b[:min(len(b), c.rng.IntN(1+c.rng.IntN(100_000)))])
}

// TestReaderEOF ends a stream of two frames after every byte. Between frames that is
// io.EOF; elsewhere it is a framing fault, which every later call returns.
func TestReaderEOF(t *testing.T) {
	first := streamOf(t, dirty.NewChunk(1, "first"))
	data := append(first, streamOf(t, dirty.NewResponse(2, "second"))...)
	for cut := range len(data) + 1 {
		for _, opts := range [][]dirty.Option{nil, {dirty.WithBufferSize(1)}} {
			for kind, read := range map[string]func(r *dirty.Reader) error{
				"message": func(r *dirty.Reader) error { _, err := r.ReadMessage(); return err },
				"frame":   func(r *dirty.Reader) error { _, err := r.ReadFrame(); return err },
				"into":    func(r *dirty.Reader) error { _, err := r.ReadFrameInto(make([]byte, 100)); return err },
			} {
				r := dirty.NewReader(bytes.NewReader(data[:cut]), opts...)
				border := 0
				for _, n := range []int{len(first), len(data)} {
					if cut >= n {
						require.NoError(t, read(r))
						border = n
					}
				}
				err := read(r)
				assert.EqualValues(t, border, r.Offset())
				if cut == border {
					assert.Equal(t, io.EOF, err, "%s %d", kind, cut)
					continue
				}
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e, "%s %d", kind, cut)
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.NotErrorIs(t, err, io.EOF)
				assert.True(t, e.Fatal)
				if got := cut - border; got < dirty.HeaderSize {
					assert.EqualValues(t, []int64{dirty.HeaderSize, int64(got)}, []int64{e.Limit, e.Found})
				} else {
					assert.EqualValues(t, int64(got-dirty.HeaderSize), e.Found)
					assert.EqualValues(t, e.Header.Length, e.Limit)
					assert.NotZero(t, e.Header.RequestID)
				}
				assert.Same(t, err, read(r), "sticky")
			}
		}
	}
}

// TestReaderFaults checks that every later call returns a fault of a frame, and that
// after a fault of a payload the next frame is read.
func TestReaderFaults(t *testing.T) {
	good := streamOf(t, dirty.NewChunk(8, "good"))
	for name, bad := range map[string]struct {
		data []byte
		want error
	}{
		"magic":   {[]byte("XD\x01\x01000000000000"), dirty.ErrBadMagic},
		"version": {[]byte("GD\x00\x01000000000000"), dirty.ErrBadVersion},
		"type":    {[]byte("GD\x01\x00000000000000"), dirty.ErrUnknownType},
		"length":  {[]byte("GD\x01\x01\x04\x00\x00\x0100000000"), dirty.ErrTooLarge},
		"HTTP":    {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), dirty.ErrBadMagic},
	} {
		stream := bytes.NewReader(join(good, bad.data, good))
		r := dirty.NewReader(stream)
		_, err := r.ReadMessage()
		require.NoError(t, err)
		_, err = r.ReadMessage()
		var e *dirty.ProtocolError
		require.ErrorAs(t, err, &e, name)
		assert.ErrorIs(t, err, bad.want, name)
		assert.True(t, e.Fatal)
		_, again := r.ReadFrame()
		assert.Same(t, err, again)
		_, again = r.ReadMessage()
		assert.Same(t, err, again)
		assert.EqualValues(t, len(good), r.Offset())
	}
	for _, size := range []int{0, 16} { // in the window and past it
		var opts []dirty.Option
		if size > 0 {
			opts = append(opts, dirty.WithBufferSize(size))
		}
		bad := frame(dirty.TypeResponse, 7, dict1, key("result"), "\x07", strings.Repeat("x", 300))
		r := dirty.NewReader(bytes.NewReader(join(bad, good, bad, bad, good)), opts...)
		for i, ok := range []bool{false, true, false, false, true} {
			m, err := r.ReadMessage()
			if ok {
				require.NoError(t, err)
				assert.Equal(t, dirty.NewChunk(8, "good"), m)
				continue
			}
			var e *dirty.ProtocolError
			require.ErrorAs(t, err, &e, i)
			assert.False(t, e.Fatal)
			assert.EqualValues(t, 7, e.Header.RequestID)
			assert.Equal(t, "result", e.Path)
			assert.EqualValues(t, 32, e.Offset, "from the frame's header")
			assert.Nil(t, m)
		}
		_, err := r.ReadMessage()
		assert.Equal(t, io.EOF, err)
	}
}

// TestReaderResume checks that after a timeout anywhere in a frame the next call goes
// on, whichever call that is.
func TestReaderResume(t *testing.T) {
	stop := os.ErrDeadlineExceeded
	buf := make([]byte, 0, 2<<20)
	for _, m := range []dirty.Message{dirty.NewChunk(3, "small"), dirty.NewResponse(4, []byte(strings.Repeat("x", 100_000))), dirty.NewResponse(5, strings.Repeat("y", 1_200_000)), dirty.NewEnd(6)} {
		data := streamOf(t, m)
		tail := streamOf(t, dirty.NewEnd(99))
		for _, cut := range []int{0, 1, 15, 16, 17, 20, 4095, 4096, 5000, 65536, 70_000, 99_999, 1 << 20, 1<<20 + 16, len(data) - 1} {
			if cut >= len(data) || cut < 0 {
				continue
			}
			cuts := []any{data[:cut], stop, stop, data[cut:min(cut+3, len(data))], stop, data[min(cut+3, len(data)):], tail}
			for _, opts := range [][]dirty.Option{nil, {dirty.WithBufferSize(16)}, {dirty.WithBufferSize(1 << 20)}} {
				for calls := 0; calls < 27; calls += 1 + len(data)/100_000*2 { // three digits in base 3, each a method
					r := dirty.NewReader(&script{steps: dropEmpty(cuts)}, opts...)
					var got any
					var err error
					for n := calls; ; n /= 3 {
						switch n % 3 {
						case 0:
							got, err = r.ReadMessage()
						case 1:
							got, err = r.ReadFrame()
						default:
							got, err = r.ReadFrameInto(buf)
						}
						if err == nil {
							break
						}
						require.ErrorIs(t, err, stop, "cut %d of %d, calls %d", cut, len(data), calls)
						require.Zero(t, r.Offset())
						clear(buf[:cap(buf)][:200]) // the buffer is the caller's again
					}
					if f, ok := got.(dirty.Frame); ok {
						got, err = f.Message()
						require.NoError(t, err)
					}
					require.True(t, assert.ObjectsAreEqual(m, got), "cut %d of %d, calls %d", cut, len(data), calls)
					require.EqualValues(t, len(data), r.Offset())
					next, err := r.ReadMessage()
					for errors.Is(err, stop) { // the frame was complete before the last timeout
						next, err = r.ReadMessage()
					}
					require.NoError(t, err)
					require.Equal(t, dirty.NewEnd(99), next)
				}
				if cut > 1<<16 {
					break
				}
			}
		}
	}
}

// dropEmpty drops the steps that have no bytes.
func dropEmpty(steps []any) (kept []any) {
	for _, s := range steps {
		if b, ok := s.([]byte); !ok || len(b) > 0 {
			kept = append(kept, s)
		}
	}
	return kept
}

// TestReaderNextHeader checks that NextHeader consumes nothing, however often it is
// called and whichever method reads the frame.
func TestReaderNextHeader(t *testing.T) {
	messages := streamMessages()
	data := streamOf(t, messages...)
	for name, read := range map[string]func(r *dirty.Reader) (dirty.Message, error){
		"message": (*dirty.Reader).ReadMessage,
		"frame": func(r *dirty.Reader) (dirty.Message, error) {
			f, err := r.ReadFrame()
			if err != nil {
				return nil, err
			}
			return f.Message()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := dirty.NewReader(iotest.HalfReader(bytes.NewReader(data)))
			for _, want := range messages {
				offset := r.Offset()
				for range 2 {
					h, err := r.NextHeader()
					require.NoError(t, err)
					assert.Equal(t, want.Type(), h.Type)
					assert.Equal(t, want.RequestID(), h.RequestID)
					assert.EqualValues(t, len(streamOf(t, want))-dirty.HeaderSize, h.Length)
					assert.Equal(t, offset, r.Offset())
					assert.NotZero(t, r.Buffered())
				}
				got, err := read(r)
				require.NoError(t, err)
				assert.True(t, assert.ObjectsAreEqual(want, got))
			}
			_, err := r.NextHeader()
			assert.Equal(t, io.EOF, err)
		})
	}
	end := streamOf(t, dirty.NewEnd(1))
	r := dirty.NewReader(&script{steps: []any{end[:5], os.ErrDeadlineExceeded, end[5:], []byte("x")}})
	_, err := r.NextHeader()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	h, err := r.NextHeader()
	require.NoError(t, err)
	assert.Equal(t, dirty.Header{Type: dirty.TypeEnd, RequestID: 1}, h)
	_, err = r.ReadFrame()
	require.NoError(t, err)
	_, err = r.NextHeader()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, again := r.ReadMessage()
	assert.Same(t, err, again)
}

// TestReaderOtherErrors checks that errors of the stream are returned as they are.
func TestReaderOtherErrors(t *testing.T) {
	boom := errors.New("boom")
	data := streamOf(t, dirty.NewChunk(1, strings.Repeat("x", 1000)))
	for _, cut := range []int{0, 5, 16, 500, len(data)} {
		r := dirty.NewReader(&script{steps: dropEmpty([]any{data[:cut], boom, data[cut:]})})
		m, err := r.ReadMessage()
		if cut == len(data) {
			require.NoError(t, err)
			_, err = r.ReadMessage()
		}
		assert.Equal(t, boom, err)
		if cut < len(data) {
			m, err = r.ReadMessage()
			require.NoError(t, err)
		}
		assert.NotNil(t, m)
	}
	nothing := readerFunc(func([]byte) (int, error) { return 0, nil })
	for _, head := range [][]byte{nil, data[:3], data[:16], data[:100]} {
		for _, opts := range [][]dirty.Option{nil, {dirty.WithBufferSize(16)}} {
			r := dirty.NewReader(io.MultiReader(bytes.NewReader(head), nothing), opts...)
			_, err := r.ReadMessage()
			assert.Equal(t, io.ErrNoProgress, err)
			_, err = dirty.NewReader(io.MultiReader(bytes.NewReader(head), nothing), opts...).ReadFrame()
			assert.Equal(t, io.ErrNoProgress, err)
		}
	}
}

// TestReaderImpossibleCount checks that a stream which returns a count that cannot be
// is an error, wherever it does, and that nothing is read from it afterwards.
func TestReaderImpossibleCount(t *testing.T) {
	data := streamOf(t, dirty.NewChunk(1, strings.Repeat("x", 100_000)))
	for _, head := range [][]byte{nil, data[:3], data[:16], data[:50_000]} {
		for name, count := range map[string]func(b []byte) int{
			"negative": func([]byte) int { return -1 },
			"one more": func(b []byte) int { return len(b) + 1 },
			"huge":     func([]byte) int { return math.MaxInt },
		} {
			for how, read := range map[string]func(r *dirty.Reader) error{
				"ReadMessage":   func(r *dirty.Reader) error { _, err := r.ReadMessage(); return err },
				"ReadFrame":     func(r *dirty.Reader) error { _, err := r.ReadFrame(); return err },
				"ReadFrameInto": func(r *dirty.Reader) error { _, err := r.ReadFrameInto(make([]byte, 200_000)); return err },
				"NextHeader": func(r *dirty.Reader) error {
					if _, err := r.NextHeader(); err != nil {
						return err
					}
					_, err := r.ReadFrame()
					return err
				},
			} {
				t.Run(fmt.Sprintf("%d/%s/%s", len(head), name, how), func(t *testing.T) {
					reads := 0
					odd := readerFunc(func(b []byte) (int, error) { reads++; return count(b), nil })
					r := dirty.NewReader(io.MultiReader(bytes.NewReader(head), odd))
					err := read(r)
					require.ErrorContains(t, err, "says that it has read")
					assert.Equal(t, err, read(r))
					assert.Equal(t, 1, reads)
				})
			}
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestReaderHostileLength checks that a header alone does not make the Reader allocate
// memory for the whole payload.
func TestReaderHostileLength(t *testing.T) {
	header, err := dirty.Header{Type: dirty.TypeChunk, Length: dirty.MaxPayloadSize, RequestID: 1}.MarshalBinary()
	require.NoError(t, err)
	for name, read := range map[string]func(r *dirty.Reader) error{
		"message": func(r *dirty.Reader) error { _, err := r.ReadMessage(); return err },
		"frame":   func(r *dirty.Reader) error { _, err := r.ReadFrame(); return err },
		"into":    func(r *dirty.Reader) error { _, err := r.ReadFrameInto(make([]byte, 10)); return err },
		"reused": func(r *dirty.Reader) error {
			_, err := r.ReadFrameTo(&dirty.FrameBuffer{ReuseLarge: true})
			return err
		},
		"once": func(*dirty.Reader) error { _, err := dirty.ReadMessage(bytes.NewReader(header)); return err },
	} {
		var err error
		n := allocated(func() { err = read(dirty.NewReader(bytes.NewReader(header))) })
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		assert.LessOrEqual(t, n, uint64(1100<<10), name)
		n = allocated(func() { err = read(dirty.NewReader(&script{steps: []any{header, os.ErrDeadlineExceeded}})) })
		if name != "once" {
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded, name)
		}
		assert.LessOrEqual(t, n, uint64(1100<<10), name)
	}
	part := append(header, make([]byte, 3<<20)...) // memory grows by a factor of what has arrived
	n := allocated(func() { _, err = dirty.NewReader(bytes.NewReader(part)).ReadFrame() })
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.LessOrEqual(t, n, uint64(10<<20))

	limited := dirty.NewReader(bytes.NewReader(header), dirty.WithLimits(dirty.Limits{MaxPayload: 1000}))
	_, err = limited.ReadFrame()
	var e *dirty.ProtocolError
	require.ErrorAs(t, err, &e)
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
	assert.EqualValues(t, []int64{1000, 64 << 20, 1}, []int64{e.Limit, e.Found, int64(e.Header.RequestID)})
	at := frame(dirty.TypeChunk, 1, strings.Repeat("x", 1000))
	_, err = dirty.NewReader(bytes.NewReader(at), dirty.WithLimits(dirty.Limits{MaxPayload: 1000})).ReadFrame()
	assert.NoError(t, err)
	_, err = dirty.NewReader(bytes.NewReader(at), dirty.WithLimits(dirty.Limits{MaxPayload: 999})).ReadFrame()
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
}

// TestReadMessageOnce checks that ReadMessage reads no byte of the next frame.
func TestReadMessageOnce(t *testing.T) {
	messages := streamMessages()
	data := streamOf(t, messages...)
	for _, cut := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader} {
		stream := bytes.NewReader(append(data, "rest"...))
		end := 0
		for _, want := range messages {
			m, err := dirty.ReadMessage(cut(stream))
			require.NoError(t, err)
			assert.True(t, assert.ObjectsAreEqual(want, m))
			end += len(streamOf(t, want))
			assert.Equal(t, len(data)+4-end, stream.Len())
		}
		_, err := dirty.ReadMessage(stream)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = dirty.ReadMessage(stream)
		assert.Equal(t, io.EOF, err)
	}
}

func TestReaderBuffered(t *testing.T) {
	first, second := streamOf(t, dirty.NewChunk(1, "a")), streamOf(t, dirty.NewChunk(2, strings.Repeat("b", 100)))
	src := &script{steps: []any{join(first, second[:50]), os.ErrDeadlineExceeded, second[50:]}}
	r := dirty.NewReader(src)
	assert.Zero(t, r.Buffered())
	_, err := r.ReadMessage()
	require.NoError(t, err)
	assert.Equal(t, 50, r.Buffered(), "the peer has sent more")
	_, err = r.ReadMessage()
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Equal(t, 50, r.Buffered())
	assert.EqualValues(t, len(first), r.Offset())
	_, err = r.ReadFrame()
	require.NoError(t, err)
	assert.Zero(t, r.Buffered())
	assert.EqualValues(t, len(first)+len(second), r.Offset())
	assert.Equal(t, 3, src.reads, "as few calls as possible")
}

// TestReaderFrameInto checks that a buffer is used if it is large enough, and that
// nothing is allocated then.
func TestReaderFrameInto(t *testing.T) {
	data := frame(dirty.TypeChunk, 1, strings.Repeat("x", 100))
	src := bytes.NewReader(data)
	r := dirty.NewReader(src)
	for _, tt := range []struct {
		buf  []byte
		uses bool
	}{{nil, false}, {make([]byte, 0), false}, {make([]byte, 99), false}, {make([]byte, 0, 100), true}, {make([]byte, 500), true}} {
		src.Reset(data)
		f, err := r.ReadFrameInto(tt.buf)
		require.NoError(t, err)
		assert.Equal(t, dirty.RawValue(data[16:]), f.Payload)
		if tt.uses {
			assert.Same(t, &tt.buf[:1][0], &f.Payload[0])
		}
	}
	f := dirty.Frame{Payload: make(dirty.RawValue, 100)}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		src.Reset(data)
		var err error
		if f, err = r.ReadFrameInto(f.Payload[:0]); err != nil {
			panic(err)
		}
	}))
	large := frame(dirty.TypeChunk, 1, strings.Repeat("x", 300_000))
	f.Payload = make([]byte, 300_000)
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		src.Reset(large)
		var err error
		if f, err = r.ReadFrameInto(f.Payload[:0]); err != nil {
			panic(err)
		}
	}))
}
