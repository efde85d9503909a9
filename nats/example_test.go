package dirtynats_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
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

// A job outlives its caller: whoever has the id can wait for its result.
func ExampleJobs() {
	ctx, cancel := context.WithCancel(context.Background())
	servers, err := embedded.Start(embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer servers.Close()
	nc, err := nats.Connect(servers.URL(), dirtynats.ConnectOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	jobs, err := dirtynats.OpenJobs(ctx, js, dirtynats.JobsConfig{Bucket: dirtynats.Bucket{Replicas: 1}})
	if err != nil {
		log.Fatal(err)
	}

	// On each host with workers. Here a Go server stands for the arbiter.
	mux := server.NewMux()
	mux.Handle("reports:Monthly", "make", server.Func(func(_ context.Context, month int) (string, error) {
		return fmt.Sprint("the report of month ", month), nil
	}))
	dir, err := os.MkdirTemp("", "jobs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := server.Listen(filepath.Join(dir, "dirty.sock"), 0o600)
	if err != nil {
		log.Fatal(err)
	}
	arbiter := &server.Server{Handler: mux}
	defer arbiter.Close()
	go arbiter.Serve(listener)
	c, err := client.New(client.WithSocket(filepath.Join(dir, "dirty.sock")))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error)
	go func() { ended <- jobs.Work(ctx, dirtynats.WorkConfig{Client: c, Slots: 4}) }()

	// Anywhere.
	_, err = jobs.Submit(ctx, dirtynats.Job{ID: "report 7", App: "reports:Monthly", Action: "make", Args: []any{7}})
	if err != nil {
		log.Fatal(err)
	}
	result, err := jobs.Wait(ctx, "report 7")
	fmt.Println(dirty.Diagnose(result), err)

	cancel()
	fmt.Println(<-ended)
	// Output:
	// "the report of month 7" <nil>
	// <nil>
}
