package dirtynats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/gunicorn-go/dirty/server"
	"github.com/gunicorn-go/dirty/server/storetest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clusters are the numbers of NATS servers that the stash is tested with.
var clusters = []int{1, 3}

func TestStash(t *testing.T) {
	for _, nodes := range clusters {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			js := newJetStream(t, connect(t, sharedNATS(t, nodes).URL()))
			storetest.Run(t, func() server.Store {
				return openStash(t, js, dirtynats.StashConfig{Bucket: newBucket(nodes)})
			})
		})
	}
}

// TestStashRandom makes random operations on a stash over two connections, and on a
// MemoryStore. Both must answer the same.
func TestStashRandom(t *testing.T) {
	const operations = 1500
	for _, nodes := range clusters {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			ctx, bucket, memory := context.Background(), newBucket(nodes), new(server.MemoryStore)
			var stashes []*dirtynats.Stash
			for i := range 2 {
				js := newJetStream(t, connect(t, sharedNATS(t, nodes).NodeURL(i%nodes)))
				stashes = append(stashes, openStash(t, js, dirtynats.StashConfig{Bucket: bucket}))
			}
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 1))
			for i := range operations {
				name, do := randomOperation(t, random)
				stash := stashes[random.IntN(len(stashes))]
				want, wantErr := do(ctx, memory)
				got, err := do(ctx, stash)
				require.Equal(t, wantErr, err, "seed %d, operation %d: %s", seed, i, name)
				require.Equal(t, want, got, "seed %d, operation %d: %s", seed, i, name)
			}
		})
	}
}

// randomOperation returns an operation and its description.
func randomOperation(t *testing.T, random *rand.Rand) (string, func(context.Context, server.Store) (any, error)) {
	keys := []any{"a", "b", "ab", "", nil, int64(1), true, 1.0, 0.5, []byte("a"), int64(-7), math.Inf(1)}
	table, key := []any{"t", "u", int64(3)}[random.IntN(3)], keys[random.IntN(len(keys))]
	size := []int{700_000, 20_000, 0, 10}[min(random.IntN(40), 3)]
	value := encode(t, bytes.Repeat([]byte{byte(random.IntN(256))}, size))
	pattern := []string{"", "*", "a*", "[!a]", "1", "None"}[random.IntN(6)]
	switch n := random.IntN(100); {
	case n < 35:
		return fmt.Sprintf("Put(%v, %v, %d bytes)", table, key, len(value)), func(ctx context.Context, s server.Store) (any, error) {
			return nil, s.Put(ctx, table, key, value)
		}
	case n < 60:
		return fmt.Sprintf("Get(%v, %v)", table, key), func(ctx context.Context, s server.Store) (any, error) {
			return s.Get(ctx, table, key)
		}
	case n < 75:
		return fmt.Sprintf("Delete(%v, %v)", table, key), func(ctx context.Context, s server.Store) (any, error) {
			return s.Delete(ctx, table, key)
		}
	case n < 83:
		return fmt.Sprintf("Keys(%v, %q)", table, pattern), func(ctx context.Context, s server.Store) (any, error) {
			return s.Keys(ctx, table, pattern)
		}
	case n < 87:
		return fmt.Sprintf("Len(%v)", table), func(ctx context.Context, s server.Store) (any, error) { return s.Len(ctx, table) }
	case n < 93:
		return fmt.Sprintf("Exists(%v, %v)", table, key), func(ctx context.Context, s server.Store) (any, error) {
			return s.Exists(ctx, table, key)
		}
	case n < 95:
		return "Tables", func(ctx context.Context, s server.Store) (any, error) { return s.Tables(ctx) }
	case n < 96:
		return fmt.Sprintf("Ensure(%v)", table), func(ctx context.Context, s server.Store) (any, error) { return nil, s.Ensure(ctx, table) }
	case n < 98:
		return fmt.Sprintf("Clear(%v)", table), func(ctx context.Context, s server.Store) (any, error) { return nil, s.Clear(ctx, table) }
	}
	return fmt.Sprintf("Drop(%v)", table), func(ctx context.Context, s server.Store) (any, error) { return s.Drop(ctx, table) }
}

// TestStashServers uses the stash as programs do: clients call servers that share it.
func TestStashServers(t *testing.T) {
	ctx, nodes, bucket := newContext(t), 3, newBucket(3)
	var shared []*client.Stash
	for i := range nodes {
		js := newJetStream(t, connect(t, sharedNATS(t, nodes).NodeURL(i)))
		c := serve(t, &server.Server{Stash: openStash(t, js, dirtynats.StashConfig{Bucket: bucket})})
		shared = append(shared, c.Stash("users"))
	}
	_, err := shared[0].Get(ctx, "ada")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	_, err = shared[1].Len(ctx)
	assert.ErrorIs(t, err, dirty.ErrTableNotFound)

	want := map[string]any{"visits": int64(1), "tags": []any{"a", nil, 1.5, []byte{0, 255}}}
	require.NoError(t, shared[0].Put(ctx, "ada", want))
	require.NoError(t, shared[1].Put(ctx, 5.0, "five"))
	require.NoError(t, shared[2].Put(ctx, "ada", want)) // keeps its place
	got, err := shared[1].Get(ctx, "ada")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	keys, err := shared[2].Keys(ctx, "")
	require.NoError(t, err)
	assert.Equal(t, []any{"ada", 5.0}, keys)

	large := bytes.Repeat([]byte("large"), 4<<20/5)
	require.NoError(t, shared[0].Put(ctx, "large", large))
	got, err = shared[1].Get(ctx, "large")
	require.NoError(t, err)
	assert.True(t, assert.ObjectsAreEqual(large, got), "4 MiB come back as they were")

	// Only one of many deletes a key.
	var deleted atomic.Int64
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			existed, err := shared[i%nodes].Delete(ctx, "ada")
			assert.NoError(t, err)
			if existed {
				deleted.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, deleted.Load())
}

// TestStashWhole checks that a reader gets one whole value while writers replace large
// and small ones, and that no chunk is left behind.
func TestStashWhole(t *testing.T) {
	for _, nodes := range clusters {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			ctx, bucket := newContext(t), newBucket(nodes)
			js := newJetStream(t, connect(t, sharedNATS(t, nodes).URL()))
			s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})
			valueOf := func(n int) dirty.RawValue {
				return encode(t, bytes.Repeat([]byte{byte(n)}, []int{10, 20_000, 600_000}[n%3]))
			}
			require.NoError(t, s.Put(ctx, "t", "k", valueOf(0)))
			var writers, readers sync.WaitGroup
			for w := range 3 {
				writers.Go(func() {
					for i := range 6 {
						assert.NoError(t, s.Put(ctx, "t", "k", valueOf(w+i)))
					}
				})
			}
			done := make(chan struct{})
			for range len(clusters) {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						raw, err := s.Get(ctx, "t", "k")
						var got []byte
						if !assert.NoError(t, err) || !assert.NoError(t, dirty.Unmarshal(raw, &got)) {
							return
						}
						if !assert.True(t, bytes.Equal(raw, valueOf(int(got[0]))), "a mix of values") {
							return
						}
					}
				})
			}
			writers.Wait()
			close(done)
			readers.Wait()
			require.NoError(t, s.Put(ctx, "t", "k", valueOf(0)))
			assert.Len(t, subjects(t, js, bucket), 2, "a table and a key")
			existed, err := s.Drop(ctx, "t")
			require.NoError(t, err)
			assert.True(t, existed)
			assert.Empty(t, subjects(t, js, bucket), "nothing is left of what was dropped")
		})
	}
}

// subjects returns the subjects of all messages in a bucket.
func subjects(t *testing.T, js jetstream.JetStream, bucket dirtynats.Bucket) []string {
	ctx := newContext(t)
	stream, err := js.Stream(ctx, "KV_"+bucket.Name)
	require.NoError(t, err)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	require.NoError(t, err)
	var names []string
	for subject, n := range info.State.Subjects {
		require.EqualValues(t, 1, n, subject)
		names = append(names, subject)
	}
	require.EqualValues(t, len(names), info.State.Msgs)
	return names
}

// TestStashLeavesNothing checks that each kind of deletion leaves no message behind.
func TestStashLeavesNothing(t *testing.T) {
	ctx, bucket := newContext(t), newBucket(1)
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})
	large := encode(t, make([]byte, 600_000)) // two chunks
	for key := range 3 {
		require.NoError(t, s.Put(ctx, "t", int64(key), encode(t, 1)))
		require.NoError(t, s.Put(ctx, "t", fmt.Sprint(key), large))
	}
	assert.Len(t, subjects(t, js, bucket), 1+3+3*3, "a table, small keys, and large keys with their chunks")
	for _, key := range []any{int64(0), "0"} {
		existed, err := s.Delete(ctx, "t", key)
		require.NoError(t, err)
		assert.True(t, existed)
	}
	assert.Len(t, subjects(t, js, bucket), 1+2+2*3)
	require.NoError(t, s.Clear(ctx, "t"))
	assert.Len(t, subjects(t, js, bucket), 1)
	existed, err := s.Drop(ctx, "t")
	require.NoError(t, err)
	assert.True(t, existed)
	assert.Empty(t, subjects(t, js, bucket))
}

func TestStashTTL(t *testing.T) {
	ctx, bucket := newContext(t), newBucket(1)
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket, TTL: map[string]time.Duration{"short": time.Second, "long": time.Hour}})
	for _, table := range []string{"short", "long", "other"} {
		require.NoError(t, s.Put(ctx, table, "small", encode(t, 1)))
		require.NoError(t, s.Put(ctx, table, "large", encode(t, make([]byte, 600_000))))
	}
	eventually(t, func() error {
		n, err := s.Len(ctx, "short")
		if n > 0 {
			return errNotYet
		}
		return err
	})
	for _, table := range []string{"long", "other"} {
		n, err := s.Len(ctx, table)
		require.NoError(t, err)
		assert.Equal(t, 2, n, table)
	}
	eventually(t, func() error { // the chunks expire too
		if len(subjects(t, js, bucket)) > 3+2*(1+3) {
			return errNotYet
		}
		return nil
	})
	exists, err := s.Exists(ctx, "short", nil)
	require.NoError(t, err)
	assert.True(t, exists, "the table stays")
}

// operationsOf does each operation of a store, and returns their errors.
func operationsOf(ctx context.Context, s server.Store) map[string]error {
	_, get := s.Get(ctx, "t", "k")
	_, del := s.Delete(ctx, "t", "k")
	_, keys := s.Keys(ctx, "t", "")
	_, size := s.Len(ctx, "t")
	_, drop := s.Drop(ctx, "t")
	_, tables := s.Tables(ctx)
	_, exists := s.Exists(ctx, "t", "k")
	return map[string]error{
		"Put": s.Put(ctx, "t", "k", dirty.RawValue("\x00")), "Get": get, "Delete": del, "Keys": keys, "Clear": s.Clear(ctx, "t"),
		"Len": size, "Ensure": s.Ensure(ctx, "t"), "Drop": drop, "Tables": tables, "Exists": exists,
	}
}

// TestStashOutage checks that operations fail in time while NATS is away, whatever the
// way, and that the stash is there again afterwards.
func TestStashOutage(t *testing.T) {
	for _, test := range []struct {
		name  string
		nodes int
		leave func(t *testing.T, servers *outage) // NATS goes away
		back  func(t *testing.T, servers *outage)
	}{
		{"stopped", 1, func(t *testing.T, o *outage) { require.NoError(t, o.servers.StopNode(0)) },
			func(t *testing.T, o *outage) { require.NoError(t, o.servers.StartNode(0)) }},
		{"without a majority", 3, func(t *testing.T, o *outage) {
			require.NoError(t, o.servers.StopNode(1))
			require.NoError(t, o.servers.StopNode(2))
		}, func(t *testing.T, o *outage) { require.NoError(t, o.servers.StartNode(1)) }},
		{"silent", 1, func(_ *testing.T, o *outage) { o.relay.silent.Store(true) },
			func(_ *testing.T, o *outage) { o.relay.silent.Store(false) }},
		{"closed", 1, func(_ *testing.T, o *outage) { o.close() }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := newContext(t)
			o := &outage{servers: startNATS(t, test.nodes)}
			o.relay = newRelay(t, o.servers)
			nc := connect(t, o.relay.url)
			o.close = nc.Close
			js := newJetStream(t, nc)
			bucket := newBucket(test.nodes)
			patient := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})
			bucket.Timeout = 300 * time.Millisecond
			var s *dirtynats.Stash
			eventually(t, func() (err error) { // a loaded machine may need longer than that
				s, err = dirtynats.OpenStash(ctx, js, dirtynats.StashConfig{Bucket: bucket})
				return err
			})
			require.NoError(t, patient.Put(ctx, "kept", "k", encode(t, "v")))

			test.leave(t, o)
			eventually(t, func() error { // a leader takes a moment to notice that it is alone
				if s.Put(ctx, "t", "k", encode(t, 1)) == nil {
					return errNotYet
				}
				return nil
			})
			began := time.Now()
			for name, err := range operationsOf(ctx, s) {
				reads := slices.Contains([]string{"Get", "Keys", "Len", "Tables", "Exists"}, name)
				if reads && test.nodes > 1 {
					continue // a leader answers reads until it notices that it is alone
				}
				assert.ErrorIs(t, err, dirtynats.ErrUnavailable, name)
			}
			assert.Less(t, time.Since(began), timeout/2)
			t.Log(s.Ensure(ctx, "t"))
			if test.back == nil {
				return
			}
			test.back(t, o)
			eventually(t, func() error {
				value, err := s.Get(ctx, "kept", "k")
				if err == nil && !bytes.Equal(value, encode(t, "v")) {
					err = fmt.Errorf("the value is %x", value)
				}
				return err
			})
			eventually(t, func() error { return patient.Put(ctx, "kept", "other", encode(t, 1)) })
		})
	}
}

type outage struct {
	servers *embedded.Servers
	relay   *relay
	close   func()
}

// TestStashContext checks that an operation ends with its context.
func TestStashContext(t *testing.T) {
	servers := startNATS(t, 1)
	r := newRelay(t, servers)
	s := openStash(t, newJetStream(t, connect(t, r.url)), dirtynats.StashConfig{Bucket: newBucket(1)})
	ended, cancel := context.WithCancelCause(newContext(t))
	r.silent.Store(true)
	cause := errors.New("the client has left")
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	_, err := s.Get(ended, "t", "k")
	assert.ErrorIs(t, err, cause)
	_, err = s.Get(ended, "t", "k")
	assert.ErrorIs(t, err, cause)
	assert.NotErrorIs(t, err, dirtynats.ErrUnavailable)
}

func TestStashLimits(t *testing.T) {
	ctx, bucket := newContext(t), newBucket(1)
	bucket.MaxBytes, bucket.MaxValue = 1<<20, 100_000
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})

	assert.ErrorContains(t, s.Put(ctx, "t", "k", make([]byte, 100_001)), "a value of 100001 bytes is over the limit of 100000")
	assert.NoError(t, s.Put(ctx, "t", "k", make([]byte, 100_000)))
	long := strings.Repeat("k", dirtynats.MaxKeySize)
	assert.ErrorContains(t, s.Put(ctx, "t", long, encode(t, 1)), "a key of 45005 bytes is over the limit of 45000")
	assert.ErrorContains(t, s.Ensure(ctx, long), "a key of 45005 bytes is over the limit of 45000")
	long = long[5:]
	assert.NoError(t, s.Put(ctx, long, long, encode(t, 1)))
	_, err := s.Get(ctx, long, long)
	assert.NoError(t, err)

	var full error
	for i := 0; full == nil && i < 20; i++ {
		full = s.Put(ctx, "t", int64(i), make([]byte, 100_000))
	}
	assert.ErrorContains(t, full, "maximum bytes exceeded")
	_, err = s.Get(ctx, "t", "k")
	assert.NoError(t, err, "nothing is lost in a full bucket")
	_, err = s.Drop(ctx, "t")
	require.NoError(t, err)
	assert.NoError(t, s.Put(ctx, "t", "k", make([]byte, 100_000)), "there is room again")
}

// TestStashOpensLater checks that a stash can be made while NATS is away, and works once
// NATS is back.
func TestStashOpensLater(t *testing.T) {
	ctx, servers := newContext(t), startNATS(t, 1)
	require.NoError(t, servers.StopNode(0))
	nc, err := nats.Connect(servers.URL(), append(dirtynats.ConnectOptions(), nats.RetryOnFailedConnect(true))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s, err := dirtynats.NewStash(newJetStream(t, nc), dirtynats.StashConfig{Bucket: newBucket(1)})
	require.NoError(t, err)
	assert.ErrorIs(t, s.Open(ctx), dirtynats.ErrUnavailable)
	assert.ErrorIs(t, s.Put(ctx, "t", "k", encode(t, 1)), dirtynats.ErrUnavailable)
	_, err = dirtynats.OpenStash(ctx, newJetStream(t, nc), dirtynats.StashConfig{})
	assert.ErrorIs(t, err, dirtynats.ErrUnavailable)
	require.NoError(t, servers.StartNode(0))
	var puts sync.WaitGroup
	for i := range 10 { // all of them may open the bucket
		puts.Go(func() {
			eventually(t, func() error { return s.Put(ctx, "t", int64(i), encode(t, i)) })
		})
	}
	puts.Wait()
	n, err := s.Len(ctx, "t")
	assert.NoError(t, err)
	assert.Equal(t, 10, n)
	assert.NoError(t, s.Open(ctx))
}

func TestOpenStashErrors(t *testing.T) {
	ctx := newContext(t)
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	for want, config := range map[string]dirtynats.StashConfig{
		"the name of the bucket":                                 {Bucket: dirtynats.Bucket{Name: "a.b"}},
		"Replicas is -1, not between 0 and 5":                    {Bucket: dirtynats.Bucket{Replicas: -1}},
		"Replicas is 6, not between 0 and 5":                     {Bucket: dirtynats.Bucket{Replicas: 6}},
		"replicas > 1 not supported in non-clustered mode":       {Bucket: dirtynats.Bucket{Name: "x", Replicas: 3}},
		"MaxBytes is -1, less than 0":                            {Bucket: dirtynats.Bucket{MaxBytes: -1}},
		"MaxValue is -1, not between 0 and":                      {Bucket: dirtynats.Bucket{MaxValue: -1}},
		"Timeout is -1ns, less than 0":                           {Bucket: dirtynats.Bucket{Timeout: -1}},
		`the TTL of table "t" is 999ms, less than 1s`:            {TTL: map[string]time.Duration{"t": 999 * time.Millisecond}},
		fmt.Sprint("not between 0 and ", dirtynats.MaxValueSize): {Bucket: dirtynats.Bucket{MaxValue: dirtynats.MaxValueSize + 1}},
	} {
		_, err := dirtynats.OpenStash(ctx, js, config)
		assert.ErrorContains(t, err, want)
	}
	_, err := dirtynats.OpenStash(ctx, nil, dirtynats.StashConfig{})
	assert.ErrorContains(t, err, "the JetStream is nil")

	// A bucket that somebody else made otherwise is refused, with what is wrong.
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "other", History: 2, TTL: time.Hour})
	require.NoError(t, err)
	_, err = dirtynats.OpenStash(ctx, js, dirtynats.StashConfig{Bucket: dirtynats.Bucket{Name: "other"}})
	for _, want := range []string{"MaxMsgsPerSubject must be 1", "AllowDirect must be off", "MaxAge must be 0", "AllowAtomicPublish"} {
		assert.ErrorContains(t, err, want)
	}
}

// TestOpenStashTogether checks that many programs can open one bucket at once.
func TestOpenStashTogether(t *testing.T) {
	for _, nodes := range clusters {
		bucket, js := newBucket(nodes), newJetStream(t, connect(t, sharedNATS(t, nodes).URL()))
		ctx := newContext(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := dirtynats.OpenStash(ctx, js, dirtynats.StashConfig{Bucket: bucket})
				if assert.NoError(t, err) {
					assert.NoError(t, s.Put(ctx, "t", int64(i), dirty.AppendNone(nil)))
				}
			})
		}
		wg.Wait()
		s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})
		keys, err := s.Keys(ctx, "t", "")
		require.NoError(t, err)
		slices.SortFunc(keys, func(a, b any) int { return int(a.(int64) - b.(int64)) })
		assert.Len(t, keys, 8)
	}
}

// TestStashBrokenRecords checks that records which somebody else has changed are told,
// and not taken for a missing key.
func TestStashBrokenRecords(t *testing.T) {
	ctx, bucket := newContext(t), newBucket(1)
	js := newJetStream(t, connect(t, sharedNATS(t, 1).URL()))
	s := openStash(t, js, dirtynats.StashConfig{Bucket: bucket})
	require.NoError(t, s.Put(ctx, "t", "k", encode(t, 1)))
	var subject string
	for _, name := range subjects(t, js, bucket) {
		if strings.Contains(name, ".k.") {
			subject = name
		}
	}
	for _, header := range []map[string]string{
		{}, {"Dirty-Key": "?"}, {"Dirty-Key": "AAAA"}, {"Dirty-Key": "AA==", "Dirty-Order": "x"},
		{"Dirty-Key": "AA==", "Dirty-Chunks": "x"}, {"Dirty-Key": "AA==", "Dirty-Chunks": "-1"}, {"Dirty-Key": "AA==", "Dirty-Chunks": "1000"},
	} {
		msg := natsMessage(subject, header)
		_, err := js.PublishMsg(ctx, msg)
		require.NoError(t, err)
		_, err = s.Keys(ctx, "t", "")
		assert.ErrorContains(t, err, "a broken record", "%v", header)
	}
	_, err := js.PublishMsg(ctx, natsMessage(subject, map[string]string{"Dirty-Key": "AA==", "Dirty-Chunks": "3"}))
	require.NoError(t, err)
	_, err = s.Get(ctx, "t", "k")
	assert.ErrorContains(t, err, "chunks of its value are missing")
}
