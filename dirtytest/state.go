package dirtytest

import (
	"context"
	"os"
	"sync"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// Stash returns what the stash keeps, behind the wire: it can be read and changed
// without a client. Restart and Respawn replace it.
func (s *Server) Stash() *Stash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Stash{s, s.run.stash}
}

// Stash is a server's stash, for [Server.Stash]. Its methods fail the test if
// something is wrong.
type Stash struct {
	server *Server
	store  *server.MemoryStore
}

// Put stores a value, encoded as [dirty.Marshal] does.
func (s *Stash) Put(table string, key, value any) {
	s.server.tb.Helper()
	encoded, err := dirty.Marshal(value)
	s.check(err)
	encodedKey, err := dirty.Marshal(key)
	s.check(err)
	var wireKey any
	s.check(dirty.Unmarshal(encodedKey, &wireKey))
	s.check(s.store.Put(context.Background(), table, wireKey, encoded))
}

// Dump returns the keys of a table, as they are on the wire, and their values. It
// is empty if there is no such table.
func (s *Stash) Dump(table string) map[any]any {
	s.server.tb.Helper()
	keys, err := s.store.Keys(context.Background(), table, "")
	s.check(err)
	all := make(map[any]any, len(keys))
	for _, key := range keys {
		encoded, err := s.store.Get(context.Background(), table, key)
		if err != nil {
			continue // deleted meanwhile
		}
		var value any
		s.check(dirty.Unmarshal(encoded, &value))
		if b, ok := key.([]byte); ok {
			key = string(b)
		}
		all[key] = value
	}
	return all
}

func (s *Stash) check(err error) {
	s.server.tb.Helper()
	if err != nil {
		s.server.tb.Fatalf("dirtytest: %v", err)
	}
}

// workers are the workers that the status tells of. There are none in truth.
type workers struct {
	mu     sync.Mutex
	list   []client.Worker // nil: as the test has not set any
	target int
	age    int
}

func newWorkers() *workers { return &workers{target: 1} }

// SetWorkers sets what the status tells of the workers. A worker that has not
// Booted is told as gunicorn does, with a negative heartbeat. By default there is one
// that serves the handler's apps.
func (s *Server) SetWorkers(list ...client.Worker) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	s.workers.list = append([]client.Worker{}, list...)
	s.workers.target = len(list)
}

// Workers returns the workers that the status tells of. AddWorkers and
// RemoveWorkers of a client change them.
func (s *Server) Workers() []client.Worker {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	return append([]client.Worker{}, s.current()...)
}

// current returns the workers. Their lock is held.
func (s *Server) current() []client.Worker {
	if s.workers.list == nil {
		s.workers.list = []client.Worker{s.newWorker()}
	}
	return s.workers.list
}

// newWorker returns a worker that has booted and serves all apps. The lock of the
// workers is held.
func (s *Server) newWorker() client.Worker {
	s.workers.age++
	return client.Worker{PID: os.Getpid(), Age: s.workers.age, Apps: s.apps(), Booted: true}
}

func (s *Server) apps() []string {
	if l, ok := s.handler.(interface{ Apps() []string }); ok {
		return l.Apps()
	}
	return []string{}
}

// neverBeaten is about what gunicorn tells as the age, in seconds, of a heartbeat
// that has not come yet.
const neverBeaten = -1.795e9

// status answers status queries in gunicorn's form.
func (s *Server) status(context.Context) (any, error) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	list := []any{}
	for _, w := range s.current() {
		beat := neverBeaten
		if w.Booted {
			beat = w.HeartbeatAge.Seconds()
		}
		list = append(list, map[string]any{
			"pid": w.PID, "age": w.Age, "apps": append([]string{}, w.Apps...),
			"booted":         false, // as gunicorn says
			"last_heartbeat": beat,
		})
	}
	return map[string]any{
		"arbiter_pid": os.Getpid(), "workers": list, "worker_count": len(list), "apps": append([]string{}, s.apps()...),
	}, nil
}

// manage adds and removes workers as gunicorn does: one always stays, and the
// oldest goes first.
func (s *Server) manage(_ context.Context, op dirty.ManageOp, count int) (any, error) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	before := len(s.current())
	changed := count
	done := "spawned"
	if op == dirty.ManageAdd {
		for range count {
			s.workers.list = append(s.workers.list, s.newWorker())
		}
	} else {
		done = "removed"
		changed = min(count, max(before-1, 0))
		s.workers.list = s.workers.list[changed:]
	}
	s.workers.target = len(s.workers.list)
	return map[string]any{
		"success": true, "operation": op.String(), "requested": count, done: changed,
		"total_workers": len(s.workers.list), "target_workers": s.workers.target,
	}, nil
}
