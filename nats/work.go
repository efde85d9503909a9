package dirtynats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// The defaults and bounds of WorkConfig.
const (
	DefaultMaxStarts    = 20
	DefaultDrainTimeout = 30 * time.Second
	// MaxSlots bounds WorkConfig.Slots.
	MaxSlots = 10_000
)

const (
	// startPause is how long a job rests that found no worker on a host.
	startPause = time.Second
	// fetchWait is how long a host waits for a job before it asks again.
	fetchWait = time.Second
	// retryPause is the time between two attempts while NATS is away, and logPause that
	// between two log lines about it.
	retryPause = 200 * time.Millisecond
	logPause   = time.Minute
	// logTime is how long the Logger is waited for.
	logTime = time.Second
)

// WorkConfig is what Work needs.
type WorkConfig struct {
	// Client makes the calls: to an arbiter of this host, or through a front of package
	// cluster. It is needed. Its [client.WithStreamTimeout] bounds how long a job may
	// take until its first chunk or its result, 30 seconds by default.
	Client *client.Client

	// Slots is how many jobs run at one time: as many as there are workers. 0 is 1.
	Slots int

	// Host is the name that JobInfo.Host shows, at most MaxJobID bytes. By default it is
	// that of the system.
	Host string

	// MaxStarts is how many times hosts together try to start a job. Then it fails with
	// the last error. 0 is DefaultMaxStarts.
	MaxStarts int

	// DrainTimeout is how long Work waits for jobs that run when it is to end. What
	// still runs then is left, and its outcome is unknown. 0 is DefaultDrainTimeout.
	DrainTimeout time.Duration

	// Logger is told of jobs whose end could not be stored, and of NATS being away. By
	// default Work does not log.
	Logger *slog.Logger
}

// errHostStopped is why a call ends that Work does not wait for any longer.
var errHostStopped = errors.New("the host was stopped")

// Work takes jobs and runs them until ctx ends. Then it takes no more, waits for those
// that run, and returns nil. It goes on while NATS is away, and keeps the results of
// what has ended until NATS is back.
func (j *Jobs) Work(ctx context.Context, config WorkConfig) error {
	switch {
	case config.Client == nil:
		return errors.New("dirtynats: WorkConfig has no Client")
	case config.Slots < 0 || config.Slots > MaxSlots:
		return fmt.Errorf("dirtynats: Slots is %d, not between 0 and %d", config.Slots, MaxSlots)
	case len(config.Host) > MaxJobID:
		return fmt.Errorf("dirtynats: Host has %d bytes, more than %d", len(config.Host), MaxJobID)
	case config.MaxStarts < 0:
		return fmt.Errorf("dirtynats: MaxStarts is %d, less than 0", config.MaxStarts)
	case config.DrainTimeout < 0:
		return fmt.Errorf("dirtynats: DrainTimeout is %v, less than 0", config.DrainTimeout)
	}
	if config.Host == "" {
		config.Host, _ = os.Hostname() // without a name it is shown as ""
	}
	config.Slots = cmp.Or(config.Slots, 1)
	config.MaxStarts = cmp.Or(config.MaxStarts, DefaultMaxStarts)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	w := &worker{Jobs: j, WorkConfig: config}
	calls, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	w.take(ctx, calls, &running)
	timer := time.AfterFunc(cmp.Or(config.DrainTimeout, DefaultDrainTimeout), func() { stop(errHostStopped) })
	defer timer.Stop()
	running.Wait()
	return nil
}

// worker takes and runs jobs.
type worker struct {
	*Jobs
	WorkConfig
}

// log writes a line. The Logger is the user's: it may panic, end its goroutine, or block. In
// that case jobs go on without the line.
func (w *worker) log(level slog.Level, message string, args ...any) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer func() { _ = recover() }() // whom could it be told?
		w.Logger.Log(context.Background(), level, message, args...)
	}()
	select {
	case <-written:
	case <-time.After(logTime):
	}
}

// take takes jobs until ctx ends, and runs each in a goroutine whose context is calls.
func (w *worker) take(ctx, calls context.Context, running *sync.WaitGroup) {
	slots := make(chan struct{}, w.Slots)
	var queue jetstream.Consumer
	var logged time.Time // zero while all is well
	for {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		var msg jetstream.Msg
		var err error
		if queue == nil {
			queue, err = w.openQueue(ctx)
		}
		if err == nil {
			msg, err = next(queue)
		}
		if err == nil {
			logged = time.Time{}
		}
		switch {
		case msg != nil && ctx.Err() == nil:
			running.Go(func() {
				defer func() { <-slots }()
				w.handle(calls, msg)
			})
			continue
		case msg != nil:
			_ = msg.Nak() // for another host
		case err != nil && ctx.Err() == nil:
			queue = nil // it may be gone
			if time.Since(logged) >= logPause {
				w.log(slog.LevelWarn, "dirtynats: no job can be taken", "error", err)
				logged = time.Now()
			}
			sleep(ctx, retryPause)
		}
		<-slots
	}
}

// sleep waits for a time, but not longer than ctx, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// openQueue returns the consumer from which all hosts take jobs. A job that a host has
// taken is told to another one if that host says nothing for as long as the lease.
func (w *worker) openQueue(ctx context.Context) (queue jetstream.Consumer, err error) {
	err = w.records.do(ctx, func(ctx context.Context) error {
		return repeat(ctx, func(ctx context.Context) error {
			queue, err = w.records.stream().CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable: "hosts", AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.lease, MaxAckPending: -1,
				FilterSubject: w.records.prefix + "*" + recordQueue + ".v",
			})
			return err
		})
	})
	return queue, err
}

// next returns the next job of the queue, or nil if there was none for a while.
func next(queue jetstream.Consumer) (jetstream.Msg, error) {
	batch, err := queue.Fetch(1, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return nil, err
	}
	return <-batch.Messages(), batch.Error()
}

// handle runs the job in a message of the queue, if this host can take it. A message
// that is not answered comes back after the lease.
func (w *worker) handle(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		w.log(slog.LevelError, "dirtynats: a message that is no job", "error", err)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(msg.Subject(), w.records.prefix), ".")
	run := &run{worker: w, name: name, id: nuid.Next(), msg: msg, seq: meta.Sequence.Stream, starts: int(meta.NumDelivered)}
	switch err := run.insist(ctx, run.claim); {
	case err == nil:
		run.execute(ctx)
	case errors.Is(err, errNotOurs):
	default:
		w.log(slog.LevelWarn, "dirtynats: a job could not be taken", "error", err)
	}
}

// run is one job that this host tries to run.
type run struct {
	*worker
	name   string // of its records
	id     string // by which the state tells this run from others
	msg    jetstream.Msg
	seq    uint64 // the number of msg
	starts int    // how often the queue has handed it out
	info   JobInfo
	chunks int
}

// errNotOurs says that a job is not to be run here.
var errNotOurs = errors.New("the job is not this host's")

// claim takes the job. Of many hosts that try only one succeeds.
func (r *run) claim(ctx context.Context) error {
	for {
		old, info, err := r.state(ctx, r.name)
		switch {
		case err != nil:
			return err
		case old == nil || info.State.Ended():
			if err := r.dequeue(ctx, r.name, r.seq); err != nil {
				return err
			}
			return cmp.Or(r.msg.Ack(), errNotOurs)
		case info.State == JobRunning && info.Run == r.id:
			r.info = info // an attempt before this one has arrived after all
			return nil
		case info.State == JobRunning && r.starts > 1:
			if err := r.giveUp(ctx); err != nil {
				return err
			}
			return cmp.Or(r.msg.Ack(), errNotOurs)
		case info.State == JobRunning:
			return cmp.Or(r.msg.NakWithDelay(r.lease), errNotOurs)
		}
		info.State, info.Host, info.Run = JobRunning, r.Host, r.id
		_, err = r.setState(ctx, r.name, old, info)
		switch {
		case err == nil:
			r.info = info
			return nil
		case !errors.Is(err, errConflict):
			return err
		}
	}
}

// giveUp says that the host that had taken the job has fallen silent.
func (r *run) giveUp(ctx context.Context) error {
	chunks, err := r.records.names(ctx, r.name+recordChunk+"*")
	if err != nil {
		return err
	}
	err = r.change(ctx, r.name, func(info *JobInfo) error {
		if info.State != JobRunning {
			return errNotOurs
		}
		info.State, info.Chunks = JobUnknown, len(chunks)
		info.Error = fmt.Sprintf("host %s took the job and fell silent", info.Host)
		return nil
	})
	if errors.Is(err, errNotOurs) || errors.Is(err, ErrJobNotFound) {
		return nil // it has ended after all
	}
	return err
}

// errToCancel is why a call ends whose job was canceled.
var errToCancel = errors.New("the job is to be canceled")

// execute runs the job that was claimed, and stores its end.
func (r *run) execute(ctx context.Context) {
	calling, cancel := context.WithCancelCause(ctx)
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { r.keepAlive(alive, cancel) })
	result, err := r.call(calling)
	if cause := context.Cause(calling); err != nil && cause != nil {
		err = cause
	}
	r.settle(ctx, result, err)
	end()
	helpers.Wait()
	cancel(nil)
}

// keepAlive tells NATS that the job runs, and looks whether it is to be canceled.
func (r *run) keepAlive(ctx context.Context, cancel context.CancelCauseFunc) {
	changed, stop, err := r.watch(r.name)
	if err == nil { // else the ticker will do
		defer stop()
	}
	ticker := time.NewTicker(r.lease / 3)
	defer ticker.Stop()
	for {
		info, err := r.Info(ctx, r.info.ID)
		if err == nil && info.Canceling && info.Run == r.id {
			cancel(errToCancel)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
			_ = r.msg.InProgress() // if NATS is away, the next one may arrive
		}
	}
}

// call makes the call, and stores its chunks as they come.
func (r *run) call(ctx context.Context) (result dirty.RawValue, err error) {
	var encoded []byte
	err = r.insist(ctx, func(ctx context.Context) (err error) {
		_, encoded, err = r.records.read(ctx, r.name+recordQueue)
		return err
	})
	if err != nil {
		return nil, err
	}
	var arguments arguments
	if err := dirty.Unmarshal(encoded, &arguments); err != nil {
		return nil, err
	}
	args := make([]any, 0, len(arguments.Args)+1)
	for _, arg := range arguments.Args {
		args = append(args, arg)
	}
	kwargs := client.Kwargs{}
	for name, value := range arguments.Kwargs {
		kwargs[name] = value
	}
	stream, err := r.Client.OpenStream(ctx, r.info.App, r.info.Action, append(args, kwargs)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	result = dirty.AppendNone(nil)
	for {
		value, err := client.RecvOf[dirty.RawValue](stream)
		switch {
		case errors.Is(err, io.EOF):
			return result, nil
		case err != nil:
			return nil, err
		case stream.Single():
			result = value
			continue
		}
		if err := r.storeChunk(ctx, value); err != nil {
			return nil, fmt.Errorf("a chunk could not be stored: %w", err)
		}
	}
}

func (r *run) storeChunk(ctx context.Context, value []byte) error {
	name := chunkName(r.name, r.chunks)
	r.chunks++
	err := r.insist(ctx, func(ctx context.Context) error { return r.replace(ctx, name, value) })
	if err == nil {
		r.tell(r.name)
	}
	return err
}

// replace stores what a job leaves, whether it is there already or not: a first attempt
// may have arrived without an answer.
func (r *run) replace(ctx context.Context, name string, value []byte) error {
	if err := r.records.checkSize(value); err != nil {
		return err
	}
	for {
		old, err := r.records.get(ctx, name)
		if err != nil {
			return err
		}
		_, err = r.records.put(ctx, name, old, write{value: value, ttl: r.keep})
		if !errors.Is(err, errConflict) {
			return err
		}
	}
}

// insist does something again and again while NATS is away. When ctx ends, one attempt
// is made or ended still.
func (r *run) insist(ctx context.Context, f func(context.Context) error) error {
	for {
		err := r.records.do(context.WithoutCancel(ctx), f)
		if !errors.Is(err, ErrUnavailable) || !sleep(ctx, retryPause) {
			return err
		}
	}
}

// settle stores how the job ended, or puts it back into the queue if it did not begin.
func (r *run) settle(ctx context.Context, result dirty.RawValue, err error) {
	if client.SafeToRetry(err) && r.chunks == 0 && r.starts < r.MaxStarts {
		r.putBack(ctx)
		return
	}
	end := ending(err)
	store := func(ctx context.Context) error {
		if end.State == JobDone {
			if err := r.replace(ctx, r.name+recordResult, result); err != nil {
				return err
			}
		}
		return r.setEnd(ctx, end)
	}
	failure := r.insist(ctx, store)
	if failure != nil && !errors.Is(failure, ErrUnavailable) {
		// The result cannot be kept, because it or the bucket is too large.
		end = JobInfo{State: JobFailed, Error: "the result could not be stored: " + failure.Error()}
		failure = r.insist(ctx, store)
	}
	if failure != nil {
		r.log(slog.LevelError, "dirtynats: the end of a job could not be stored", "id", r.info.ID, "state", end.State, "error", failure)
		return // another host will say that it is unknown
	}
	_ = r.msg.Ack() // else the queue hands it out again, and another host sees that it has ended
}

// ending returns how a job ended whose call returned err.
func ending(err error) JobInfo {
	var remote *dirty.RemoteError
	switch {
	case err == nil:
		return JobInfo{State: JobDone}
	case errors.Is(err, errToCancel):
		return JobInfo{State: JobCanceled}
	case errors.Is(err, errHostStopped), errors.Is(err, client.ErrOutcomeUnknown):
		return JobInfo{State: JobUnknown, Error: err.Error()}
	case errors.As(err, &remote):
		return JobInfo{State: JobFailed, Error: remote.Message, Class: remote.Type}
	}
	return JobInfo{State: JobFailed, Error: err.Error()}
}

// setEnd stores the end. It replaces an "unknown" that another host has said meanwhile.
func (r *run) setEnd(ctx context.Context, end JobInfo) error {
	err := r.change(ctx, r.name, func(info *JobInfo) error {
		if info.Run != r.id || info.State.Ended() && info.State != JobUnknown {
			return errNotOurs
		}
		info.State, info.Error, info.Class, info.Chunks, info.Canceling = end.State, end.Error, end.Class, r.chunks, false
		return nil
	})
	if errors.Is(err, errNotOurs) || errors.Is(err, ErrJobNotFound) {
		return nil // it was stored by an attempt before, or forgotten
	}
	return err
}

// putBack puts a job back into the queue that positively did not run.
func (r *run) putBack(ctx context.Context) {
	err := r.insist(ctx, func(ctx context.Context) error {
		return r.change(ctx, r.name, func(info *JobInfo) error {
			if info.Run != r.id || info.State != JobRunning {
				return errNotOurs
			}
			info.State, info.Host, info.Run = JobQueued, "", ""
			if info.Canceling {
				info.State, info.Canceling = JobCanceled, false
			}
			return nil
		})
	})
	if err == nil {
		_ = r.msg.NakWithDelay(startPause) // else it comes back after the lease
		return
	}
	r.log(slog.LevelWarn, "dirtynats: a job could not be put back", "id", r.info.ID, "error", err)
}
