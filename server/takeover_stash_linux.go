package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// The stash moves to the heir with the offer. From then on nothing changes it, until
// the heir has committed or not. After a commit all operations go to the heir: those
// that have waited, and those of handlers that still run.

// movingStash is the stash of a server that makes an offer.
type movingStash struct {
	server *Server
	store  Snapshotter // nil: there is nothing to move

	mu      sync.Mutex
	release func(to Store) // nil: nothing is held
	settled bool
}

// snapshotter returns the server's stash, if it can move.
func (s *Server) snapshotter() Snapshotter {
	if s.FrameHandler != nil {
		return nil // it has no use for a stash
	}
	store, _ := s.cfg.stash.(Snapshotter)
	return store
}

func (s *Server) newMovingStash() *movingStash {
	return &movingStash{server: s, store: s.snapshotter()}
}

// hold makes changes wait, and returns how many tables there are.
func (m *movingStash) hold(ctx context.Context) (tables int, err error) {
	if m.store == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, offerTimeout)
	defer cancel()
	counted := make(chan int, 1) // the store may return when nobody waits for it any more
	err = m.server.callStore(ctx, func() error {
		release, err := m.store.Hold(ctx)
		if err != nil {
			return err
		}
		m.hasHeld(release)
		names, err := m.store.Tables(ctx)
		counted <- len(names)
		return err
	})
	switch {
	case errors.Is(err, ErrMoved): // with another listener, or with a server that has the same stash
		m.store = nil
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("its stash cannot move: %s", unprefixed(err))
	}
	return <-counted, nil
}

// hasHeld notes how to release the stash. It releases it if it is too late.
func (m *movingStash) hasHeld(release func(to Store)) {
	m.mu.Lock()
	settled := m.settled
	if !settled {
		m.release = release
	}
	m.mu.Unlock()
	if settled {
		release(nil)
	}
}

// settle lets the changes go on, here or on another store. Only the first call
// counts.
func (m *movingStash) settle(to Store) {
	m.mu.Lock()
	release := m.release
	m.release, m.settled = nil, true
	m.mu.Unlock()
	if release == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), offerTimeout)
	defer cancel()
	if err := m.server.callStore(ctx, func() error { release(to); return nil }); err != nil {
		m.server.journal.write(slog.LevelError, "dirty: the stash does not go on after a take-over", slog.Any("error", err))
	}
}

// moveTo hands all operations to the heir, which has committed, and tells it that
// nothing changes here any more.
func (m *movingStash) moveTo(heir *link) {
	told := make(chan struct{})
	m.settle(&successor{heir, m.server.cfg.limits, told})
	_ = heir.send(packetGone, nil) // if that fails, the operations fail too
	close(told)
}

// send sends a snapshot.
func (m *movingStash) send(ctx context.Context, l *link) error {
	if m.store == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(offerTimeout, cancel)
	defer idle.Stop()
	err := m.server.callStore(ctx, func() error {
		return m.store.Snapshot(ctx, writerFunc(func(b []byte) (n int, err error) {
			for len(b) > n && err == nil {
				idle.Reset(offerTimeout)
				piece := b[n:min(len(b), n+maxPacket)]
				if err = ctx.Err(); err == nil {
					err = l.send(packetStash, piece)
				}
				if err == nil {
					n += len(piece)
				}
			}
			return n, err
		}))
	})
	if err != nil {
		return fmt.Errorf("its stash cannot move: %s", unprefixed(err))
	}
	return nil
}

// writerFunc is a function as an [io.Writer].
type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// restoring restores the stash of a server that is being taken over, as it comes.
type restoring struct {
	pipe *io.PipeWriter // nil: nothing is to be restored
	done chan error     // what Restore returned
}

// begin is called with the offer.
func (r *restoring) begin(s *Server, offer offerText) error {
	store := s.snapshotter()
	switch {
	case store == nil && offer.Tables > 0:
		return fmt.Errorf("the running server has a stash of %d tables, for which this one has no Snapshotter", offer.Tables)
	case store == nil, !offer.Stash:
		return nil
	}
	in, pipe := io.Pipe()
	r.pipe, r.done = pipe, make(chan error, 1)
	go func() {
		err := s.callStore(context.Background(), func() error { return store.Restore(context.Background(), in) })
		_ = in.CloseWithError(errors.Join(errRestore, err)) // write must not wait
		r.done <- err
	}()
	return nil
}

// errRestore is for a Restore that does not read to the end.
const errRestore = sentinel("the stash of the running server cannot be restored")

// write takes the next bytes of the snapshot.
func (r *restoring) write(b []byte) error {
	if r.pipe == nil {
		return nil
	}
	late := time.AfterFunc(heirTimeout, func() { _ = r.pipe.CloseWithError(os.ErrDeadlineExceeded) })
	defer late.Stop()
	_, err := r.pipe.Write(b)
	return err
}

// finish waits until all is restored.
func (r *restoring) finish(s *Server) error {
	if r.pipe == nil {
		return nil
	}
	_ = r.pipe.Close()
	select {
	case err := <-r.done:
		r.pipe = nil
		if err != nil {
			return chain{errRestore, err}
		}
		s.hasStash.Store(true)
		return nil
	case <-time.After(heirTimeout):
		return chain{errRestore, os.ErrDeadlineExceeded}
	}
}

// abandon ends what is not finished.
func (r *restoring) abandon(err error) {
	if r.pipe != nil {
		_ = r.pipe.CloseWithError(err)
	}
}

// successor is the stash of the process that has taken over. Each operation goes
// there over a connection of its own, as that of a client would.
type successor struct {
	link   *link
	limits dirty.Limits
	told   <-chan struct{} // closed when the process knows that operations come
}

// errSuccessor begins the text of an operation that did not get there, or got no
// answer.
const errSuccessor = sentinel("the stash has moved to a process that does not answer")

// ask makes an operation and decodes its result into what result points to.
func (s *successor) ask(ctx context.Context, op dirty.StashOp, fields dirty.Dict, result any) error {
	payload, err := dirty.Marshal(append(dirty.Dict{{Key: "op", Value: int64(op)}}, fields...))
	if err != nil {
		return err
	}
	select {
	case <-s.told:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return chain{errSuccessor, err}
	}
	defer ours.Close()
	err = s.link.sendConn(theirs)
	_ = theirs.Close()
	if err != nil {
		return chain{errSuccessor, err}
	}
	stop := context.AfterFunc(ctx, func() { _ = ours.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c := dirty.NewConn(ours, dirty.WithLimits(s.limits))
	err = c.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeStash}, Payload: payload})
	if err != nil {
		return s.explain(ctx, err)
	}
	f, err := c.ReadFrame()
	if err != nil {
		return s.explain(ctx, err)
	}
	if f.Type == dirty.TypeError {
		m, err := f.Message()
		if err != nil {
			return err
		}
		return m.(*dirty.ErrorReply).Err
	}
	var reply struct {
		Result dirty.RawValue `dirty:"result"`
	}
	if err := f.UnmarshalPayload(&reply); err != nil || result == nil {
		return err
	}
	return dirty.Unmarshal(reply.Result, result)
}

// explain returns why an operation has got no answer.
func (s *successor) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return chain{errSuccessor, err}
}

// socketPair returns two connections that are each other's peer.
func socketPair() (a, b net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "stash")
		nc, e := net.FileConn(f)
		_ = f.Close()
		conns[i], err = nc, errors.Join(err, e)
	}
	if err != nil {
		for _, nc := range conns {
			if nc != nil {
				_ = nc.Close()
			}
		}
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}

func (s *successor) Put(ctx context.Context, table, key any, value dirty.RawValue) error {
	return s.ask(ctx, dirty.StashPut, dirty.Dict{{Key: "table", Value: table}, {Key: "key", Value: key}, {Key: "value", Value: value}}, nil)
}

func (s *successor) Get(ctx context.Context, table, key any) (value dirty.RawValue, err error) {
	err = s.ask(ctx, dirty.StashGet, dirty.Dict{{Key: "table", Value: table}, {Key: "key", Value: key}}, &value)
	return value, err
}

func (s *successor) Delete(ctx context.Context, table, key any) (existed bool, err error) {
	err = s.ask(ctx, dirty.StashDelete, dirty.Dict{{Key: "table", Value: table}, {Key: "key", Value: key}}, &existed)
	return existed, err
}

func (s *successor) Keys(ctx context.Context, table any, pattern string) (keys []any, err error) {
	err = s.ask(ctx, dirty.StashKeys, dirty.Dict{{Key: "table", Value: table}, {Key: "pattern", Value: pattern}}, &keys)
	return keys, err
}

func (s *successor) Clear(ctx context.Context, table any) error {
	return s.ask(ctx, dirty.StashClear, dirty.Dict{{Key: "table", Value: table}}, nil)
}

func (s *successor) Len(ctx context.Context, table any) (int, error) {
	var info stashInfo
	err := s.ask(ctx, dirty.StashInfo, dirty.Dict{{Key: "table", Value: table}}, &info)
	return info.Size, err
}

func (s *successor) Ensure(ctx context.Context, table any) error {
	return s.ask(ctx, dirty.StashEnsure, dirty.Dict{{Key: "table", Value: table}}, nil)
}

func (s *successor) Drop(ctx context.Context, table any) (existed bool, err error) {
	err = s.ask(ctx, dirty.StashDeleteTable, dirty.Dict{{Key: "table", Value: table}}, &existed)
	return existed, err
}

func (s *successor) Tables(ctx context.Context) (tables []any, err error) {
	err = s.ask(ctx, dirty.StashTables, nil, &tables)
	return tables, err
}

func (s *successor) Exists(ctx context.Context, table, key any) (exists bool, err error) {
	err = s.ask(ctx, dirty.StashExists, dirty.Dict{{Key: "table", Value: table}, {Key: "key", Value: key}}, &exists)
	return exists, err
}
