package server_test

import (
	"context"
	"fmt"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
)

// smallStore is a stash whose values have a bound. All else is as in the Store inside
// it.
type smallStore struct{ server.Store }

func (s smallStore) Put(ctx context.Context, table, key any, value dirty.RawValue) error {
	if len(value) > 1<<10 {
		return fmt.Errorf("a value of %d bytes is too large", len(value)) // the client is told so
	}
	return s.Store.Put(ctx, table, key, value)
}

// A stash with a rule of its own. The module examples/redisstore has a whole Store, and
// the package server/storetest tests one.
func ExampleStore() {
	s := &server.Server{Stash: smallStore{new(server.MemoryStore)}}
	c, stop := clientOf(s)
	defer stop()

	ctx, images := context.Background(), c.Stash("images")
	fmt.Println(images.Put(ctx, "small", make([]byte, 10)))
	fmt.Println(images.Put(ctx, "large", make([]byte, 2000)))
	fmt.Println(images.Keys(ctx, ""))
	// Output:
	// <nil>
	// dirty: stash put "images"["large"]: DirtyError: a value of 2005 bytes is too large
	// [small] <nil>
}
