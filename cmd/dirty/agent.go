package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
)

const helpAgent = `Lets the fronts of other hosts call the workers of this one. It passes a request on when
a worker is free, and refuses it at once when none is, so that the front asks another
host. The arbiter is chosen as for all commands, and need not run yet.

Agents and fronts show each other certificates of one authority, see "dirty cluster
certs". The files are read again when they change. --plain does without: whoever reaches
the port can call the workers.

With --nats it tells the fronts of itself, which then need no --member. They dial ADDR,
or what --advertise says. While NATS is away, fronts that know the agent go on calling.

It runs until it is interrupted. Then it takes no new requests and waits for those that
run.`

// clusterFlags say who a process of a cluster is.
type clusterFlags struct {
	cert, key, ca string
	plain         bool
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "cert", "", "`FILE` of the certificate, in PEM")
	cmd.Flags().StringVar(&f.key, "key", "", "`FILE` of its private key")
	cmd.Flags().StringVar(&f.ca, "ca", "", "`FILE` of the authority's certificate")
	cmd.Flags().BoolVar(&f.plain, "plain", false, "speak plain TCP: nobody checks who is there")
}

// tls returns the certificate, nil for plain TCP.
func (f *clusterFlags) tls(cmd *cobra.Command, c *cli) (*cluster.TLS, error) {
	named := f.cert != "" || f.key != "" || f.ca != ""
	switch {
	case f.plain && named:
		return nil, usagef("%s: --plain uses no certificate", nameOf(cmd))
	case f.plain:
		return nil, nil
	case f.cert == "" || f.key == "" || f.ca == "":
		return nil, usagef("%s: want --cert, --key and --ca, or --plain", nameOf(cmd))
	}
	return &cluster.TLS{CertFile: f.cert, KeyFile: f.key, CAFile: f.ca, Logger: c.logger()}, nil
}

func (c *cli) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent ADDR",
		Short: "Let other hosts call the workers of this one",
		Long:  helpAgent,
		Example: "  dirty agent :9500 -s /run/app/dirty.sock --cert gpu1.pem --key gpu1.key --ca ca.pem\n" +
			"  dirty agent :9500 --advertise 10.0.0.7:9500 --nats nats://10.0.0.2,nats://10.0.0.3 \\\n" +
			"    --nats-creds gpu1.creds --cert gpu1.pem --key gpu1.key --ca ca.pem\n" +
			"  dirty agent 127.0.0.1:9500 --plain",
		Args: needArgs(1, 1, "the address to listen on, such as :9500"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.Flags().StringVarP(&c.dial.socket, "socket", "s", "", "`PATH` of the arbiter's socket")
	cmd.Flags().StringVar(&c.dial.pidFile, "pid-file", "", "the pid `FILE` of the arbiter")
	var who clusterFlags
	who.add(cmd)
	var nats natsFlags
	nats.add(cmd, "tell the fronts of this agent")
	var cfg cluster.AgentConfig
	cmd.Flags().StringVar(&cfg.Advertise, "advertise", "", "the `ADDR` that fronts dial, with --nats")
	cmd.Flags().IntVar(&cfg.Slots, "slots", 0, "how many requests run at one time; 0 is one for each worker of the status")
	cmd.Flags().DurationVar(&cfg.AnswerTimeout, "answer-timeout", cluster.DefaultAnswerTimeout, "how long the arbiter may take to answer; more than its dirty_timeout")
	cmd.Flags().DurationVar(&cfg.DrainTimeout, "drain-timeout", cluster.DefaultDrainTimeout, "how long to wait at the end for what runs")
	cmd.Flags().BoolVar(&cfg.StopAbandoned, "stop-abandoned", false, "leave a request when its caller leaves: for a Go server, not for gunicorn")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.TLS, err = who.tls(cmd, c); err != nil {
			return err
		}
		cfg.Plain, cfg.Logger = who.plain, c.logger()
		if err := checkAdvertise(args[0], cfg.Advertise, nats.urls != ""); err != nil {
			return err
		}
		t, err := c.chooseTarget(cmd.Context())
		if err != nil {
			return err
		}
		cfg.Arbiter = append(cfg.Arbiter, client.WithResolver(t.resolve))
		if t.dial != nil {
			cfg.Arbiter = append(cfg.Arbiter, client.WithDialer(t.dial))
		}
		link, err := nats.connect(cmd, cfg.Logger)
		if err != nil {
			return err
		}
		defer link.end()
		return c.agent(cmd.Context(), args[0], cfg, link)
	}
	return cmd
}

// checkAdvertise returns an error if fronts could not dial what an agent tells them.
func checkAdvertise(listen, advertise string, told bool) error {
	switch {
	case !told && advertise != "":
		return usagef("agent: --advertise without --nats: fronts are not told of it")
	case advertise != "" && !hasPort(advertise):
		return usagef("agent: --advertise %s: want ADDR:PORT", advertise)
	case told && advertise == "" && isEveryAddress(listen):
		return usagef("agent: fronts cannot dial %s: want --advertise ADDR:PORT", listen)
	}
	return nil
}

// isEveryAddress reports whether an address to listen on stands for all of the host.
func isEveryAddress(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip, _ := netip.ParseAddr(host)
	return err == nil && (host == "" || ip.IsUnspecified())
}

// agent runs an agent. With a link it tells fronts of it.
func (c *cli) agent(ctx context.Context, addr string, cfg cluster.AgentConfig, link *natsLink) error {
	a, err := cluster.NewAgent(cfg)
	if err != nil {
		return &statusError{status: exitUsage, kind: kindUsage, text: err.Error()}
	}
	l, err := cluster.Listen(addr)
	if err != nil {
		_ = a.Close()
		return err
	}
	if err := c.tellAgent(a, l); err != nil {
		_ = l.Close()
		_ = a.Close()
		return err
	}
	var telling sync.WaitGroup
	if link != nil {
		telling.Go(func() { link.announce(ctx, a) })
	}
	err = a.Run(ctx, l)
	telling.Wait() // it says that the agent leaves
	return err
}

// tellAgent says where an agent listens.
func (c *cli) tellAgent(a *cluster.Agent, l net.Listener) error {
	host, addr := a.Member().Host, l.Addr().String()
	if c.format == formatJSON {
		return c.printJSONLine(struct {
			Host string `dirty:"host"`
			Addr string `dirty:"addr"`
		}{host, addr})
	}
	_, err := fmt.Fprintf(c.stdout, "the agent of %s listens on %s\n", printable(host), addr)
	return err
}
