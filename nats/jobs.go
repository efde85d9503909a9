package dirtynats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The defaults and bounds of JobsConfig.
const (
	DefaultKeep  = time.Hour
	DefaultLease = 30 * time.Second
	minLease     = time.Second
	// MaxJobID bounds the id of a job in bytes.
	MaxJobID = 256
	// maxJobText and maxJobClass bound the texts in a JobInfo, in bytes. So it fits into
	// its record, even if each byte takes six in JSON.
	maxJobText  = 1000
	maxJobClass = 150
	// watchInterval is when a waiting caller looks again, in case it was told nothing.
	watchInterval = 2 * time.Second
)

// What can be wrong with a job, for [errors.Is].
var (
	ErrJobNotFound = errors.New("there is no such job, or it has expired")
	ErrJobEnded    = errors.New("the job has ended")
	ErrJobNotEnded = errors.New("the job has not ended")
	ErrJobCanceled = errors.New("the job was canceled")
	ErrJobExpired  = errors.New("the chunks or the result of the job have expired")
)

// JobsConfig is what OpenJobs needs. All programs that share jobs must use the same.
type JobsConfig struct {
	// Bucket is where the jobs are. A bucket without a Name is called "dirty-jobs".
	Bucket Bucket

	// Keep is how long a job is kept after its end, with its result: a second or more.
	// 0 is DefaultKeep. A chunk is kept as long after it came.
	Keep time.Duration

	// Lease is how long a host may be silent before its job is taken to be lost: a
	// second or more. 0 is DefaultLease.
	Lease time.Duration
}

// Jobs are calls that outlive their caller. Whoever has an id can wait for the result.
// The methods may be called concurrently.
//
// A job runs once at most. A host that is about to run it takes it first: of many that
// try only one can. If that host dies, or loses NATS for longer than Lease, another
// host that works says so: the state is "unknown" then, because the action may have run
// or not, and nobody runs it again. To have it run again, Forget it and Submit it anew.
// If the first host was alive all the time, its result replaces the "unknown".
//
// A job that a host has taken goes back to the queue only if the action positively did
// not run there; see [client.SafeToRetry].
//
// These are the records in the bucket. JOB is a hash of the id.
//
//	JOB.state    a JobInfo in JSON
//	JOB.queue    the arguments, until the job has ended
//	JOB.chunk.N  chunk N
//	JOB.result   the result
type Jobs struct {
	records *records
	keep    time.Duration
	lease   time.Duration
}

// Job is a call for Submit.
type Job struct {
	ID          string // 1 to MaxJobID bytes of text
	App, Action string
	Args        []any
	Kwargs      client.Kwargs
}

// JobState is where a job is in its life.
type JobState string

// The states of a job.
const (
	JobQueued   JobState = "queued"   // no host has taken it yet
	JobRunning  JobState = "running"  // a host has taken it
	JobDone     JobState = "done"     // it has a result
	JobFailed   JobState = "failed"   // it has an error
	JobCanceled JobState = "canceled" // see Jobs.Cancel
	JobUnknown  JobState = "unknown"  // it was started, and nobody knows what became of it
)

// Ended reports whether the state is a last one. An unknown job can still become done
// or failed, if the host that ran it comes back.
func (s JobState) Ended() bool { return s != JobQueued && s != JobRunning }

// JobInfo is what is known of a job.
type JobInfo struct {
	ID        string    `json:"id"`
	App       string    `json:"app"`
	Action    string    `json:"action"`
	State     JobState  `json:"state"`
	Host      string    `json:"host,omitempty"`      // the one that has taken it
	Canceling bool      `json:"canceling,omitempty"` // it is to be canceled, but still runs
	Chunks    int       `json:"chunks,omitempty"`    // how many there are, once it has ended
	Error     string    `json:"error,omitempty"`     // why it failed or is unknown, cut after 1000 bytes
	Class     string    `json:"class,omitempty"`     // the class of a *dirty.RemoteError, cut after 150 bytes
	Changed   time.Time `json:"-"`                   // when the state changed last, by the clock of NATS

	Run   string `json:"run,omitempty"`   // a text that is new each time a host takes it
	Order uint64 `json:"order,omitempty"` // its place in List
}

// Err returns the error of a job that has ended, or nil if it is done. That of an action
// is a [*dirty.RemoteError]; an unknown outcome matches [client.ErrOutcomeUnknown].
func (i JobInfo) Err() error {
	var err error
	switch i.State {
	case JobDone:
		return nil
	case JobQueued, JobRunning:
		err = ErrJobNotEnded
	case JobCanceled:
		err = ErrJobCanceled
	case JobUnknown:
		err = fmt.Errorf("%w: %s", client.ErrOutcomeUnknown, i.Error)
	default: // failed, or a state of a later version
		err = errors.New(i.Error)
		if i.Class != "" {
			err = &dirty.RemoteError{Type: i.Class, Message: i.Error}
		}
	}
	return fmt.Errorf("dirtynats: job %q: %w", i.ID, err)
}

// OpenJobs opens the jobs in a bucket. It makes the bucket if there is none.
func OpenJobs(ctx context.Context, js jetstream.JetStream, config JobsConfig) (*Jobs, error) {
	j := &Jobs{keep: cmp.Or(config.Keep, DefaultKeep), lease: cmp.Or(config.Lease, DefaultLease)}
	switch {
	case j.keep < minTTL:
		return nil, fmt.Errorf("dirtynats: Keep is %v, less than %v", j.keep, minTTL)
	case j.lease < minLease:
		return nil, fmt.Errorf("dirtynats: Lease is %v, less than %v", j.lease, minLease)
	}
	config.Bucket.Name = cmp.Or(config.Bucket.Name, "dirty-jobs")
	var err error
	if j.records, err = newRecords(js, config.Bucket); err != nil {
		return nil, err
	}
	if err := j.records.open(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// The names of the records of a job, after its token.
const (
	recordState  = ".state"
	recordQueue  = ".queue"
	recordResult = ".result"
	recordChunk  = ".chunk."
)

func chunkName(job string, n int) string { return fmt.Sprint(job, recordChunk, n) }

// Submit puts a job into the queue, and returns when NATS has it. If there is a job with
// that id already, it changes nothing and created is false; so a Submit whose answer
// was lost can be made again.
func (j *Jobs) Submit(ctx context.Context, job Job) (created bool, err error) {
	switch {
	case job.ID == "" || len(job.ID) > MaxJobID || !utf8.ValidString(job.ID):
		return false, fmt.Errorf("dirtynats: the id of the job is %.300q, not 1 to %d bytes of text", job.ID, MaxJobID)
	case job.App == "" || job.Action == "":
		return false, fmt.Errorf("dirtynats: job %q has no App or no Action", job.ID)
	case len(job.App)+len(job.Action) > maxJobText:
		return false, fmt.Errorf("dirtynats: job %q has an App and an Action of over %d bytes", job.ID, maxJobText)
	}
	request, err := encodeArguments(job)
	if err == nil {
		err = j.records.checkSize(request)
	}
	if err != nil {
		return false, fmt.Errorf("dirtynats: job %q: the arguments: %w", job.ID, err)
	}
	name := token(job.ID)
	info := JobInfo{ID: job.ID, App: job.App, Action: job.Action, State: JobQueued}
	err = j.doFor(ctx, job.ID, func(ctx context.Context) error {
		for {
			old, now, err := j.state(ctx, name)
			if err != nil || old != nil && now.State != JobQueued {
				return err
			}
			if old == nil {
				_, err := j.setState(ctx, name, nil, info)
				if errors.Is(err, errConflict) {
					continue
				}
				if err != nil {
					return err
				}
				created = true
			}
			// An earlier Submit may have ended before this.
			_, err = j.records.put(ctx, name+recordQueue, nil, write{value: request})
			if errors.Is(err, errConflict) {
				err = nil
			}
			return err
		}
	})
	return created, err
}

// arguments are those of a job, still encoded.
type arguments struct {
	Args   []dirty.RawValue          `dirty:"args"`
	Kwargs map[string]dirty.RawValue `dirty:"kwargs"`
}

func encodeArguments(job Job) ([]byte, error) {
	args, kwargs := job.Args, job.Kwargs
	if args == nil {
		args = []any{}
	}
	if kwargs == nil {
		kwargs = client.Kwargs{}
	}
	return dirty.Marshal(map[string]any{"args": args, "kwargs": map[string]any(kwargs)})
}

// state returns the record of a job's state with what is in it, or nil.
func (j *Jobs) state(ctx context.Context, name string) (*record, JobInfo, error) {
	rec, err := j.records.get(ctx, name+recordState)
	if rec == nil || err != nil {
		return nil, JobInfo{}, err
	}
	info, err := decodeState(rec)
	return rec, info, err
}

func decodeState(rec *record) (info JobInfo, err error) {
	if err := json.Unmarshal(rec.inline, &info); err != nil {
		return info, fmt.Errorf("a broken record: the state of a job: %w", err)
	}
	info.Changed = rec.time
	info.Order = cmp.Or(info.Order, rec.seq)
	return info, nil
}

// setState replaces the state of a job. It returns errConflict if that has changed.
func (j *Jobs) setState(ctx context.Context, name string, old *record, info JobInfo) (seq uint64, err error) {
	if len(info.Error) > maxJobText {
		info.Error = info.Error[:maxJobText] + "..."
	}
	info.Class = info.Class[:min(len(info.Class), maxJobClass)]
	encoded, err := json.Marshal(info)
	if err != nil {
		return 0, err
	}
	w := write{value: encoded}
	if info.State.Ended() {
		w.ttl = j.keep
	}
	if seq, err = j.records.put(ctx, name+recordState, old, w); err == nil {
		j.tell(name)
	}
	return seq, err
}

// change changes the state of a job to what f makes of it. f may be called again.
func (j *Jobs) change(ctx context.Context, name string, f func(*JobInfo) error) error {
	for {
		old, info, err := j.state(ctx, name)
		if err == nil && old == nil {
			err = ErrJobNotFound
		}
		if err == nil {
			err = f(&info)
		}
		var seq uint64
		if err == nil {
			seq, err = j.setState(ctx, name, old, info)
		}
		if errors.Is(err, errConflict) {
			continue
		}
		if err == nil && info.State.Ended() {
			err = j.dequeue(ctx, name, seq)
		}
		return err
	}
}

// dequeue takes a job that has ended from the queue. What came after the message with
// the number seq stays: the job may have been forgotten and submitted anew meanwhile.
func (j *Jobs) dequeue(ctx context.Context, name string, seq uint64) error {
	_, err := j.records.purge(ctx, name+recordQueue+".>", seq+1)
	return err
}

// doFor is do of the records, for an operation on one job. Its errors name the id.
func (j *Jobs) doFor(ctx context.Context, id string, operation func(context.Context) error) error {
	return j.records.do(ctx, func(ctx context.Context) error {
		if err := operation(ctx); err != nil {
			return fmt.Errorf("job %q: %w", id, err)
		}
		return nil
	})
}

// Info returns what is known of a job, or ErrJobNotFound.
func (j *Jobs) Info(ctx context.Context, id string) (info JobInfo, err error) {
	err = j.doFor(ctx, id, func(ctx context.Context) error {
		var rec *record
		rec, info, err = j.state(ctx, token(id))
		if err == nil && rec == nil {
			err = ErrJobNotFound
		}
		return err
	})
	return info, err
}

// List returns all jobs, in the order in which they were submitted. It asks NATS for
// each.
func (j *Jobs) List(ctx context.Context) (infos []JobInfo, err error) {
	err = j.records.do(ctx, func(ctx context.Context) error {
		found, err := j.records.list(ctx, "*"+recordState)
		for _, rec := range found {
			info, err := decodeState(rec)
			if err != nil {
				return err
			}
			infos = append(infos, info)
		}
		return err
	})
	slices.SortFunc(infos, func(a, b JobInfo) int { return cmp.Compare(a.Order, b.Order) })
	return infos, err
}

// Cancel cancels a job. One that no host has taken never runs. One that runs is left by
// its host: an action that streams stops with its next chunk or two, another runs to
// its end, but nobody gets the result. Cancel does not wait for that. The error matches
// ErrJobEnded if it is too late.
func (j *Jobs) Cancel(ctx context.Context, id string) error {
	return j.doFor(ctx, id, func(ctx context.Context) error {
		return j.change(ctx, token(id), func(info *JobInfo) error {
			switch info.State {
			case JobQueued:
				info.State = JobCanceled
			case JobRunning:
				info.Canceling = true
			default:
				return ErrJobEnded
			}
			return nil
		})
	})
}

// Forget removes all of a job that has ended. Then its id can be used again.
func (j *Jobs) Forget(ctx context.Context, id string) error {
	name := token(id)
	return j.doFor(ctx, id, func(ctx context.Context) error {
		rec, info, err := j.state(ctx, name)
		switch {
		case err != nil:
			return err
		case rec == nil:
			return ErrJobNotFound
		case !info.State.Ended():
			return ErrJobNotEnded
		}
		_, err = j.records.purge(ctx, name+".>", 0)
		return err
	})
}

// Wait waits until a job has ended, and returns its result, or the error of
// [JobInfo.Err]. The result of a job with chunks is None. Wait goes on while NATS is
// away, until ctx ends.
func (j *Jobs) Wait(ctx context.Context, id string) (result dirty.RawValue, err error) {
	name := token(id)
	changed, stop, err := j.watch(name)
	if err != nil {
		return nil, err
	}
	defer stop()
	for {
		info, err := j.Info(ctx, id)
		switch {
		case err == nil && info.State.Ended():
			if err := info.Err(); err != nil {
				return nil, err
			}
			return j.load(ctx, id, name+recordResult)
		case err != nil && !errors.Is(err, ErrUnavailable):
			return nil, err
		}
		if err := pause(ctx, changed, err); err != nil {
			return nil, err
		}
	}
}

// load returns what a job has left, or ErrJobExpired.
func (j *Jobs) load(ctx context.Context, id, name string) (value []byte, err error) {
	err = j.doFor(ctx, id, func(ctx context.Context) error {
		var rec *record
		rec, value, err = j.records.read(ctx, name)
		if err == nil && rec == nil {
			err = ErrJobExpired
		}
		return err
	})
	return value, err
}

// Chunks ranges over the chunks of a job, from the first one on, as they come. It ends
// when the job has ended. The last pair has the error of [JobInfo.Err], if there is one.
// It goes on while NATS is away, until ctx ends.
func (j *Jobs) Chunks(ctx context.Context, id string) iter.Seq2[dirty.RawValue, error] {
	return func(yield func(dirty.RawValue, error) bool) {
		name := token(id)
		changed, stop, err := j.watch(name)
		if err != nil {
			yield(nil, err)
			return
		}
		defer stop()
		var end *JobInfo // if it has ended: what is not there now will not come
		for n := 0; ; {
			if end != nil && n >= end.Chunks {
				if err := end.Err(); err != nil {
					yield(nil, err)
				}
				return
			}
			value, err := j.load(ctx, id, chunkName(name, n))
			if err == nil {
				if !yield(value, nil) {
					return
				}
				n++
				continue
			}
			if errors.Is(err, ErrJobExpired) && end == nil {
				var info JobInfo
				info, err = j.Info(ctx, id)
				if err == nil && info.State.Ended() {
					end = &info
					continue // the chunk may have come just before the end
				}
			}
			if err != nil && !errors.Is(err, ErrUnavailable) {
				yield(nil, err)
				return
			}
			if err := pause(ctx, changed, err); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// news returns the subject on which is told that something of a job has changed. The
// subjects of the records would not do: a message is seen there before it is stored.
func (j *Jobs) news(name string) string { return "dirty.jobs." + j.records.bucket.Name + "." + name }

// tell wakes the callers that watch a job. If that is lost, they look again after watchInterval.
func (j *Jobs) tell(name string) { _ = j.records.nc.Publish(j.news(name), nil) }

// watch returns a channel that has something when a job has changed.
func (j *Jobs) watch(name string) (changed <-chan struct{}, stop func(), err error) {
	news := make(chan struct{}, 1)
	sub, err := j.records.nc.Subscribe(j.news(name), func(*nats.Msg) {
		select {
		case news <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("dirtynats: %w: %w", ErrUnavailable, err)
	}
	return news, func() { _ = sub.Unsubscribe() }, nil
}

// pause waits for news, but for no longer than watchInterval. If ctx ends, it returns
// why, with the last error.
func pause(ctx context.Context, news <-chan struct{}, last error) error {
	timer := time.NewTimer(watchInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		if last != nil {
			return fmt.Errorf("%w; %w", context.Cause(ctx), last)
		}
		return context.Cause(ctx)
	case <-news:
	case <-timer.C:
	}
	return nil
}
