package dirtynats_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/require"
)

// measure calls f again and again, and reports the median and the 99th percentile of how
// long it takes.
func measure(b *testing.B, f func() error) {
	times := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	for _, percent := range []int{50, 99} {
		at := times[(len(times)-1)*percent/100]
		b.ReportMetric(float64(at.Microseconds()), fmt.Sprintf("p%d-µs", percent))
	}
	b.ReportMetric(0, "ns/op") // the mean says less
}

func BenchmarkStash(b *testing.B) {
	for _, nodes := range clusters {
		ctx := b.Context()
		s := openStash(b, newJetStream(b, connect(b, sharedNATS(b, nodes).URL())), dirtynats.StashConfig{Bucket: newBucket(nodes)})
		value := encode(b, make([]byte, 100))
		for key := range 100 {
			require.NoError(b, s.Put(ctx, "hundred", int64(key), value))
		}
		name := func(operation string) string { return fmt.Sprintf("%s/nodes=%d", operation, nodes) }
		b.Run(name("put"), func(b *testing.B) {
			measure(b, func() error { return s.Put(ctx, "hundred", int64(0), value) })
		})
		b.Run(name("get"), func(b *testing.B) {
			measure(b, func() error {
				_, err := s.Get(ctx, "hundred", int64(0))
				return err
			})
		})
		b.Run(name("keys"), func(b *testing.B) { // 100 of them
			measure(b, func() error {
				_, err := s.Keys(ctx, "hundred", "")
				return err
			})
		})
	}
}

// BenchmarkJobs is from Submit to the result of a job that does nothing.
func BenchmarkJobs(b *testing.B) {
	for _, nodes := range clusters {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			ctx := b.Context()
			j := openJobs(b, sharedNATS(b, nodes).URL(), dirtynats.JobsConfig{Bucket: newBucket(nodes)})
			work(b, j, dirtynats.WorkConfig{Client: newModel().client(b)})
			measure(b, func() error {
				id := nuid.Next()
				_, err := j.Submit(ctx, dirtynats.Job{ID: id, App: "app:Model", Action: "echo", Args: []any{id}})
				if err == nil {
					_, err = j.Wait(ctx, id)
				}
				return err
			})
		})
	}
}
