package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/cluster"
)

const helpClusterTop = `Shows the hosts of a front on the terminal, and asks the front again and again. The
columns are those of "dirty cluster status".

  q  ends it                        r  looks at once
  s  sorts by the next column
  arrows, page up and page down, home and end scroll

A front that does not answer is waited for. Without a terminal, and with -o json, each
look is printed: as the same table, or as an object on a line.`

func (c *cli) clusterTopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Watch the hosts of a front on the terminal",
		Long:    helpClusterTop,
		Example: "  dirty cluster top -s /run/app/front.sock\n  dirty cluster top -s /run/app/front.sock --sort free\n  dirty cluster top -s /run/app/front.sock -c 1 -o json | jq .waiting",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	f := newTopFlags(cmd, namesOf(hostColumns))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		front, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer front.Close()
		look := func(ctx context.Context, _ bool) (topSeen, error) {
			at := time.Now()
			s, err := readClusterStatus(ctx, front)
			return &seenFront{at.Format(time.RFC3339Nano), s, at}, err
		}
		return c.top(cmd.Context(), &topScreen{topFlags: *f, title: "dirty cluster top", look: look})
	}
	return cmd
}

// seenFront is what a look at a front has seen, also in JSON.
type seenFront struct {
	Time string `dirty:"time"`
	cluster.Status

	at time.Time
}

func (s *seenFront) time() time.Time { return s.at }

// headline counts the slots of the hosts that take calls.
func (s *seenFront) headline() string {
	up, slots, free := 0, 0, 0
	for _, h := range s.Hosts {
		if h.State == "up" {
			up++
			slots += h.Slots
			free += h.Free
		}
	}
	return fmt.Sprintf("%s, %d up, %s, %d free, %s waiting", count(len(s.Hosts), "host"), up, count(slots, "slot"), free, count(s.Waiting, "call"))
}

func (s *seenFront) sort(column string) { sortRows(s.Hosts, hostColumns, column) }

func (s *seenFront) tables(shape tableShape) []string {
	return []string{renderRows(s.Hosts, hostColumns, shape)}
}

// hostColumns are the columns of cluster status and cluster top, the one to sort by first.
var hostColumns = []topColumn[cluster.HostStatus]{
	{"host", func(h cluster.HostStatus) string { return cmp.Or(h.Host, "-") },
		func(a, b cluster.HostStatus) int {
			return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Addr, b.Addr))
		}},
	{"addr", func(h cluster.HostStatus) string { return h.Addr },
		func(a, b cluster.HostStatus) int { return cmp.Compare(a.Addr, b.Addr) }},
	{"state", func(h cluster.HostStatus) string { return h.State },
		func(a, b cluster.HostStatus) int { return cmp.Compare(a.State, b.State) }},
	{"slots", func(h cluster.HostStatus) string { return fmt.Sprint(h.Slots) },
		func(a, b cluster.HostStatus) int { return cmp.Compare(b.Slots, a.Slots) }},
	{"free", func(h cluster.HostStatus) string { return fmt.Sprint(h.Free) },
		func(a, b cluster.HostStatus) int { return cmp.Compare(a.Free, b.Free) }},
	{"running", func(h cluster.HostStatus) string { return fmt.Sprint(h.Running) },
		func(a, b cluster.HostStatus) int { return cmp.Compare(b.Running, a.Running) }},
	{"apps", appsOrError,
		func(a, b cluster.HostStatus) int {
			return cmp.Or(cmp.Compare(b.Error, a.Error), slices.Compare(a.Apps, b.Apps))
		}},
}
