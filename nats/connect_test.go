package dirtynats_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConnectAfterRefusals checks that a connection goes on trying while NATS refuses its
// credentials, as it may while it starts.
func TestConnectAfterRefusals(t *testing.T) {
	const refusals = 4 // the NATS client gives up after two by itself
	var refused atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answerLikeNATS(c, func() bool { return refused.Add(1) > refusals })
		}
	}()
	connected := make(chan struct{})
	nc, err := nats.Connect("nats://"+l.Addr().String(), append(dirtynats.ConnectOptions(), nats.RetryOnFailedConnect(true),
		nats.ConnectHandler(func(*nats.Conn) { close(connected) }))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	select {
	case <-connected:
	case <-time.After(timeout):
		assert.Fail(t, "it is not connected", "%v, refused %d times", nc.Status(), refused.Load())
	}
}

// answerLikeNATS answers a client that connects, and each of its pings, if it may come in.
func answerLikeNATS(c net.Conn, mayComeIn func() bool) {
	defer c.Close()
	fmt.Fprint(c, "INFO {\"server_id\":\"x\",\"version\":\"2.12.0\",\"max_payload\":1048576,\"auth_required\":true}\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		switch {
		case strings.HasPrefix(lines.Text(), "CONNECT") && !mayComeIn():
			fmt.Fprint(c, "-ERR 'Authorization Violation'\r\n")
			return
		case lines.Text() == "PING":
			fmt.Fprint(c, "PONG\r\n")
		}
	}
}
