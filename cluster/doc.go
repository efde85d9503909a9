// Package cluster spreads the calls of dirty clients over several hosts.
//
// Each host with workers runs an [Agent] before its arbiter or Go server. The agent
// lets in as many requests as the host has free workers, and refuses others at once.
// Whoever calls has a [Front]: a Go program in its own process, Python programs at a
// Unix socket. The front picks the host with the most free workers for each call, among
// 64 if more hosts than that have any.
//
//	     front                            gpu1                  gpu2
//	caller -> Front == TLS 1.3, TCP ==> Agent -> arbiter    Agent -> arbiter
//	          Members: where the agents are
//
// A Go program calls through a [*client.Client] as on one host:
//
//	front, err := cluster.NewFront(cluster.FrontConfig{Members: members, TLS: files})
//	c, err := front.Client()
//	label, err := client.Call[string](ctx, c, "app:Model", "predict", image)
//
// Python programs use gunicorn's own client, at a socket of package server:
//
//	s := &server.Server{FrameHandler: front}
//	err := s.Run(ctx, "/run/app/front.sock")
//
// Calls go over the wire in the dirty protocol itself, and neither the agent nor the
// front decodes them. So results, errors, streams and cancelling are those of one
// host.
//
// # Nothing runs twice
//
// A front sends a call to another host only if the first one has positively not run
// it: nothing was written, or the agent has refused it. In all other cases the caller
// gets [client.ErrOutcomeUnknown]. No clock of any host counts, but for the dates in
// certificates.
//
// # How load is told
//
// A front asks each agent once for its load, as a request of a reserved app that
// streams. So the load needs no broker and no port of its own. A chunk comes when the
// load has changed, at most every few milliseconds, and each second. A host from which
// none comes for 3 seconds is dropped.
//
// Start reading at agent.go or front.go. members.go, tls.go, load.go, slots.go and
// queue.go each have one part.
package cluster
