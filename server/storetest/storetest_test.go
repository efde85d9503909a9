package storetest_test

import (
	"testing"

	"github.com/gunicorn-go/dirty/server"
	"github.com/gunicorn-go/dirty/server/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func() server.Store { return new(server.MemoryStore) })
}
