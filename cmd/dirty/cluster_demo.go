package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	dirtynats "github.com/gunicorn-go/dirty/nats"
)

const helpClusterDemo = `Starts three hosts in this process, each a Go server with an agent before it, and a
front, over TCP with certificates that it makes. They find each other over NATS, which it
starts too. Calls spread over the hosts, all share a stash, and a job runs. One host is
killed under load and comes back, and one leaves. It says what happened. The exit status
is 0 only if all went as it should.`

// clusterDemoTime bounds the whole demonstration.
const clusterDemoTime = time.Minute

func (c *cli) clusterDemoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See three hosts and a front at work",
		Long:    helpClusterDemo,
		Example: "  dirty cluster demo",
		Args:    needArgs(0, 0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runClusterDemo(cmd.Context(), c.stdout) },
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

func runClusterDemo(ctx context.Context, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, clusterDemoTime)
	defer cancel()
	folder, err := os.MkdirTemp("", "dirty")
	if err != nil {
		return err
	}
	d := &clusterDemo{ctx: ctx, out: stdout, folder: folder, runs: map[int]int{}}
	defer d.end()
	if err := d.run(); err != nil {
		return fmt.Errorf("cluster demo: %w", err)
	}
	_, err = fmt.Fprintln(stdout, "\nAll went as it should.")
	return err
}

func (d *clusterDemo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// run takes each step.
func (d *clusterDemo) run() error {
	if err := d.start(); err != nil {
		return err
	}
	for _, step := range []struct {
		title string
		take  func() error
	}{
		{"Calls go to the hosts with free workers", d.spread},
		{"Hosts and callers share a stash", d.share},
		{"A job outlives its caller", d.runJob},
		{"A host is killed under load", d.kill},
		{"It comes back", d.revive},
		{"A host leaves under load", d.leave},
	} {
		d.say("\n%s", step.title)
		if err := step.take(); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title), err)
		}
	}
	return nil
}

func (d *clusterDemo) spread() error {
	t, err := d.load(func() error { return nil })
	if err != nil {
		return err
	}
	d.tell(t)
	if len(t.hosts) != len(d.hosts) || t.unknown+len(t.neverRan) > 0 {
		return errors.New("each host should have answered, and each call")
	}
	return nil
}

// share puts a value at the front, and gets it on a host.
func (d *clusterDemo) share() error {
	if err := d.client.Stash("models").Put(d.ctx, "llama", "warm"); err != nil {
		return err
	}
	h := d.hosts[2]
	host, err := client.New(client.WithSocket(d.socket(h)))
	if err != nil {
		return err
	}
	defer host.Close()
	value, err := client.StashGet[string](d.ctx, host.Stash("models"), "llama")
	if err != nil {
		return err
	}
	d.say("    a caller puts llama at the front, and %s gets %q", h.name, value)
	return nil
}

// runJob submits a job twice. It runs once.
func (d *clusterDemo) runJob() error {
	jobs, err := dirtynats.OpenJobs(d.ctx, d.js, dirtynats.JobsConfig{Bucket: dirtynats.Bucket{Timeout: clusterDemoTime}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(d.ctx)
	worked := make(chan error, 1)
	go func() { worked <- jobs.Work(ctx, dirtynats.WorkConfig{Client: d.client}) }()
	d.ends = append(d.ends, func() { <-worked })
	defer stop()
	n := int(d.last.Add(1))
	job := dirtynats.Job{ID: "demo", App: clusterApp, Action: "work", Args: []any{n}}
	first, err := jobs.Submit(d.ctx, job)
	if err != nil {
		return err
	}
	second, err := jobs.Submit(d.ctx, job)
	if err != nil {
		return err
	}
	result, err := jobs.Wait(d.ctx, job.ID)
	if err != nil {
		return err
	}
	var host string
	if err := dirty.Unmarshal(result, &host); err != nil {
		return err
	}
	if !first || second {
		return fmt.Errorf("it should have been new at first and not then, not %t and %t", first, second)
	}
	d.say("    it was submitted twice, %s has run it once, and NATS keeps the result", host)
	return d.check(&tally{answered: []int{n}})
}

// victim is the host that is killed.
func (d *clusterDemo) victim() *demoHost { return d.hosts[1] }

func (d *clusterDemo) kill() error {
	t, err := d.load(func() error {
		d.victim().nats.Close() // the dead say nothing
		err := d.victim().agent.Close()
		<-d.victim().served
		return err
	})
	if err != nil {
		return err
	}
	d.tell(t)
	return d.awaitUp(len(d.hosts) - 1)
}

func (d *clusterDemo) revive() error {
	if err := d.serveAgent(d.victim()); err != nil {
		return err
	}
	if err := d.awaitUp(len(d.hosts)); err != nil {
		return err
	}
	t, err := d.load(func() error { return nil })
	if err != nil {
		return err
	}
	d.tell(t)
	if t.hosts[d.victim().name] == 0 {
		return errors.New("it should have answered")
	}
	return nil
}

func (d *clusterDemo) leave() error {
	t, err := d.load(func() error {
		err := d.victim().agent.Shutdown(d.ctx)
		<-d.victim().served
		return err
	})
	if err != nil {
		return err
	}
	d.tell(t)
	if t.unknown+len(t.neverRan) > 0 {
		return errors.New("each call should have been answered")
	}
	return nil
}
