package dirtytest

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// Stash returns the server's stash, to read and change it without a client. After
// [Server.Restart] and [Server.Respawn] call it again: they make a new one.
func (s *Server) Stash() *Stash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Stash{s, s.run.stash}
}

// Stash is a server's stash, see [Server.Stash]. Its methods may be called
// concurrently. They stop the test if something is wrong.
type Stash struct {
	server *Server
	store  *server.MemoryStore
}

// Put stores a value under a key, both encoded as [dirty.Marshal] does.
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

// Dump returns the keys and values of a table, decoded as [dirty.Unmarshal] does
// into an any. Keys of bytes are returned as strings, since a map cannot have them.
// It is empty if there is no such table.
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

// workers are the workers that the status tells of. They do not really exist.
type workers struct {
	mu     sync.Mutex
	list   []client.Worker // nil until somebody asks for it or sets it
	target int
	age    int // of the latest worker
}

// maxWorkers bounds how many workers clients can add.
const maxWorkers = 10_000

func newWorkers() *workers { return &workers{target: 1} }

// SetWorkers sets the workers that the status tells of. By default there is one, and
// it serves the handler's apps. For a worker that has not Booted, the status has a
// negative heartbeat, as that of gunicorn has. Their Apps must not be changed
// afterwards.
func (s *Server) SetWorkers(list ...client.Worker) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	s.workers.list = append([]client.Worker{}, list...)
	s.workers.target = len(list)
}

// Workers returns the workers that the status tells of. Clients change them with
// AddWorkers, up to 10,000, and RemoveWorkers.
func (s *Server) Workers() []client.Worker {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	return append([]client.Worker{}, s.current()...)
}

// current returns the workers. The caller holds their lock.
func (s *Server) current() []client.Worker {
	if s.workers.list == nil {
		s.workers.list = []client.Worker{s.newWorker()}
	}
	return s.workers.list
}

// newWorker returns a worker that has booted and serves all apps. The caller holds
// the lock of the workers.
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

// neverBeaten is about the age in seconds that gunicorn tells of a heartbeat that
// has not come yet.
const neverBeaten = -1.795e9

// status answers status requests as gunicorn does.
func (s *Server) status(context.Context) (any, error) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	list := []dirty.WorkerStatus{}
	for _, w := range s.current() {
		beat := neverBeaten
		if w.Booted {
			beat = w.HeartbeatAge.Seconds()
		}
		// Booted is always false in gunicorn.
		list = append(list, dirty.WorkerStatus{PID: w.PID, Age: w.Age, Apps: append([]string{}, w.Apps...), LastHeartbeat: &beat})
	}
	return dirty.StatusResult{
		ArbiterPID: os.Getpid(), Workers: list, WorkerCount: len(list), Apps: append([]string{}, s.apps()...),
	}, nil
}

// manage adds and removes workers as gunicorn does: the oldest goes first, and one
// always stays.
func (s *Server) manage(_ context.Context, op dirty.ManageOp, count int) (any, error) {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	result := dirty.ManageResult{Success: true, Operation: op.String(), Requested: count}
	before := len(s.current())
	switch op {
	case dirty.ManageAdd:
		added := max(min(count, maxWorkers-before), 0)
		for range added {
			s.workers.list = append(s.workers.list, s.newWorker())
		}
		result.Spawned = &added
		if added == 0 {
			result.Reason = "All apps have reached their worker limits"
		}
	case dirty.ManageRemove:
		removed := min(count, max(before-1, 0))
		s.workers.list = s.workers.list[removed:]
		result.Removed = &removed
	default:
		return nil, fmt.Errorf("dirtytest: no such operation: %v", op)
	}
	s.workers.target = len(s.workers.list)
	result.TotalWorkers, result.TargetWorkers = len(s.workers.list), s.workers.target
	return result, nil
}
