package dirtynats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is an app whose calls are counted by their argument.
type model struct {
	mu      sync.Mutex
	counts  map[string]int
	started chan string   // gets the argument of each "block"
	release chan struct{} // ends all "block"
	left    chan string   // gets the argument of each "block" whose caller has left
}

func newModel() *model {
	return &model{counts: map[string]int{}, started: make(chan string, 100), release: make(chan struct{}), left: make(chan string, 100)}
}

func (m *model) count(arg string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[arg]
}

// client returns a client of a server with the app.
func (m *model) client(t testing.TB) *client.Client {
	note := func(arg string) {
		m.mu.Lock()
		m.counts[arg]++
		m.mu.Unlock()
	}
	mux := server.NewMux()
	mux.Handle("app:Model", "echo", server.Func(func(_ context.Context, a struct {
		Value string
		Times int
	}) (string, error) {
		note(a.Value)
		return string(bytes.Repeat([]byte(a.Value), max(a.Times, 1))), nil
	}))
	mux.Handle("app:Model", "fail", server.Func(func(_ context.Context, arg string) (any, error) {
		note(arg)
		return nil, &dirty.RemoteError{Type: dirty.ClassApp, Message: "no such " + arg}
	}))
	mux.Handle("app:Model", "long class", server.Func(func(context.Context, struct{}) (any, error) {
		return nil, &dirty.RemoteError{Type: strings.Repeat("C", 20_000), Message: "boom"}
	}))
	mux.Handle("app:Model", "count", server.StreamFunc(func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}))
	mux.Handle("app:Model", "block", server.Func(func(ctx context.Context, arg string) (string, error) {
		note(arg)
		m.started <- arg
		select {
		case <-m.release:
			return "released", nil
		case <-ctx.Done():
			m.left <- arg
			return "", ctx.Err()
		}
	}))
	return serve(t, &server.Server{Handler: mux})
}

func openJobs(t testing.TB, url string, config dirtynats.JobsConfig) *dirtynats.Jobs {
	j, err := dirtynats.OpenJobs(newContext(t), newJetStream(t, connect(t, url)), config)
	require.NoError(t, err)
	return j
}

// work lets a host take jobs until the test ends, or stop is called.
func work(t testing.TB, j *dirtynats.Jobs, config dirtynats.WorkConfig) (stop func()) {
	return background(t, func(ctx context.Context) error { return j.Work(ctx, config) })
}

func submit(t *testing.T, j *dirtynats.Jobs, id, action string, args ...any) {
	created, err := j.Submit(newContext(t), dirtynats.Job{ID: id, App: "app:Model", Action: action, Args: args})
	require.NoError(t, err)
	require.True(t, created)
}

func awaitState(t *testing.T, j *dirtynats.Jobs, id string, want dirtynats.JobState) dirtynats.JobInfo {
	var info dirtynats.JobInfo
	eventually(t, func() (err error) {
		info, err = j.Info(newContext(t), id)
		if err == nil && info.State != want {
			err = fmt.Errorf("job %s is %s", id, info.State)
		}
		return err
	})
	return info
}

func TestJobs(t *testing.T) {
	for _, nodes := range clusters {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			ctx, m := newContext(t), newModel()
			j := openJobs(t, sharedNATS(t, nodes).URL(), dirtynats.JobsConfig{Bucket: newBucket(nodes)})
			submit(t, j, "first", "echo", "a")
			created, err := j.Submit(ctx, dirtynats.Job{ID: "first", App: "app:Model", Action: "echo", Args: []any{"again"}})
			require.NoError(t, err)
			assert.False(t, created, "a repeat is dropped")
			info, err := j.Info(ctx, "first")
			require.NoError(t, err)
			assert.Equal(t, dirtynats.JobQueued, info.State)

			work(t, j, dirtynats.WorkConfig{Client: m.client(t), Slots: 2, Host: "gpu1"})
			raw, err := j.Wait(ctx, "first")
			require.NoError(t, err)
			assert.Equal(t, encode(t, "a"), raw)
			created, err = j.Submit(ctx, dirtynats.Job{ID: "first", App: "app:Model", Action: "echo", Args: []any{"again"}})
			require.NoError(t, err)
			assert.False(t, created, "a repeat is dropped after the end too")
			assert.Equal(t, 1, m.count("a"))
			assert.Equal(t, 0, m.count("again"))

			created, err = j.Submit(ctx, dirtynats.Job{ID: "large", App: "app:Model", Action: "echo",
				Args: []any{string(bytes.Repeat([]byte("x"), 700_000))}, Kwargs: client.Kwargs{"Times": 2}})
			require.NoError(t, err)
			assert.True(t, created)
			raw, err = j.Wait(ctx, "large")
			require.NoError(t, err)
			assert.Greater(t, len(raw), 1_400_000)

			stream := func() {
				submit(t, j, "stream", "count", 5)
				var chunks []int
				for raw, err := range j.Chunks(ctx, "stream") {
					require.NoError(t, err)
					var n int
					require.NoError(t, dirty.Unmarshal(raw, &n))
					chunks = append(chunks, n)
				}
				assert.Equal(t, []int{0, 1, 2, 3, 4}, chunks)
				raw, err := j.Wait(ctx, "stream")
				require.NoError(t, err)
				assert.Equal(t, encode(t, nil), raw)
			}
			stream()
			for range 30 { // it may end at any moment of the reading
				require.NoError(t, j.Forget(ctx, "stream"))
				stream()
			}

			submit(t, j, "long", "fail", string(bytes.Repeat([]byte{1}, 100_000)))
			_, err = j.Wait(ctx, "long")
			assert.ErrorIs(t, err, dirty.ErrApp)
			assert.Less(t, len(err.Error()), 1200)
			require.NoError(t, j.Forget(ctx, "long"))

			_, err = j.Submit(ctx, dirtynats.Job{ID: "class", App: "app:Model", Action: "long class"})
			require.NoError(t, err)
			_, err = j.Wait(ctx, "class")
			var remote *dirty.RemoteError
			require.ErrorAs(t, err, &remote)
			assert.Equal(t, strings.Repeat("C", 150), remote.Type)
			require.NoError(t, j.Forget(ctx, "class"))

			submit(t, j, "bad", "fail", "thing")
			_, err = j.Wait(ctx, "bad")
			assert.ErrorIs(t, err, dirty.ErrApp)
			assert.ErrorContains(t, err, "no such thing")

			list, err := j.List(ctx)
			require.NoError(t, err)
			var got []string
			for _, info := range list {
				assert.Equal(t, "gpu1", info.Host)
				assert.NotZero(t, info.Changed)
				got = append(got, fmt.Sprint(info.ID, " ", info.Action, " ", info.State, " ", info.Chunks))
			}
			assert.Equal(t, []string{"first echo done 0", "large echo done 0", "stream count done 5", "bad fail failed 0"}, got)

			for _, info := range list {
				require.NoError(t, j.Forget(ctx, info.ID))
				_, err = j.Info(ctx, info.ID)
				assert.ErrorIs(t, err, dirtynats.ErrJobNotFound)
			}
			list, err = j.List(ctx)
			require.NoError(t, err)
			assert.Empty(t, list)
		})
	}
}

// TestJobsOnce lets 20 hosts compete for jobs that are submitted several times. None may
// run twice.
func TestJobsOnce(t *testing.T) {
	const hosts, jobs = 20, 40
	for _, nodes := range clusters {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			ctx, m, bucket := newContext(t), newModel(), newBucket(nodes)
			c := m.client(t)
			var opened []*dirtynats.Jobs
			for host := range hosts {
				opened = append(opened, openJobs(t, sharedNATS(t, nodes).NodeURL(host%nodes), dirtynats.JobsConfig{Bucket: bucket}))
			}
			background(t, func(ctx context.Context) error { // all end together
				var working sync.WaitGroup
				for host, j := range opened {
					working.Go(func() {
						assert.NoError(t, j.Work(ctx, dirtynats.WorkConfig{Client: c, Host: fmt.Sprint("host", host)}))
					})
				}
				working.Wait()
				return nil
			})
			var created atomic.Int64
			var wg sync.WaitGroup
			for publisher := range 3 {
				wg.Go(func() {
					for n := range jobs {
						ok, err := opened[publisher].Submit(ctx, dirtynats.Job{
							ID: fmt.Sprint("job ", n), App: "app:Model", Action: "echo", Args: []any{fmt.Sprint("job ", n)},
						})
						assert.NoError(t, err)
						if ok {
							created.Add(1)
						}
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, jobs, created.Load())
			ran := map[string]bool{}
			for n := range jobs {
				id := fmt.Sprint("job ", n)
				raw, err := opened[n%hosts].Wait(ctx, id)
				require.NoError(t, err)
				assert.Equal(t, encode(t, id), raw)
				assert.Equal(t, 1, m.count(id), id)
				info, err := opened[0].Info(ctx, id)
				require.NoError(t, err)
				ran[info.Host] = true
			}
			assert.Greater(t, len(ran), 1, "several hosts share the work")
		})
	}
}

// TestJobsHostDies checks that a job whose host dies is told to be unknown, and that
// nobody runs it again.
func TestJobsHostDies(t *testing.T) {
	ctx, m, servers := newContext(t), newModel(), sharedNATS(t, 1)
	config := dirtynats.JobsConfig{Bucket: newBucket(1), Lease: time.Second}
	j := openJobs(t, servers.URL(), config)
	nc := connect(t, servers.URL())
	dying, err := dirtynats.OpenJobs(ctx, newJetStream(t, nc), config)
	require.NoError(t, err)
	stop := work(t, dying, dirtynats.WorkConfig{Client: m.client(t), Host: "dying", DrainTimeout: time.Millisecond})
	submit(t, j, "lost", "block", "lost")
	assert.Equal(t, "lost", <-m.started)
	nc.Close() // for NATS the host is dead
	stop()

	other := newModel()
	work(t, j, dirtynats.WorkConfig{Client: other.client(t), Host: "other"})
	_, err = j.Wait(ctx, "lost")
	assert.ErrorIs(t, err, client.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "host dying took the job and fell silent")
	submit(t, j, "next", "echo", "next")
	_, err = j.Wait(ctx, "next")
	require.NoError(t, err)
	assert.Equal(t, 1, m.count("lost"))
	assert.Equal(t, 0, other.count("lost"))

	// Asked for, it runs again.
	require.NoError(t, j.Forget(ctx, "lost"))
	submit(t, j, "lost", "echo", "lost")
	_, err = j.Wait(ctx, "lost")
	require.NoError(t, err)
	assert.Equal(t, 1, other.count("lost"))
}

// TestWorkLogsRarely checks that a host to which NATS is away does not fill its log.
func TestWorkLogsRarely(t *testing.T) {
	nc := connect(t, sharedNATS(t, 1).URL())
	j, err := dirtynats.OpenJobs(newContext(t), newJetStream(t, nc), dirtynats.JobsConfig{Bucket: newBucket(1)})
	require.NoError(t, err)
	nc.Close()
	lines := make(lineCounter, 1000)
	work(t, j, dirtynats.WorkConfig{Client: newModel().client(t), Logger: slog.New(slog.NewTextHandler(lines, nil))})
	select {
	case <-lines:
	case <-time.After(timeout):
		require.Fail(t, "the log says nothing")
	}
	time.Sleep(time.Second) // time for some attempts
	assert.Empty(t, lines)
}

// TestWorkLoggerMisbehaves checks that a Logger can neither end the process nor keep a host
// from stopping.
func TestWorkLoggerMisbehaves(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, misbehave := range map[string]func(){
		"panics":           func() { panic("a log") },
		"ends a goroutine": runtime.Goexit,
		"blocks":           func() { <-over },
	} {
		t.Run(name, func(t *testing.T) {
			nc := connect(t, sharedNATS(t, 1).URL())
			j, err := dirtynats.OpenJobs(newContext(t), newJetStream(t, nc), dirtynats.JobsConfig{Bucket: newBucket(1)})
			require.NoError(t, err)
			nc.Close()
			called := make(chan struct{}, 1000)
			stop := work(t, j, dirtynats.WorkConfig{Client: newModel().client(t), Logger: slog.New(slog.NewTextHandler(logFunc(func() {
				called <- struct{}{}
				misbehave()
			}), nil))})
			select {
			case <-called:
			case <-time.After(timeout):
				require.Fail(t, "the log says nothing")
			}
			stop()
		})
	}
}

// logFunc is a log that is called for each line.
type logFunc func()

func (f logFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// lineCounter is a log. It gets a value for each line.
type lineCounter chan struct{}

func (c lineCounter) Write(p []byte) (int, error) {
	c <- struct{}{}
	return len(p), nil
}

// TestJobsSilentHost checks that the result of a host that only could not be heard
// replaces the "unknown".
func TestJobsSilentHost(t *testing.T) {
	ctx, m, servers := newContext(t), newModel(), startNATS(t, 1)
	config := dirtynats.JobsConfig{Bucket: newBucket(1), Lease: time.Second}
	config.Bucket.Timeout = 10 * time.Second // then what is lost in the silence is asked again
	r := newRelay(t, servers)
	silent := openJobs(t, r.url, config)
	config.Bucket.Timeout = timeout
	j := openJobs(t, servers.URL(), config)
	work(t, silent, dirtynats.WorkConfig{Client: m.client(t), Host: "silent"})
	submit(t, j, "job", "block", "job")
	assert.Equal(t, "job", <-m.started)
	r.silent.Store(true)
	work(t, j, dirtynats.WorkConfig{Client: newModel().client(t), Host: "other"})
	awaitState(t, j, "job", dirtynats.JobUnknown)
	close(m.release)
	r.silent.Store(false)
	awaitState(t, j, "job", dirtynats.JobDone)
	raw, err := j.Wait(ctx, "job")
	require.NoError(t, err)
	assert.Equal(t, encode(t, "released"), raw)
	assert.Equal(t, 1, m.count("job"))
}

func TestJobsCancel(t *testing.T) {
	ctx, m := newContext(t), newModel()
	j := openJobs(t, sharedNATS(t, 1).URL(), dirtynats.JobsConfig{Bucket: newBucket(1)})
	submit(t, j, "queued", "echo", "queued")
	require.NoError(t, j.Cancel(ctx, "queued"))
	_, err := j.Wait(ctx, "queued")
	assert.ErrorIs(t, err, dirtynats.ErrJobCanceled)

	work(t, j, dirtynats.WorkConfig{Client: m.client(t)})
	submit(t, j, "running", "block", "running")
	assert.Equal(t, "running", <-m.started)
	assert.ErrorIs(t, j.Forget(ctx, "running"), dirtynats.ErrJobNotEnded)
	require.NoError(t, j.Cancel(ctx, "running"))
	_, err = j.Wait(ctx, "running")
	assert.ErrorIs(t, err, dirtynats.ErrJobCanceled)
	assert.Equal(t, "running", <-m.left, "the call is left")
	assert.ErrorIs(t, j.Cancel(ctx, "running"), dirtynats.ErrJobEnded)
	err = j.Cancel(ctx, "none")
	assert.ErrorIs(t, err, dirtynats.ErrJobNotFound)
	assert.ErrorContains(t, err, `job "none": there is no such job`)
	assert.Equal(t, 0, m.count("queued"))
}

// TestJobsExpire checks that a job with all it has left is gone after its time, and that
// its id can be used again.
func TestJobsExpire(t *testing.T) {
	ctx, m := newContext(t), newModel()
	bucket := newBucket(1)
	nc := connect(t, sharedNATS(t, 1).URL())
	j, err := dirtynats.OpenJobs(ctx, newJetStream(t, nc), dirtynats.JobsConfig{Bucket: bucket, Keep: 3 * time.Second})
	require.NoError(t, err)
	work(t, j, dirtynats.WorkConfig{Client: m.client(t)})
	submit(t, j, "short", "count", 3)
	_, err = j.Wait(ctx, "short")
	require.NoError(t, err)
	submit(t, j, "large", "echo", string(bytes.Repeat([]byte("x"), 600_000)))
	_, err = j.Wait(ctx, "large")
	require.NoError(t, err)
	eventually(t, func() error {
		if len(subjects(t, newJetStream(t, nc), bucket)) > 0 {
			return errNotYet
		}
		return nil
	})
	_, err = j.Wait(ctx, "short")
	assert.ErrorIs(t, err, dirtynats.ErrJobNotFound)
	for _, err := range j.Chunks(ctx, "short") {
		assert.ErrorIs(t, err, dirtynats.ErrJobNotFound)
	}
	submit(t, j, "short", "echo", "anew")
	_, err = j.Wait(ctx, "short")
	require.NoError(t, err)
}

// TestJobsOutage checks that a job that ends while NATS is away is not lost, and that
// the callers that wait for it go on waiting.
func TestJobsOutage(t *testing.T) {
	ctx, m, servers := newContext(t), newModel(), startNATS(t, 1)
	bucket := newBucket(1)
	j := openJobs(t, servers.URL(), dirtynats.JobsConfig{Bucket: bucket})
	work(t, j, dirtynats.WorkConfig{Client: m.client(t)})
	submit(t, j, "job", "block", "job")
	assert.Equal(t, "job", <-m.started)
	waited := make(chan error, 1)
	go func() {
		_, err := j.Wait(ctx, "job")
		waited <- err
	}()
	require.NoError(t, servers.StopNode(0))
	eventually(t, func() error {
		if _, err := j.Info(ctx, "job"); !errors.Is(err, dirtynats.ErrUnavailable) {
			return errNotYet
		}
		return nil
	})
	_, err := j.Submit(ctx, dirtynats.Job{ID: "x", App: "a", Action: "b"})
	assert.ErrorIs(t, err, dirtynats.ErrUnavailable)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = j.Wait(short, "job")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorIs(t, err, dirtynats.ErrUnavailable)
	close(m.release)
	require.NoError(t, servers.StartNode(0))
	assert.NoError(t, <-waited)
	assert.Equal(t, 1, m.count("job"))
	submit(t, j, "after", "echo", "after")
	_, err = j.Wait(ctx, "after")
	assert.NoError(t, err)
}

// TestJobsOtherHost checks that a job which found no worker on one host runs on another,
// and that it fails when none is found at all.
func TestJobsOtherHost(t *testing.T) {
	ctx, m := newContext(t), newModel()
	j := openJobs(t, sharedNATS(t, 1).URL(), dirtynats.JobsConfig{Bucket: newBucket(1)})
	empty := serve(t, &server.Server{Handler: server.NewMux()}) // has no app
	stop := work(t, j, dirtynats.WorkConfig{Client: empty, Host: "empty", MaxStarts: 2})
	submit(t, j, "hopeless", "echo", "hopeless")
	_, err := j.Wait(ctx, "hopeless")
	assert.Error(t, err)
	info := awaitState(t, j, "hopeless", dirtynats.JobFailed)
	t.Log(info.Class, info.Error)
	stop()

	c, err := client.New(client.WithSocket("/nobody/listens.sock"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	submit(t, j, "job", "echo", "job")
	submitted, err := j.Info(ctx, "job")
	require.NoError(t, err)
	stop = work(t, j, dirtynats.WorkConfig{Client: c, Host: "down", MaxStarts: 1000})
	eventually(t, func() error { // it was taken, and put back
		info, err := j.Info(ctx, "job")
		if err == nil && (info.State != dirtynats.JobQueued || info.Changed.Equal(submitted.Changed)) {
			err = errNotYet
		}
		return err
	})
	work(t, j, dirtynats.WorkConfig{Client: m.client(t), Host: "up"})
	_, err = j.Wait(ctx, "job")
	require.NoError(t, err)
	assert.Equal(t, "up", awaitState(t, j, "job", dirtynats.JobDone).Host)
	assert.Equal(t, 1, m.count("job"))
	stop()
}

// TestJobsDrain checks that a host that ends lets its jobs end, takes no more, and says
// what it had to leave.
func TestJobsDrain(t *testing.T) {
	ctx, m := newContext(t), newModel()
	j := openJobs(t, sharedNATS(t, 1).URL(), dirtynats.JobsConfig{Bucket: newBucket(1)})
	working, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	c := m.client(t)
	go func() { ended <- j.Work(working, dirtynats.WorkConfig{Client: c, DrainTimeout: timeout}) }()
	submit(t, j, "ends", "block", "ends")
	submit(t, j, "later", "echo", "later")
	<-m.started
	cancel()
	close(m.release)
	require.NoError(t, <-ended)
	_, err := j.Wait(ctx, "ends")
	require.NoError(t, err)
	awaitState(t, j, "later", dirtynats.JobQueued)

	hasty := newModel()
	stop := work(t, j, dirtynats.WorkConfig{Client: hasty.client(t), DrainTimeout: time.Millisecond})
	_, err = j.Wait(ctx, "later")
	require.NoError(t, err)
	submit(t, j, "left", "block", "left")
	<-hasty.started
	stop()
	_, err = j.Wait(ctx, "left")
	assert.ErrorIs(t, err, client.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "the host was stopped")
}

// TestJobsLargeResult checks that a result that cannot be kept is told, also if the limit
// is so small that the state of a job is over it.
func TestJobsLargeResult(t *testing.T) {
	for _, limit := range []int{100, 1000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			ctx, m, bucket := newContext(t), newModel(), newBucket(1)
			bucket.MaxValue = limit
			j := openJobs(t, sharedNATS(t, 1).URL(), dirtynats.JobsConfig{Bucket: bucket})
			work(t, j, dirtynats.WorkConfig{Client: m.client(t)})
			_, err := j.Submit(ctx, dirtynats.Job{ID: "job", App: "app:Model", Action: "echo", Args: []any{"x"}, Kwargs: client.Kwargs{"Times": 2000}})
			require.NoError(t, err)
			_, err = j.Wait(ctx, "job")
			assert.ErrorContains(t, err, "the result could not be stored")
			assert.ErrorContains(t, err, fmt.Sprint("is over the limit of ", limit))
			_, err = j.Submit(ctx, dirtynats.Job{ID: "other", App: "app:Model", Action: "echo", Args: []any{string(make([]byte, limit))}})
			assert.ErrorContains(t, err, fmt.Sprint("is over the limit of ", limit))
			_, err = j.Info(ctx, "other")
			assert.ErrorIs(t, err, dirtynats.ErrJobNotFound)
		})
	}
}

func TestJobsBadInput(t *testing.T) {
	ctx := newContext(t)
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	for want, config := range map[string]dirtynats.JobsConfig{
		"Keep is 1ns, less than 1s":       {Keep: 1},
		"Lease is -1ns, less than 1s":     {Lease: -1},
		"the name of the bucket is \"*\"": {Bucket: dirtynats.Bucket{Name: "*"}},
	} {
		_, err := dirtynats.OpenJobs(ctx, js, config)
		assert.ErrorContains(t, err, want)
	}
	j := openJobs(t, sharedNATS(t, 1).URL(), dirtynats.JobsConfig{Bucket: newBucket(1)})
	for want, job := range map[string]dirtynats.Job{
		"the id of the job is \"\"":       {App: "a", Action: "b"},
		"not 1 to 256 bytes of text":      {ID: string(make([]byte, dirtynats.MaxJobID+1)), App: "a", Action: "b"},
		"the id of the job is \"\\xff\"":  {ID: "\xff", App: "a", Action: "b"},
		"of over 1000 bytes":              {ID: "w", App: string(make([]byte, 1000)), Action: "b"},
		"job \"x\" has no App":            {ID: "x", Action: "b"},
		"job \"y\" has no App or no Acti": {ID: "y", App: "b"},
		"job \"z\": ":                     {ID: "z", App: "a", Action: "b", Args: []any{make(chan int)}},
	} {
		_, err := j.Submit(ctx, job)
		assert.ErrorContains(t, err, want)
	}
	c := newModel().client(t)
	for want, config := range map[string]dirtynats.WorkConfig{
		"WorkConfig has no Client": {},
		"Slots is -1":              {Client: c, Slots: -1},
		"Slots is 10001":           {Client: c, Slots: dirtynats.MaxSlots + 1},
		"Host has 257 bytes":       {Client: c, Host: string(make([]byte, 257))},
		"MaxStarts is -1":          {Client: c, MaxStarts: -1},
		"DrainTimeout is -1ns":     {Client: c, DrainTimeout: -1},
	} {
		assert.ErrorContains(t, j.Work(ctx, config), want)
	}
}
