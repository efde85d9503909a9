//go:build unix

package interop

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	goserver "github.com/gunicorn-go/dirty/server"
	"github.com/gunicorn-go/dirty/server/storetest"
)

// gunicornStore is the stash of a real arbiter as a Store. Tables of any kind are
// asked for, which the typed messages cannot do.
type gunicornStore struct {
	mu   sync.Mutex // one call at a time
	conn *dirty.Conn
	id   uint64
}

// ask makes an operation and stores its result in what result points to.
func (s *gunicornStore) ask(op dirty.StashOp, table, key any, value dirty.RawValue, pattern string, result any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := dirty.Dict{{Key: "op", Value: int64(op)}, {Key: "table", Value: table}, {Key: "key", Value: key}}
	if value != nil {
		fields = append(fields, dirty.Entry{Key: "value", Value: value})
	}
	if pattern != "" {
		fields = append(fields, dirty.Entry{Key: "pattern", Value: pattern})
	}
	payload, err := dirty.Marshal(fields)
	if err != nil {
		return err
	}
	s.id++
	if err := s.conn.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeStash, RequestID: s.id}, Payload: payload}); err != nil {
		return err
	}
	f, err := s.conn.ReadFrame()
	if err != nil {
		return err
	}
	if f.Type == dirty.TypeError {
		m, err := f.Message()
		if err != nil {
			return err
		}
		return m.(*dirty.ErrorReply).Err
	}
	var raw struct {
		Result dirty.RawValue `dirty:"result"`
	}
	if err := f.UnmarshalPayload(&raw); err != nil || result == nil {
		return err
	}
	return dirty.Unmarshal(raw.Result, result)
}

func (s *gunicornStore) Put(_ context.Context, table, key any, value dirty.RawValue) error {
	return s.ask(dirty.StashPut, table, key, value, "", nil)
}

func (s *gunicornStore) Get(_ context.Context, table, key any) (value dirty.RawValue, err error) {
	err = s.ask(dirty.StashGet, table, key, nil, "", &value)
	return value, err
}

func (s *gunicornStore) Delete(_ context.Context, table, key any) (existed bool, err error) {
	err = s.ask(dirty.StashDelete, table, key, nil, "", &existed)
	return existed, err
}

func (s *gunicornStore) Keys(_ context.Context, table any, pattern string) (keys []any, err error) {
	err = s.ask(dirty.StashKeys, table, nil, nil, pattern, &keys)
	return keys, err
}

func (s *gunicornStore) Clear(_ context.Context, table any) error {
	return s.ask(dirty.StashClear, table, nil, nil, "", nil)
}

func (s *gunicornStore) Len(_ context.Context, table any) (int, error) {
	var info struct {
		Size int `dirty:"size"`
	}
	err := s.ask(dirty.StashInfo, table, nil, nil, "", &info)
	return info.Size, err
}

func (s *gunicornStore) Ensure(_ context.Context, table any) error {
	return s.ask(dirty.StashEnsure, table, nil, nil, "", nil)
}

func (s *gunicornStore) Drop(_ context.Context, table any) (existed bool, err error) {
	err = s.ask(dirty.StashDeleteTable, table, nil, nil, "", &existed)
	return existed, err
}

func (s *gunicornStore) Tables(context.Context) (tables []any, err error) {
	err = s.ask(dirty.StashTables, "", nil, nil, "", &tables)
	return tables, err
}

func (s *gunicornStore) Exists(_ context.Context, table, key any) (exists bool, err error) {
	err = s.ask(dirty.StashExists, table, key, nil, "", &exists)
	return exists, err
}

// TestStoretest holds package storetest against real gunicorn: what it wants of a
// store is what an arbiter does.
func TestStoretest(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		c, err := net.Dial("unix", g.address())
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Minute)))
		s := &gunicornStore{conn: dirty.NewConn(c), id: rand.Uint64()}
		t.Cleanup(func() { _ = s.conn.Close() })
		storetest.Run(t, func() goserver.Store {
			tables, err := s.Tables(context.Background())
			require.NoError(t, err)
			for _, table := range tables {
				_, err := s.Drop(context.Background(), table)
				require.NoError(t, err)
			}
			return s
		})
	})
}
