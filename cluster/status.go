package cluster

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// Status is what a front knows of its hosts, at one moment.
type Status struct {
	Hosts   []HostStatus `dirty:"hosts"`   // sorted by name and address
	Waiting int          `dirty:"waiting"` // calls of this front that wait for a free worker
}

// HostStatus is what a front knows of a host.
type HostStatus struct {
	Host    string   `dirty:"host"`    // its name, "" if it is not known yet
	Addr    string   `dirty:"addr"`    // of its agent
	State   string   `dirty:"state"`   // "up", "down", "connecting", or "leaving": it takes no new calls
	Slots   int      `dirty:"slots"`   // how many requests it can run at one time
	Free    int      `dirty:"free"`    // how many more it could run now
	Running int      `dirty:"running"` // calls of this front
	Apps    []string `dirty:"apps"`    // sorted
	Error   string   `dirty:"error"`   // why it is down
}

// statusApp is the reserved app by which clients of a front get its Status. Its only
// action has any name.
const statusApp = "dirty-cluster:Front"

// ReadStatus asks a front for its status, through a client of the front's socket.
func ReadStatus(ctx context.Context, c *client.Client) (Status, error) {
	return client.Call[Status](ctx, c, statusApp, "status")
}

// Status returns what the front knows now. It asks nobody.
func (f *Front) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{Hosts: []HostStatus{}, Waiting: f.queue.length}
	for _, h := range f.hosts {
		s.Hosts = append(s.Hosts, h.status())
	}
	slices.SortFunc(s.Hosts, func(a, b HostStatus) int {
		return strings.Compare(a.Host+"\x00"+a.Addr, b.Host+"\x00"+b.Addr)
	})
	return s
}

// status returns the status of a host. The lock is held.
func (h *host) status() HostStatus {
	s := HostStatus{Host: h.name(), Addr: h.member.Addr, State: "up", Apps: []string{}}
	switch {
	case h.link == nil && h.tried:
		s.State, s.Error = "down", h.err.Error()
		return s
	case h.link == nil:
		s.State = "connecting"
		return s
	case h.retired || h.link.load.Leaving:
		s.State = "leaving"
	}
	s.Slots, s.Free, s.Running = h.link.load.All.Slots, max(h.link.budget.left, 0), h.link.running
	for app := range h.link.load.Apps {
		s.Apps = append(s.Apps, app)
	}
	slices.Sort(s.Apps)
	return s
}

// allWorkers is the answer to a STATUS: that of an arbiter, for all hosts together.
type allWorkers struct {
	ArbiterPID  int          `dirty:"arbiter_pid"` // of the front
	Workers     []hostWorker `dirty:"workers"`
	WorkerCount int          `dirty:"worker_count"`
	Apps        []string     `dirty:"apps"`
	Missing     []string     `dirty:"missing,omitempty"` // hosts that did not answer
}

// hostWorker is a worker of one of the hosts.
type hostWorker struct {
	dirty.WorkerStatus
	Host string `dirty:"host"`
}

// workers asks all hosts for their workers, for at most the time of silence.
func (f *Front) workers(ctx context.Context) allWorkers {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	f.mu.Lock()
	hosts := map[*client.Client]string{} // their names
	for _, h := range f.hosts {
		if h.link != nil {
			hosts[h.link.control] = h.name()
		}
	}
	f.mu.Unlock()
	all := allWorkers{ArbiterPID: os.Getpid(), Workers: []hostWorker{}, Apps: []string{}}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for c, name := range hosts {
		asking.Go(func() {
			s, err := c.Status(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				all.Missing = append(all.Missing, name)
				return
			}
			all.Apps = append(all.Apps, s.Apps...)
			for _, w := range s.Workers {
				all.Workers = append(all.Workers, newHostWorker(name, w))
			}
		})
	}
	asking.Wait()
	slices.Sort(all.Apps)
	all.Apps = slices.Compact(all.Apps)
	slices.Sort(all.Missing)
	slices.SortFunc(all.Workers, func(a, b hostWorker) int {
		if a.Age != b.Age {
			return a.Age - b.Age
		}
		return strings.Compare(a.Host, b.Host)
	})
	all.WorkerCount = len(all.Workers)
	return all
}

func newHostWorker(host string, w client.Worker) hostWorker {
	age := w.HeartbeatAge.Seconds()
	if !w.Booted {
		age = -1 // gunicorn's way to say that none has come
	}
	return hostWorker{Host: host, WorkerStatus: dirty.WorkerStatus{
		PID: w.PID, Age: w.Age, Apps: w.Apps, Booted: w.Booted, LastHeartbeat: &age}}
}
