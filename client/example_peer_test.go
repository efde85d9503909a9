package client_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// exampleArbiter is what the examples talk to: an arbiter with two apps and a
// stash.
type exampleArbiter struct {
	mu      sync.Mutex
	tables  map[string][]exampleEntry
	warming int // calls of "warm" that find no worker
}

type exampleEntry struct{ key, value any }

// startExampleArbiter starts it, and sets the variable in which gunicorn tells
// its processes where the socket is.
func startExampleArbiter() (stop func(), err error) {
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "arbiter.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	a := &exampleArbiter{tables: map[string][]exampleEntry{}, warming: 2}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				answering(a.answer)(nc)
			}()
		}
	}()
	return func() {
		_ = l.Close()
		_ = os.RemoveAll(dir)
	}, os.Setenv(client.EnvSocket, path)
}

func (a *exampleArbiter) answer(c *dirty.Conn, m dirty.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := m.RequestID()
	var result any
	switch m := m.(type) {
	case *dirty.Request:
		if m.AppPath == "app:LLM" {
			for _, word := range strings.SplitAfter("A cat sat on the mat.", " ") {
				if err := c.WriteMessage(dirty.NewChunk(id, word)); err != nil {
					return err
				}
			}
			return c.WriteMessage(dirty.NewEnd(id))
		}
		if m.Action == "sleep" {
			return nil // for longer than anybody waits
		}
		result = a.call(m)
	case *dirty.StashRequest:
		result = a.stash(m)
	case *dirty.StatusRequest:
		result = map[string]any{"arbiter_pid": 4711, "apps": []any{"app:Model", "app:LLM"}, "workers": []any{
			worker(1, 0.5, "app:Model", "app:LLM"), worker(2, unborn, "app:Model"),
		}}
	case *dirty.ManageRequest:
		result = map[string]any{"requested": m.Count, "spawned": m.Count, "total_workers": 2 + m.Count, "target_workers": 2 + m.Count}
	}
	if err, ok := result.(error); ok {
		return c.WriteMessage(dirty.NewErrorReply(id, err))
	}
	return c.WriteMessage(dirty.NewResponse(id, result))
}

func (a *exampleArbiter) call(m *dirty.Request) any {
	switch {
	case m.AppPath != "app:Model":
		return &dirty.RemoteError{Type: "DirtyNoWorkersAvailableError", Message: "No workers available for app: " + m.AppPath}
	case m.Action == "predict":
		return map[string]any{"label": "cat", "score": 0.93}
	case m.Action == "add":
		return m.Args[0].(int64) + m.Args[1].(int64)
	case m.Action == "warm":
		if a.warming--; a.warming >= 0 {
			return &dirty.RemoteError{Type: "DirtyWorkerError", Message: "Worker communication failed: [Errno 111] Connection refused"}
		}
		return "warm"
	}
	return &dirty.RemoteError{Type: "DirtyAppError", Message: "no such image", Details: map[string]any{
		"traceback": "Traceback (most recent call last):\n  ...\nKeyError: 'no such image'\n",
	}}
}

func (a *exampleArbiter) stash(m *dirty.StashRequest) any {
	table := a.tables[m.Table]
	i := slices.IndexFunc(table, func(e exampleEntry) bool { return e.key == m.Key })
	switch m.Op {
	case dirty.StashPut:
		if i < 0 {
			table = append(table, exampleEntry{m.Key, nil})
			i = len(table) - 1
		}
		table[i].value = m.Value
		a.tables[m.Table] = table
		return true
	case dirty.StashGet:
		if i < 0 {
			return &dirty.RemoteError{Type: "DirtyError", Message: fmt.Sprintf("Key not found: %v", m.Key)}
		}
		return table[i].value
	case dirty.StashKeys:
		keys := []any{}
		for _, e := range table {
			keys = append(keys, e.key)
		}
		return keys
	case dirty.StashDeleteTable:
		delete(a.tables, m.Table)
		return true
	case dirty.StashDelete, dirty.StashClear, dirty.StashInfo, dirty.StashEnsure, dirty.StashTables, dirty.StashExists: // no example uses them
	}
	return &dirty.RemoteError{Type: "DirtyError", Message: "Unknown stash operation: " + m.Op.String()}
}
