package redisstore_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/gunicorn-go/dirty/examples/redisstore"
	"github.com/gunicorn-go/dirty/server"
	"github.com/redis/go-redis/v9"
)

// A server whose stash is in Redis.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", MaxRetries: -1, ContextTimeoutEnabled: true})
	s := &server.Server{
		Handler: server.NewMux(), // your actions
		Stash:   &redisstore.Store{Redis: rdb, Prefix: "shop"},
	}
	if err := s.Run(ctx, "/run/shop/dirty.sock"); err != nil {
		log.Fatal(err)
	}
}
