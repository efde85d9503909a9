package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty/internal/netconn"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// keepAlive finds out that the host at the other end of an idle connection is gone,
// after about 25 seconds. Fronts know it sooner, by the load that does not come.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// userTimeout is how long written bytes may stay without an answer from the other
// host, before the system ends the connection (TCP_USER_TIMEOUT, on Linux).
const userTimeout = 10 * time.Second

// dialTCP connects to an address.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: control}
	return d.DialContext(ctx, "tcp", addr)
}

// Listen listens at a TCP address, such as ":9500". The system finds out soon when the
// host at the other end of a connection is gone: in about 25 seconds if the connection
// is idle, and on Linux in 10 seconds if something was written.
func Listen(addr string) (net.Listener, error) {
	l := net.ListenConfig{KeepAliveConfig: keepAlive, Control: control}
	return l.Listen(context.Background(), "tcp", addr)
}

// control sets TCP_USER_TIMEOUT. An accepted connection has that of its listener. A
// system that refuses it works without: the other bounds hold.
func control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { _ = setUserTimeout(fd, userTimeout) })
}

// tlsConn is a TLS connection that shows its socket, by which package client sees
// before it reuses the connection whether the other end has closed it.
type tlsConn struct {
	*tls.Conn
	socket syscall.Conn
}

// tcpConn is a tlsConn on a TCP connection of package net.
type tcpConn struct {
	tlsConn
	netconn.Mark
}

// SyscallConn returns the socket.
func (c tlsConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// clientConn makes the TLS handshake of a front.
func clientConn(ctx context.Context, nc net.Conn, cfg *tls.Config) (net.Conn, error) {
	c := tls.Client(nc, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	switch socket := nc.(type) {
	case *net.TCPConn:
		return tcpConn{tlsConn: tlsConn{c, socket}}, nil
	case syscall.Conn:
		return tlsConn{c, socket}, nil
	}
	return c, nil
}

// handshakes is a listener whose connections have made their TLS handshake. Nobody
// without a certificate takes a place of the server's for longer.
type handshakes struct {
	net.Listener
	cfg     *tls.Config
	refused func(from net.Addr, err error)

	once   sync.Once
	places chan struct{} // one for each handshake that goes on
	ready  chan accepted
	closed chan struct{}
	end    sync.Once
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// maxHandshakes bounds the TLS handshakes at one time. More wait in the backlog.
const maxHandshakes = 256

// newHandshakes returns a listener of the connections of l. refused is told of those whose
// handshake has failed.
func newHandshakes(l net.Listener, cfg *tls.Config, refused func(from net.Addr, err error)) *handshakes {
	return &handshakes{Listener: l, cfg: cfg, refused: refused,
		places: make(chan struct{}, maxHandshakes), ready: make(chan accepted), closed: make(chan struct{})}
}

// Accept returns the next connection that is ready.
func (h *handshakes) Accept() (net.Conn, error) {
	h.once.Do(func() { go h.run() })
	select {
	case a := <-h.ready:
		return a.conn, a.err
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener. Handshakes that go on end by themselves.
func (h *handshakes) Close() error {
	h.end.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

// run accepts connections. An error is handed to Accept, whose caller knows whether
// to go on: then it calls Accept again.
func (h *handshakes) run() {
	for {
		select {
		case h.places <- struct{}{}:
		case <-h.closed:
			return
		}
		var nc net.Conn
		var acceptErr error
		err := usercode.Call(userCode{}, "the listener", func() error {
			nc, acceptErr = h.Listener.Accept()
			return nil
		})
		if err = cmp.Or(err, acceptErr); err != nil {
			<-h.places
			if !h.hand(accepted{err: err}) {
				return
			}
			continue
		}
		go h.shake(nc)
	}
}

// shake makes the handshake.
func (h *handshakes) shake(nc net.Conn) {
	var c *tls.Conn
	err := usercode.Call(userCode{}, "a connection", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		c = tls.Server(nc, h.cfg)
		return c.HandshakeContext(ctx)
	})
	<-h.places
	if err == nil && h.hand(accepted{conn: c}) {
		return
	}
	_ = usercode.Call(userCode{}, "a connection", func() error {
		if err != nil {
			h.refused(nc.RemoteAddr(), err)
		}
		return nc.Close()
	})
}

// hand hands a result to Accept. It reports false when the listener is closed.
func (h *handshakes) hand(a accepted) bool {
	select {
	case h.ready <- a:
		return true
	case <-h.closed:
		return false
	}
}
