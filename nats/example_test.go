package dirtynats_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gunicorn-go/dirty"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/gunicorn-go/dirty/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Two servers share one stash. In production the address is that of your NATS servers
// in place of servers.URL().
func ExampleOpenStash() {
	ctx := context.Background()
	servers, err := embedded.Start(embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer servers.Close()

	var hosts []*server.Server
	for range 2 {
		nc, err := nats.Connect(servers.URL(), dirtynats.ConnectOptions()...)
		if err != nil {
			log.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			log.Fatal(err)
		}
		stash, err := dirtynats.OpenStash(ctx, js, dirtynats.StashConfig{
			Bucket: dirtynats.Bucket{Name: "shop", Replicas: 1}, // 3 in a cluster
			TTL:    map[string]time.Duration{"sessions": time.Hour},
		})
		if err != nil {
			log.Fatal(err)
		}
		hosts = append(hosts, &server.Server{Stash: stash})
	}

	value, err := dirty.Marshal("signed in")
	if err != nil {
		log.Fatal(err)
	}
	if err := hosts[0].Stash.Put(ctx, "sessions", "ada", value); err != nil { // as a client's call does
		log.Fatal(err)
	}
	keys, err := hosts[1].Stash.Keys(ctx, "sessions", "")
	fmt.Println(keys, err)
	// Output: [ada] <nil>
}
