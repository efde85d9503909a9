package client

import (
	"context"
	"net"
)

// Dial connects once to the socket that r finds, and returns the connection as it is:
// for programs that forward bytes themselves, such as one with package proxy. It makes
// the check that [FromPIDFile] asks for: that the process of the file answers. ctx
// bounds it; the options of a [Client] do not apply. The caller closes the connection.
func Dial(ctx context.Context, r Resolver) (net.Conn, error) {
	resolving, expected := withExpectation(ctx)
	path, err := r(resolving)
	if err != nil {
		return nil, err
	}
	nc, err := dialUnix(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := expected.check(newConn(nc, path, &config{})); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return nc, nil
}
