package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/server"
)

// natsFlags say how NATS is reached, and which cluster there is meant.
type natsFlags struct {
	urls, creds, ca, cert, key string
	cluster                    string
}

func (f *natsFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&f.urls, "nats", "", "`URLS` of NATS servers, with commas between them: "+what)
	cmd.Flags().StringVar(&f.creds, "nats-creds", "", "`FILE` of the credentials for NATS")
	cmd.Flags().StringVar(&f.ca, "nats-ca", "", "`FILE` of the authority of the NATS servers, in PEM")
	cmd.Flags().StringVar(&f.cert, "nats-cert", "", "`FILE` of the certificate for NATS, in PEM")
	cmd.Flags().StringVar(&f.key, "nats-key", "", "`FILE` of its private key")
	cmd.Flags().StringVar(&f.cluster, "cluster", "default", "`NAME` of the cluster, if several share NATS")
}

// natsLink is a connection to NATS.
type natsLink struct {
	*nats.Conn
	members *dirtynats.Members // the agents of the cluster, which tell of themselves
	log     *slog.Logger
	closed  chan struct{} // closed when all was logged
}

// connect returns a connection to NATS, or nil if the flags name none. It need not be up
// yet: while NATS is away, this is logged, and tried again. The caller ends it.
func (f *natsFlags) connect(cmd *cobra.Command, log *slog.Logger) (*natsLink, error) {
	switch {
	case f.urls == "" && (f.creds != "" || f.ca != "" || f.cert != "" || f.key != "" || cmd.Flags().Changed("cluster")):
		return nil, usagef("%s: NATS is not named: want --nats", nameOf(cmd))
	case f.urls == "":
		return nil, nil
	case (f.cert == "") != (f.key == ""):
		return nil, usagef("%s: want both --nats-cert and --nats-key", nameOf(cmd))
	}
	link := &natsLink{log: log, closed: make(chan struct{})}
	options := append(dirtynats.ConnectOptions(), nats.Name(cmd.CommandPath()), nats.RetryOnFailedConnect(true))
	options = append(options, link.handlers()...)
	if f.creds != "" {
		if _, err := os.ReadFile(f.creds); err != nil { // else NATS would seem to be away
			return nil, err
		}
		options = append(options, nats.UserCredentials(f.creds))
	}
	if f.ca != "" {
		options = append(options, nats.RootCAs(f.ca))
	}
	if f.cert != "" {
		options = append(options, nats.ClientCert(f.cert, f.key))
	}
	var err error
	if link.Conn, err = nats.Connect(f.urls, options...); err != nil {
		return nil, explainNATS(cmd, err)
	}
	link.members = &dirtynats.Members{Conn: link.Conn, Name: f.cluster}
	if err := link.members.Validate(); err != nil {
		link.end()
		return nil, usageOf(cmd, "--cluster", err)
	}
	return link, nil
}

// explainNATS returns the error of flags with which NATS cannot be connected to.
func explainNATS(cmd *cobra.Command, err error) error {
	var file *fs.PathError
	var badURL *url.Error
	switch {
	case errors.As(err, &file):
		return err
	case errors.As(err, &badURL):
		err = badURL.Err // the URL may have a password
	}
	return usageOf(cmd, "--nats", err)
}

// usageOf returns the error of a flag whose value the library refuses.
func usageOf(cmd *cobra.Command, flag string, err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "dirtynats: "), "nats: ")
	return usagef("%s: %s: %s", nameOf(cmd), flag, text)
}

// outageInterval is the time between two log lines about one outage of NATS.
const outageInterval = time.Minute

// handlers log what becomes of the connection. NATS calls one after the other.
func (l *natsLink) handlers() []nats.Option {
	var told time.Time // when an outage was logged last; zero: there is none
	warn := func(text string, err error) {
		if err != nil && time.Since(told) >= outageInterval {
			told = time.Now()
			l.log.Warn(text, "error", err)
		}
	}
	away := func(_ *nats.Conn, err error) { warn("dirty: NATS cannot be reached, and is tried again", err) }
	up := func(nc *nats.Conn) {
		if !told.IsZero() {
			l.log.Info("dirty: NATS is reached", "server", nc.ConnectedAddr()) // the URL may have a secret
		}
		told = time.Time{}
	}
	return []nats.Option{
		nats.DisconnectErrHandler(away),
		nats.ReconnectErrHandler(away),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { warn("dirty: NATS reports an error", err) }),
		nats.ConnectHandler(up),
		nats.ReconnectHandler(up),
		nats.ClosedHandler(func(*nats.Conn) { close(l.closed) }),
	}
}

// end closes the connection. A nil one is none.
func (l *natsLink) end() {
	if l != nil {
		l.Close()
		<-l.closed
	}
}

// announce tells fronts of an agent until that leaves.
func (l *natsLink) announce(ctx context.Context, a *cluster.Agent) {
	if err := l.members.Announce(ctx, a); err != nil {
		l.log.Error("dirty: fronts are not told of this agent any more", "error", err)
	}
}

// openStash returns a stash. If NATS is away, this is logged, and the stash is opened
// later.
func (l *natsLink) openStash(cmd *cobra.Command, cfg dirtynats.StashConfig) (server.Store, error) {
	js, err := jetstream.New(l.Conn)
	if err != nil {
		return nil, err
	}
	stash, err := dirtynats.NewStash(js, cfg)
	if err != nil {
		return nil, usageOf(cmd, "the stash", err)
	}
	err = stash.Open(cmd.Context())
	if errors.Is(err, dirtynats.ErrUnavailable) {
		l.log.Warn("dirty: the stash cannot be opened yet, and is tried again when it is used", "error", err)
		err = nil
	}
	return stash, err
}
