package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/server"
)

const helpFront = `Listens on a Unix socket and sends each call to a host with a free worker. Clients need
not know: start them with GUNICORN_DIRTY_SOCKET=LISTEN.

The agents are named one of three ways:

  --member gpu1=10.0.0.7:9500   once for each; this one must have the certificate of gpu1
  --member 10.0.0.7:9500        this one must have the certificate of an agent
  --dns agents.svc:9500         a name that has the address of each agent, such as that
                                of a headless service; looked up again every 5 seconds
  --nats nats://10.0.0.2        servers of NATS, over which agents with --nats tell of
                                themselves; while NATS is away the last list stays

Each arbiter has a stash of its own. So the stash is refused, but with one of these:

  --stash-host gpu1             the clients use that of one host
  --stash-memory                the front keeps one, which is gone with the front
  --stash-bucket app            one in NATS, which all fronts with that bucket share.
                                --nats says where; agents may then be named another way

It runs until it is interrupted, and then waits for the calls that run.`

// memberFlags say where the agents are.
type memberFlags struct {
	members []string
	dns     string
}

// named reports whether agents are named without NATS.
func (f *memberFlags) named() bool { return len(f.members) > 0 || f.dns != "" }

// find returns the Members. The link to NATS is nil if there is none.
func (f *memberFlags) find(cmd *cobra.Command, c *cli, link *natsLink) (cluster.Members, error) {
	switch {
	case len(f.members) > 0 && f.dns != "":
		return nil, usagef("%s: --member and --dns both: name the agents one way", nameOf(cmd))
	case !f.named() && link != nil:
		return link.members, nil
	case f.dns != "":
		if !hasPort(f.dns) {
			return nil, usagef("%s: --dns %s: want NAME:PORT", nameOf(cmd), f.dns)
		}
		return &cluster.DNS{Name: f.dns, Logger: c.logger()}, nil
	case len(f.members) == 0:
		return nil, usagef("%s: want --member, --dns or --nats", nameOf(cmd))
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

// stashFlags say which stash the clients use.
type stashFlags struct {
	host     string
	memory   bool
	bucket   string // in NATS
	replicas int
	ttl      []string
}

func (f *stashFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.host, "stash-host", "", "the `HOST` whose stash the clients use")
	cmd.Flags().BoolVar(&f.memory, "stash-memory", false, "keep a stash in memory for the clients")
	cmd.Flags().StringVar(&f.bucket, "stash-bucket", "", "keep the stash in a `BUCKET` of NATS, which is made if there is none")
	cmd.Flags().IntVar(&f.replicas, "stash-replicas", 1, "on how many NATS servers a new bucket is kept")
	cmd.Flags().StringArrayVar(&f.ttl, "stash-ttl", nil, "`TABLE=TIME` that its keys live; once for each table")
}

// open returns the stash that the front keeps, if it keeps one. One in NATS need not be
// there yet.
func (f *stashFlags) open(cmd *cobra.Command, link *natsLink) (server.Store, error) {
	named := 0
	for _, is := range []bool{f.host != "", f.memory, f.bucket != ""} {
		if is {
			named++
		}
	}
	switch {
	case named > 1:
		return nil, usagef("front: --stash-host, --stash-memory and --stash-bucket: name one stash")
	case f.bucket == "" && (len(f.ttl) > 0 || cmd.Flags().Changed("stash-replicas")):
		return nil, usagef("front: --stash-ttl and --stash-replicas are for --stash-bucket")
	case f.bucket != "" && link == nil:
		return nil, usagef("front: --stash-bucket: want --nats")
	case f.memory:
		return new(server.MemoryStore), nil
	case f.bucket == "":
		return nil, nil
	}
	cfg := dirtynats.StashConfig{Bucket: dirtynats.Bucket{Name: f.bucket, Replicas: f.replicas}, TTL: map[string]time.Duration{}}
	for _, text := range f.ttl {
		i := max(strings.LastIndex(text, "="), 0)
		ttl, err := time.ParseDuration(strings.TrimPrefix(text[i:], "="))
		if err != nil {
			return nil, usagef("front: --stash-ttl %s: want TABLE=TIME, such as sessions=1h", text)
		}
		cfg.TTL[text[:i]] = ttl
	}
	return link.openStash(cmd, cfg)
}

func (c *cli) frontCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "front LISTEN",
		Short: "Send calls to the hosts with free workers",
		Long:  helpFront,
		Example: "  dirty front /run/front.sock --member gpu1=10.0.0.7:9500 --member gpu2=10.0.0.8:9500 \\\n" +
			"    --cert web1.pem --key web1.key --ca ca.pem\n" +
			"  dirty front /run/app/front.sock --dns agents.default.svc:9500 \\\n" +
			"    --cert web1.pem --key web1.key --ca ca.pem\n" +
			"  dirty front /run/app/front.sock --nats nats://10.0.0.2,nats://10.0.0.3 \\\n" +
			"    --nats-creds web1.creds --stash-bucket app --stash-replicas 3 \\\n" +
			"    --stash-ttl sessions=1h --cert web1.pem --key web1.key --ca ca.pem",
		Args: needArgs(1, 1, "the path of the socket to listen on"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	var who clusterFlags
	who.add(cmd)
	var where memberFlags
	var stash stashFlags
	var nats natsFlags
	cmd.Flags().StringArrayVar(&where.members, "member", nil, "`[HOST=]ADDR` of an agent; once for each")
	cmd.Flags().StringVar(&where.dns, "dns", "", "`NAME:PORT` that has the addresses of the agents")
	nats.add(cmd, "the agents there are this front's hosts")
	var cfg cluster.FrontConfig
	cmd.Flags().IntVar(&cfg.MaxQueue, "max-queue", cluster.DefaultMaxQueue, "how many `CALLS` may wait for a free worker; --max-queue=-1 is none")
	cmd.Flags().DurationVar(&cfg.MaxWait, "max-wait", cluster.DefaultMaxWait, "how long a call may wait for a free worker")
	stash.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.TLS, err = who.tls(cmd, c); err != nil {
			return err
		}
		if nats.urls != "" && where.named() && stash.bucket == "" {
			return usagef("front: --nats beside --member or --dns: name the agents one way, or want --stash-bucket")
		}
		cfg.Plain, cfg.Logger = who.plain, c.logger()
		link, err := nats.connect(cmd, cfg.Logger)
		if err != nil {
			return err
		}
		defer link.end()
		if cfg.Members, err = where.find(cmd, c, link); err != nil {
			return err
		}
		cfg.StashHost = stash.host
		if cfg.Stash, err = stash.open(cmd, link); err != nil {
			return err
		}
		return c.front(cmd.Context(), args[0], cfg)
	}
	return cmd
}

func (c *cli) front(ctx context.Context, path string, cfg cluster.FrontConfig) error {
	front, err := cluster.NewFront(cfg)
	if err != nil {
		return &statusError{status: exitUsage, kind: kindUsage, text: err.Error()}
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
