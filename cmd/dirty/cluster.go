package main

import (
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
	cmd.AddCommand(c.clusterStatusCommand(), c.clusterDemoCommand(), c.clusterCertsCommand())
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
	s, err := cluster.ReadStatus(ctx, front)
	if client.Outcome(err) == "no_workers" {
		return negativef("there is no front at this socket: %v", err)
	}
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

func (c *cli) printClusterStatus(s cluster.Status) {
	fmt.Fprintf(c.stdout, "%s, %s waiting\n", count(len(s.Hosts), "host"), count(s.Waiting, "call"))
	if len(s.Hosts) == 0 {
		return
	}
	table := c.newTable("HOST", "ADDR", "STATE", "SLOTS", "FREE", "RUNNING", "APPS")
	for _, h := range s.Hosts {
		apps := strings.Join(h.Apps, ", ")
		if h.Error != "" {
			apps = h.Error
		}
		table.row(h.Host, h.Addr, h.State, fmt.Sprint(h.Slots), fmt.Sprint(h.Free), fmt.Sprint(h.Running), apps)
	}
	table.print()
}
