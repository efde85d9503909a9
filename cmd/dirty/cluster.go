package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
)

const helpCluster = `Commands for calls that are spread over several hosts. On each host with workers runs
"dirty agent", and where the callers are "dirty front". docs/CLUSTER.md explains it.`

const helpClusterStatus = `Asks a front what it knows of its hosts.

  STATE    up; down: the agent cannot be reached; connecting: not reached yet;
           leaving: it takes no new calls
  SLOTS    how many calls can run there at one time
  FREE     how many more could run now
  RUNNING  calls of this front that run there

-s names the socket of the front. The exit status is 7 if no host is up.`

func (c *cli) clusterCommand() *cobra.Command {
	cmd := c.group(&cobra.Command{
		Use:     "cluster",
		Short:   "Calls that are spread over several hosts",
		Long:    helpCluster,
		Example: "  dirty cluster status -s /run/app/front.sock",
	})
	cmd.AddCommand(c.clusterStatusCommand(), c.clusterTopCommand(), c.clusterDemoCommand(), c.clusterCertsCommand())
	return cmd
}

func (c *cli) clusterStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Print the hosts of a front",
		Long:    helpClusterStatus,
		Example: "  dirty cluster status -s /run/app/front.sock\n  dirty cluster status -s /run/app/front.sock -o json | jq '.hosts[].state'",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		front, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer front.Close()
		return c.clusterStatus(cmd.Context(), front)
	}
	return cmd
}

func (c *cli) clusterStatus(ctx context.Context, front *client.Client) error {
	s, err := readClusterStatus(ctx, front)
	if err != nil {
		return err
	}
	if c.format == formatJSON {
		err = c.printJSONLine(s)
	} else {
		c.printClusterStatus(s)
	}
	for _, h := range s.Hosts {
		if h.State == "up" {
			return err
		}
	}
	return negativef("no host is up")
}

// readClusterStatus asks a front for its status.
func readClusterStatus(ctx context.Context, front *client.Client) (cluster.Status, error) {
	s, err := cluster.ReadStatus(ctx, front)
	if client.Outcome(err) == "no_workers" {
		return s, negativef("there is no front at this socket: %v", err)
	}
	return s, err
}

func (c *cli) printClusterStatus(s cluster.Status) {
	fmt.Fprintf(c.stdout, "%s, %s waiting\n", count(len(s.Hosts), "host"), count(s.Waiting, "call"))
	if len(s.Hosts) == 0 {
		return
	}
	shape := tableShape{width: widthOf(c.stdout), colorful: c.colorful(c.stdout)}
	fmt.Fprintln(c.stdout, renderRows(s.Hosts, hostColumns, shape))
}

// appsOrError returns the last cell of a host: its apps, or why it is down.
func appsOrError(h cluster.HostStatus) string {
	return cmp.Or(h.Error, strings.Join(h.Apps, ", "), "-")
}
