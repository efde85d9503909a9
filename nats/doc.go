// Package dirtynats keeps in NATS what several hosts with dirty workers share. Only jobs
// carry calls over NATS; all other calls go straight from host to host.
//
//   - [Stash] is a [server.Store]: one stash for any number of Go servers.
//   - [Jobs] are calls that outlive their caller, and run once at most.
//   - [Members] tell the fronts of package cluster which agents there are.
//
// It needs nats-server 2.12 or later, with JetStream for all but Members. Connect with
// [ConnectOptions]. Package embedded starts servers inside this process.
//
// Start reading the code in records.go: Stash and Jobs keep their data with it.
//
// [server.Store]: https://pkg.go.dev/github.com/gunicorn-go/dirty/server#Store
package dirtynats
