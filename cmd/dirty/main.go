//go:build !man

// Command dirty looks at the dirty workers of a gunicorn, calls their actions, reads
// their stash, and watches and measures what passes.
//
//	dirty demo
//	dirty status
//	dirty exec app:Model classify @cat.png top_k=5
//	dirty decode testdata/sessions/gunicorn-25.1.0.bin
//
// Run "dirty help" for the commands and the exit statuses.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
