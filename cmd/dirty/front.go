package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
)

const helpFront = `Listens on a Unix socket and sends each call to a host with a free worker. Clients need
not know: start them with GUNICORN_DIRTY_SOCKET=LISTEN.

The agents are named with --member, once for each, or found by --dns, a name that has
the address of each agent, such as that of a headless service of Kubernetes. The name
is looked up again every 5 seconds.

  --member gpu1=10.0.0.7:9500   the agent there must have the certificate of gpu1
  --member 10.0.0.7:9500        it must have the certificate of an agent

Each arbiter has a stash of its own. With --stash-host the clients use that of one host;
with --stash-memory the front keeps one. Otherwise the stash is refused.

It runs until it is interrupted, and then waits for the calls that run.`

// memberFlags say where the agents are.
type memberFlags struct {
	members []string
	dns     string
}

// find returns the Members.
func (f *memberFlags) find(cmd *cobra.Command, c *cli) (cluster.Members, error) {
	switch {
	case len(f.members) > 0 && f.dns != "":
		return nil, usagef("%s: --member and --dns both: name the agents one way", nameOf(cmd))
	case f.dns != "":
		if !hasPort(f.dns) {
			return nil, usagef("%s: --dns %s: want NAME:PORT", nameOf(cmd), f.dns)
		}
		return &cluster.DNS{Name: f.dns, Logger: c.logger()}, nil
	case len(f.members) == 0:
		return nil, usagef("%s: want --member or --dns", nameOf(cmd))
	}
	var members []cluster.Member
	for _, text := range f.members {
		host, addr, named := strings.Cut(text, "=")
		if !named {
			host, addr = "", text
		}
		if !hasPort(addr) {
			return nil, usagef("%s: --member %s: want ADDR:PORT or HOST=ADDR:PORT", nameOf(cmd), text)
		}
		members = append(members, cluster.Member{Host: host, Addr: addr})
	}
	return cluster.Static(members...), nil
}

// hasPort reports whether an address has a host and a port.
func hasPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && port != ""
}

func (c *cli) frontCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "front LISTEN",
		Short: "Send calls to the hosts with free workers",
		Long:  helpFront,
		Example: "  dirty front /run/front.sock --member gpu1=10.0.0.7:9500 --member gpu2=10.0.0.8:9500 \\\n" +
			"    --cert web1.pem --key web1.key --ca ca.pem\n" +
			"  dirty front /run/app/front.sock --dns agents.default.svc:9500 \\\n" +
			"    --cert web1.pem --key web1.key --ca ca.pem",
		Args: needArgs(1, 1, "the path of the socket to listen on"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	var who clusterFlags
	who.add(cmd)
	var where memberFlags
	cmd.Flags().StringArrayVar(&where.members, "member", nil, "`[HOST=]ADDR` of an agent; once for each")
	cmd.Flags().StringVar(&where.dns, "dns", "", "`NAME:PORT` that has the addresses of the agents")
	var cfg cluster.FrontConfig
	cmd.Flags().IntVar(&cfg.MaxQueue, "max-queue", cluster.DefaultMaxQueue, "how many `CALLS` may wait for a free worker; --max-queue=-1 is none")
	cmd.Flags().DurationVar(&cfg.MaxWait, "max-wait", cluster.DefaultMaxWait, "how long a call may wait for a free worker")
	cmd.Flags().StringVar(&cfg.StashHost, "stash-host", "", "the `HOST` whose stash the clients use")
	memory := cmd.Flags().Bool("stash-memory", false, "keep a stash in memory for the clients")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.TLS, err = who.tls(cmd, c); err != nil {
			return err
		}
		if cfg.Members, err = where.find(cmd, c); err != nil {
			return err
		}
		if *memory && cfg.StashHost != "" {
			return usagef("front: --stash-memory and --stash-host both: name one stash")
		}
		if *memory {
			cfg.Stash = new(server.MemoryStore)
		}
		cfg.Plain, cfg.Logger = who.plain, c.logger()
		return c.front(cmd.Context(), args[0], cfg)
	}
	return cmd
}

func (c *cli) front(ctx context.Context, path string, cfg cluster.FrontConfig) error {
	front, err := cluster.NewFront(cfg)
	if err != nil {
		return &statusError{status: exitUsage, kind: "usage", text: err.Error()}
	}
	defer front.Close()
	l, err := server.Listen(path, 0)
	if err != nil {
		return &statusError{status: exitIO, kind: "io", text: err.Error()}
	}
	s := &server.Server{FrameHandler: front, Logger: cfg.Logger}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	if err := c.tellFront(path); err != nil {
		_ = s.Close()
		<-served
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), frontDrainTime)
	defer cancel()
	err = s.Shutdown(drain)
	<-served
	return err
}

// frontDrainTime is how long a front waits at its end for calls that run.
const frontDrainTime = 30 * time.Second

// tellFront says where a front listens.
func (c *cli) tellFront(path string) error {
	if c.format == formatJSON {
		return c.printJSONLine(struct {
			Socket string `dirty:"socket"`
		}{strings.ToValidUTF8(path, "\ufffd")})
	}
	_, err := fmt.Fprintf(c.stdout, "the front listens on %s\n", printable(path))
	return err
}
