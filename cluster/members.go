package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty/internal/rarelog"
)

// Member is where an agent is.
type Member struct {
	// Addr is the address that fronts dial, such as "10.0.0.7:9500". No two members
	// have the same one.
	Addr string

	// Host is the name of the host. If it is set, the agent's certificate must name
	// it. "" accepts every agent that has a certificate.
	Host string

	// Boot is a text that is new each time the agent starts, or "" if that is not
	// known. If it changes, fronts connect at once to the new process.
	Boot string
}

// Members tells a front which agents there are. It need not know which of them are
// alive: a front finds that out by itself.
//
// Watch calls set with the whole list of the agents as soon as it is known, and with
// the whole new list whenever it has changed, until ctx ends. Then it returns. While
// the list cannot be learned, it does not call set: the front keeps the last list. An
// agent that is not in the list any more gets no new calls; those that run go on. The
// front copies the list.
//
// Several fronts may use one Members, so Watch may be called concurrently. set may be
// called from any goroutine, but not at once from several. If Watch returns early, the
// front calls it again after a second.
type Members interface {
	Watch(ctx context.Context, set func([]Member)) error
}

// Static returns Members that never change.
func Static(members ...Member) Members { return static(slices.Clone(members)) }

type static []Member

func (s static) Watch(ctx context.Context, set func([]Member)) error {
	set(s)
	<-ctx.Done()
	return nil
}

// DNS are Members from the addresses of a name, such as that of a headless service
// of Kubernetes. The name is looked up again at each Interval. While that fails, or
// finds no address, the last list stays.
type DNS struct {
	// Name is the name and the port, such as "agents.default.svc:9500".
	Name string

	// Interval is the time between two look-ups; by default [DefaultDNSInterval].
	Interval time.Duration

	// Lookup returns the addresses of a name. By default that of
	// [net.DefaultResolver] does.
	Lookup func(ctx context.Context, name string) (addrs []string, err error)

	// Logger gets a line for each look-up that fails. By default there is none.
	Logger *slog.Logger
}

// DefaultDNSInterval is the default of [DNS.Interval].
const DefaultDNSInterval = 5 * time.Second

// Watch looks the name up again and again.
func (d *DNS) Watch(ctx context.Context, set func([]Member)) error {
	name, port, err := net.SplitHostPort(d.Name)
	if err != nil {
		return errorf("members from DNS: %w", err)
	}
	interval, lookup := d.Interval, d.Lookup
	if interval <= 0 {
		interval = DefaultDNSInterval
	}
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	log := rarelog.New(d.Logger, nil)
	var last []string
	for {
		addrs, err := d.find(ctx, lookup, name, interval)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Write(slog.LevelWarn, "dirty: the agents' addresses were not found, the last ones stay",
				slog.String("name", name), slog.Any("error", err))
		case !slices.Equal(addrs, last):
			last = addrs
			members := make([]Member, len(addrs))
			for i, addr := range addrs {
				members[i].Addr = net.JoinHostPort(addr, port)
			}
			set(members)
		}
		if !sleep(ctx, interval) {
			return nil
		}
	}
}

// find returns the addresses of a name, sorted. There is at least one.
func (d *DNS) find(ctx context.Context, lookup func(context.Context, string) ([]string, error), name string, timeout time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, max(timeout, time.Second))
	defer cancel()
	found, err := lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	addrs := slices.Clone(found)
	slices.SortFunc(addrs, strings.Compare)
	addrs = slices.Compact(addrs)
	if len(addrs) == 0 {
		return nil, errors.New("the name has no addresses")
	}
	return addrs, nil
}
