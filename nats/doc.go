// Package dirtynats keeps in NATS what several hosts with dirty workers share. The
// calls themselves do not go over NATS.
//
//   - [Stash] is a [server.Store]: one stash for any number of Go servers.
//   - [Members] tell the fronts of package cluster which agents there are.
//
// It needs nats-server 2.12 or later, with JetStream for all but Members. Connect with
// [ConnectOptions].
// Package embedded starts servers inside this process.
//
// [server.Store]: https://pkg.go.dev/github.com/gunicorn-go/dirty/server#Store
package dirtynats
