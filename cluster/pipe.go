package cluster

import (
	"context"
	"net"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/netconn"
	"github.com/gunicorn-go/dirty/server"
)

// dialInMemory returns a Dialer of connections to a server in the same process.
func dialInMemory(s *server.Server) client.Dialer {
	return func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = s.ServeConn(context.Background(), far) }() // it closes far
		return pipeConn{Conn: near}, nil
	}
}

// pipeConn is one end of a net.Pipe.
type pipeConn struct {
	net.Conn
	netconn.InMemory
}

// newClient returns a client of a server in the same process.
func newClient(s *server.Server, opts ...client.Option) (*client.Client, error) {
	ours := []client.Option{client.WithDialer(dialInMemory(s)), client.WithSocket("in memory"), client.WithPeerCheck(false)}
	return client.New(append(ours, opts...)...)
}
