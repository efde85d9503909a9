package server_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// relayTakeOver passes the packets between a server and the next process that wants to
// take it over, with their files. at is called before a packet is passed on, with its
// kind; after true nothing more is.
func relayTakeOver(t *testing.T, path string, at func(kind string) (cut bool)) {
	t.Helper()
	heirs := path + ".takeover"
	require.NoError(t, os.Rename(heirs, path+".real"))
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: heirs, Net: "unixpacket"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		heir, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer heir.Close()
		old, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path + ".real", Net: "unixpacket"})
		if err != nil || os.Rename(path+".real", heirs) != nil {
			return
		}
		defer old.Close()
		over := make(chan struct{}, 2)
		for _, pair := range [][2]*net.UnixConn{{old, heir}, {heir, old}} {
			go func() { passOn(pair[0], pair[1], at); over <- struct{}{} }()
		}
		<-over
	}()
}

// passOn passes packets on until one side has ended.
func passOn(from, to *net.UnixConn, at func(kind string) (cut bool)) {
	data, rights := make([]byte, 1<<16), make([]byte, 1<<12)
	for {
		n, nr, _, _, err := from.ReadMsgUnix(data, rights)
		if err != nil || n == 0 {
			return
		}
		err = net.ErrClosed
		if cut := at(string(data[:1])); !cut {
			_, _, err = to.WriteMsgUnix(data[:n], rights[:nr], nil)
		}
		messages, _ := syscall.ParseSocketControlMessage(rights[:nr])
		for _, m := range messages {
			fds, _ := syscall.ParseUnixRights(&m)
			for _, fd := range fds {
				_ = syscall.Close(fd)
			}
		}
		if err != nil {
			return
		}
	}
}

// TestKillAtEachStep kills the old process or the new one with kill -9 at each step of
// a take-over: before a packet arrives. Then one of them serves, or a third process
// does, and it has the stash if it can.
func TestKillAtEachStep(t *testing.T) {
	for _, tt := range []struct {
		at      string // the packet
		victim  string
		answers string // who answers then
		stash   bool   // the tables are there
	}{
		{"O", "heir", "old", true},
		{"S", "heir", "old", true},
		{"R", "heir", "old", true},
		{"C", "heir", "old", true},
		{"G", "heir", "third", false}, // the old one knows that it has been taken over
		{"N", "heir", "third", false},
		{"O", "old", "heir", false},
		{"S", "old", "heir", false},
		{"R", "old", "heir", false},
		{"C", "old", "heir", true},
		{"G", "old", "heir", true},
		{"N", "old", "heir", true},
	} {
		t.Run(tt.victim+" at "+tt.at, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			old := startHeir(t, path)
			old.await(t, "serving")
			stash := newClient(t, path, client.WithWaitForServer(time.Minute)).Stash("t")
			require.NoError(t, stash.Put(ctx, "k", "v"))
			kept := dial(t, path)
			require.Equal(t, dirty.NewResponse(1, []any{int64(1)}), call(t, kept, "echo", 1))

			var next *heir
			started, killed := make(chan struct{}), make(chan struct{})
			relayTakeOver(t, path, func(kind string) (cut bool) {
				<-started
				if kind != tt.at {
					return false
				}
				victim := next
				if tt.victim == "old" {
					victim = old
				}
				_ = victim.Process.Kill()
				<-victim.ended
				close(killed)
				return true
			})
			next = startHeir(t, path)
			close(started)
			wait(t, "the kill", killed)

			current := old
			switch tt.answers {
			case "old":
				require.Equal(t, dirty.NewResponse(1, []any{int64(2)}), call(t, kept, "echo", 2))
			case "heir":
				next.await(t, "serving")
				current = next
			case "third":
				wait(t, "the end of the old process", old.ended)
				assert.NoError(t, old.err)
				closed(t, kept)
				current = startHeir(t, path)
				current.await(t, "serving")
			}
			got, err := stash.Get(ctx, "k")
			if tt.stash {
				require.NoError(t, err)
				assert.Equal(t, "v", got)
			} else {
				assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
			}
			require.NoError(t, stash.Put(ctx, "l", "w"), "the stash can be changed")
			restart(t, path, current)
			got, err = stash.Get(ctx, "l")
			require.NoError(t, err)
			assert.Equal(t, "w", got)
		})
	}
}
