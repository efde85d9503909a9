package client_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dialError is an error as package net has it.
func dialError(errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: "/x", Net: "unix"}, Err: os.NewSyscallError("connect", errno)}
}

// absences are the errors of an arbiter that is not there.
var absences = map[string]error{
	"absent":         dialError(syscall.ENOENT),
	"refused":        dialError(syscall.ECONNREFUSED),
	"told by a user": fmt.Errorf("the resolver's word: %w", client.ErrUnavailable),
}

// TestWaitForServer: an arbiter that restarts.
func TestWaitForServer(t *testing.T) {
	for name, absent := range absences {
		for _, tt := range []struct {
			wait, back time.Duration
			took       [2]time.Duration // at least, at most
			ok         bool
		}{
			{0, 0, [2]time.Duration{0, 0}, true},
			{0, time.Second, [2]time.Duration{0, 0}, false},
			{5 * time.Second, time.Second, [2]time.Duration{time.Second, 1250 * time.Millisecond}, true},
			{5 * time.Second, 20 * time.Second, [2]time.Duration{5 * time.Second, 5 * time.Second}, false},
			{20 * time.Second, 19 * time.Second, [2]time.Duration{19 * time.Second, 20 * time.Second}, true},
		} {
			t.Run(fmt.Sprint(name, tt.wait, tt.back), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPipePeer(t, answering(arbiter))
					begin := time.Now()
					attempts := uint64(0)
					dial := func(ctx context.Context, path string) (net.Conn, error) {
						attempts++
						if time.Since(begin) < tt.back {
							return nil, absent
						}
						return p.dial(ctx, path)
					}
					c := newClient(t, client.WithSocket("x"), client.WithDialer(dial), client.WithWaitForServer(tt.wait))
					err := c.Ping(context.Background())
					took := time.Since(begin)
					assert.GreaterOrEqual(t, took, tt.took[0])
					assert.LessOrEqual(t, took, tt.took[1])
					s := c.Stats()
					assert.Equal(t, attempts-1, s.BacklogFull)
					if tt.ok {
						require.NoError(t, err)
						assert.EqualValues(t, 1, s.Dials)
						return
					}
					require.ErrorIs(t, err, client.ErrUnavailable)
					require.ErrorIs(t, err, absent)
					requireOp(t, err, client.StageDial, false)
					assert.False(t, timesOut(err), "%v", err)
					assert.True(t, client.SafeToRetry(err))
					assert.EqualValues(t, 1, s.DialErrors)
				})
			})
		}
	}
}

// TestUnavailable: without WithWaitForServer that is told at once, with the
// system's error.
func TestUnavailable(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	p.listener.(*net.UnixListener).SetUnlinkOnClose(false)
	p.stop()
	for name, tt := range map[string]struct {
		path string
		want error
	}{
		"refused":       {p.path, syscall.ECONNREFUSED},
		"absent":        {p.path + "-not", fs.ErrNotExist},
		"absent folder": {p.path + "-not/s", syscall.ENOENT},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.WithSocket(tt.path))
			for _, op := range operations {
				err := op.call(context.Background(), c)
				require.ErrorIs(t, err, client.ErrUnavailable, op.name)
				require.ErrorIs(t, err, tt.want)
				requireOp(t, err, client.StageDial, false)
				assert.Contains(t, err.Error(), tt.path)
				assert.False(t, isUnknown(err))
				assert.True(t, client.SafeToRetry(err))
				assert.False(t, timesOut(err))
			}
			s := c.Stats()
			assert.EqualValues(t, len(operations), s.DialErrors)
			assert.Zero(t, s.BacklogFull+s.Retries)
		})
	}
}
