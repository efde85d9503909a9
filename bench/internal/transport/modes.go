package transport

import (
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/gunicorn-go/dirty"
)

// end is one end of a connection, on which frames of one size go to and fro.
type end interface {
	write() error    // writes the frame
	read() error     // reads the next frame into its place
	payload() []byte // of the frame, for tests
}

// mode is a way to write and read frames. Both ends of a connection use one.
type mode struct {
	name string
	note string
	open func(c *net.UnixConn, f dirty.Frame) (end, error)
}

// The names of the modes that others refer to.
const (
	modeRaw       = "blocking system calls"
	modeBare      = "bare loop"
	modeConn      = "dirty.Conn"
	modeFresh     = "dirty.Conn, fresh payloads"
	modeTwoWrites = "two writes"
	modeTwoTwo    = "two writes, two reads"
	modeMessages  = "dirty.Conn, messages"
)

var modes = []mode{
	{modeBare, "one write; reads of the known size, into one buffer", openBare},
	{modeConn, "WriteFrame, and ReadFrameInto with the memory of the last payload", openConn},
	{modeFresh, "WriteFrame, and ReadFrame, which allocates", openFresh},
	{modeTwoWrites, "one write for the header and one for the payload; it reads as the bare loop does", openTwoWrites},
	{modeTwoTwo, "one write and one read for the header, and the same for the payload", openTwoTwo},
	{"joined", "header and payload are copied to one buffer, then one write; it reads as the bare loop does", openJoined},
	{"vectored", "header and payload in one vectored write; it reads as the bare loop does", openVectored},
}

func init() {
	if rawMode.open != nil {
		modes = slices.Insert(modes, 0, rawMode)
	}
	for _, m := range append(slices.Clone(modes), messageMode) {
		services[m.name] = onEach(m.echo)
	}
}

// messageMode decodes and encodes each message. Only the measurement of callers
// uses it.
var messageMode = mode{modeMessages, "WriteMessage and ReadMessage", openMessages}

// echo does the far end of a connection: it sends back each frame.
func (m mode) echo(j job, c *net.UnixConn) error {
	e, err := m.open(c, newFrame(j.Size))
	if err != nil {
		return err
	}
	for {
		if err := e.read(); err != nil {
			return err
		}
		if err := e.write(); err != nil {
			return err
		}
	}
}

// echoes does the near end of a connection: n round trips.
func echoes(e end, n int) error {
	for range n {
		if err := e.write(); err != nil {
			return err
		}
		if err := e.read(); err != nil {
			return err
		}
	}
	return nil
}

// newFrame returns a REQUEST of so many bytes, header included. Its content means
// nothing.
func newFrame(size int) dirty.Frame {
	const overhead = dirty.HeaderSize + 5 // the length of a byte string
	data := make([]byte, size-overhead)
	for i := range data {
		data[i] = byte(i)
	}
	return dirty.Frame{
		Header:  dirty.Header{Type: dirty.TypeRequest, Length: uint32(len(data) + 5), RequestID: 1},
		Payload: dirty.AppendBytes(nil, data),
	}
}

var errReset = syscall.ECONNRESET

// bare knows the size of the frames, and has header and payload in one buffer.
type bare struct {
	conn net.Conn
	buf  []byte
}

func newBare(c net.Conn, f dirty.Frame) (*bare, error) {
	buf, err := f.MarshalBinary()
	return &bare{c, buf}, err
}

func openBare(c *net.UnixConn, f dirty.Frame) (end, error) { return newBare(c, f) }

func (b *bare) write() error {
	_, err := b.conn.Write(b.buf)
	return err
}

func (b *bare) read() error { return readFull(b.conn, b.buf) }

func (b *bare) header() []byte  { return b.buf[:dirty.HeaderSize] }
func (b *bare) payload() []byte { return b.buf[dirty.HeaderSize:] }

// readFull is io.ReadFull without its interface calls.
func readFull(c net.Conn, b []byte) error {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}

// framed is a dirty.Conn.
type framed struct {
	conn *dirty.Conn
	f    dirty.Frame
}

func openConn(c *net.UnixConn, f dirty.Frame) (end, error) { return &framed{dirty.NewConn(c), f}, nil }

func (c *framed) write() error { return c.conn.WriteFrame(c.f) }

func (c *framed) read() (err error) {
	c.f, err = c.conn.ReadFrameInto(c.f.Payload[:0])
	return err
}

func (c *framed) payload() []byte { return c.f.Payload }

// fresh is a dirty.Conn that reads each payload into new memory.
type fresh struct{ framed }

func openFresh(c *net.UnixConn, f dirty.Frame) (end, error) {
	return &fresh{framed{dirty.NewConn(c), f}}, nil
}

func (c *fresh) read() (err error) {
	c.f, err = c.conn.ReadFrame()
	return err
}

type twoWrites struct{ *bare }

func openTwoWrites(c *net.UnixConn, f dirty.Frame) (end, error) {
	b, err := newBare(c, f)
	return twoWrites{b}, err
}

func (t twoWrites) write() error {
	if _, err := t.conn.Write(t.header()); err != nil {
		return err
	}
	_, err := t.conn.Write(t.payload())
	return err
}

type twoTwo struct{ twoWrites }

func openTwoTwo(c *net.UnixConn, f dirty.Frame) (end, error) {
	b, err := newBare(c, f)
	return twoTwo{twoWrites{b}}, err
}

func (t twoTwo) read() error {
	if err := readFull(t.conn, t.header()); err != nil {
		return err
	}
	return readFull(t.conn, t.payload())
}

type joined struct {
	*bare
	whole []byte
}

func openJoined(c *net.UnixConn, f dirty.Frame) (end, error) {
	b, err := newBare(c, f)
	return &joined{bare: b}, err
}

func (j *joined) write() error {
	j.whole = append(append(j.whole[:0], j.header()...), j.payload()...)
	_, err := j.conn.Write(j.whole)
	return err
}

type vectored struct {
	*bare
	pieces, left net.Buffers // a write uses left up
}

func openVectored(c *net.UnixConn, f dirty.Frame) (end, error) {
	b, err := newBare(c, f)
	return &vectored{bare: b}, err
}

func (v *vectored) write() error {
	v.pieces = append(v.pieces[:0], v.header(), v.payload())
	v.left = v.pieces
	_, err := v.left.WriteTo(v.conn)
	return err
}

// messages is a dirty.Conn that encodes and decodes.
type messages struct {
	conn *dirty.Conn
	m    dirty.Message
}

func openMessages(c *net.UnixConn, f dirty.Frame) (end, error) {
	empty, err := frameSize(echoRequest(""))
	if err != nil {
		return nil, err
	}
	text := strings.Repeat("x", dirty.HeaderSize+len(f.Payload)-empty)
	return &messages{dirty.NewConn(c), echoRequest(text)}, nil
}

func echoRequest(text string) dirty.Message {
	return dirty.NewRequest(1, app, echoAction, []any{text}, nil)
}

func (c *messages) write() error { return c.conn.WriteMessage(c.m) }

func (c *messages) read() (err error) {
	c.m, err = c.conn.ReadMessage()
	return err
}

func (c *messages) payload() []byte {
	b, err := dirty.AppendMessage(nil, c.m)
	if err != nil {
		panic(err) // the message is one of ours
	}
	return b[dirty.HeaderSize:]
}
