package transport

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/internal/loud"
)

func TestMain(m *testing.M) {
	MaybeChild()
	os.Exit(m.Run())
}

// TestEcho: every mode brings back what was sent. The memory is cleared in
// between, so what was there before does not count.
func TestEcho(t *testing.T) {
	for _, m := range append(slices.Clone(modes), messageMode) {
		for _, size := range []int{200, 64 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", m.name, size), func(t *testing.T) {
				require.NoError(t, withPeers(func(p *peers) error {
					_, ends, err := p.open(m, job{Size: size, SendBuffer: 32 << 10}, 2)
					require.NoError(t, err)
					for _, e := range ends {
						sent := e.payload()
						for i := range sent {
							sent[i] ^= 0x55 // what the far end does not have already
						}
						want := slices.Clone(e.payload())
						require.Len(t, want, size-dirty.HeaderSize)
						require.NoError(t, e.write())
						clear(e.payload())
						require.NoError(t, e.read())
						require.True(t, slices.Equal(want, e.payload()))
						require.NoError(t, echoes(e, 3))
					}
					return nil
				}))
			})
		}
	}
}

// TestRun is a short run of everything.
func TestRun(t *testing.T) {
	r, err := plan{rounds: 1, duration: time.Millisecond, echoes: 50, sizes: []int{100, 1600, 64 << 10, 1 << 20}}.run()
	require.NoError(t, err)
	requireAll(t, r.Skipped)
	for _, table := range slices.Concat(r.Tables(), r.CallTables(), r.ChunkTables()) {
		assert.NotEmpty(t, table.Rows, table.Title)
		for _, row := range table.Rows {
			assert.Len(t, row.Cells, len(table.Columns)-1, table.Title)
			for _, cell := range row.Cells {
				assert.NotContains(t, cell, "NaN", table.Title)
				assert.NotContains(t, cell, "Inf", table.Title)
			}
		}
	}
	for _, chart := range append(r.Charts(), r.CallCharts()...) {
		for _, series := range chart.Series {
			assert.Len(t, series.Values, len(chart.Groups), chart.Title)
		}
	}
	for _, g := range append(r.Goals(), r.Summary()...) {
		assert.True(t, g.Spread.Low <= g.Value && g.Value <= g.Spread.High, g.What)
		assert.NotEmpty(t, g.Why, g.What)
	}
	assert.NotEmpty(t, r.Goals())
}

// requireAll says what was not measured. In CI all must be.
func requireAll(t *testing.T, skipped []string) {
	for _, what := range skipped {
		loud.Say("bench: NOT RUN: %s", what)
	}
	if os.Getenv("CI") != "" || os.Getenv("DIRTY_INTEROP") == "require" {
		require.Empty(t, skipped)
	}
}

// TestCalls: each way to call brings the text back from all callers, and fails when
// it does not.
func TestCalls(t *testing.T) {
	for _, kind := range callPeers {
		t.Run(kind.name, func(t *testing.T) {
			require.NoError(t, withPeers(func(p *peers) error {
				const callers, conns = 5, 2
				call, far, err := kind.open(p, conns)
				if errors.Is(err, errMissing) {
					requireAll(t, []string{err.Error()})
					t.Skip("NOT RUN: ", err)
				}
				require.NoError(t, err)
				timed := newTimedCalls(callers, func(caller int) error { return call(caller, "text") })
				require.NoError(t, timed.run(callers*3))
				require.Len(t, timed.all(), callers*3)
				for _, latency := range timed.all() {
					require.Positive(t, latency)
				}
				require.NoError(t, timed.run(2))
				require.Len(t, timed.all(), 2, "of the last run only")
				if cpu, err := far.cpuOfBoth(); !errors.Is(err, errors.ErrUnsupported) {
					require.NoError(t, err)
					require.Greater(t, cpu(), rounds.CPU())
				}
				require.NoError(t, far.end())
				far.end = func() error { return nil }
				require.Eventually(t, func() bool { return timed.run(callers) != nil }, time.Minute, time.Millisecond)
				return nil
			}))
		})
	}
}

// TestChunks: each way to stream brings as many chunks as were asked for.
func TestChunks(t *testing.T) {
	for _, kind := range chunkPeers {
		t.Run(kind.name, func(t *testing.T) {
			require.NoError(t, withPeers(func(p *peers) error {
				run, _, err := kind.open(p, 20)
				require.NoError(t, err)
				for _, n := range []int{1, 0, 1000} {
					require.NoError(t, run(n))
				}
				return nil
			}))
		})
	}
}

// TestClose: no child is left, whatever has failed.
func TestClose(t *testing.T) {
	var started *peer
	want := os.ErrInvalid
	err := withPeers(func(p *peers) error {
		var err error
		started, _, err = p.open(modeOf(modeConn), job{Size: 100}, 3)
		require.NoError(t, err)
		return want
	})
	require.ErrorIs(t, err, want)
	require.True(t, started.cmd.ProcessState.Exited())
	require.NoFileExists(t, started.path)
}

func TestUnknownService(t *testing.T) {
	require.ErrorContains(t, withPeers(func(p *peers) error {
		_, err := p.start(job{Serve: "nothing"})
		return err
	}), "exit status 1")
}

func TestSizeText(t *testing.T) {
	for size, want := range map[int]string{100: "100 B", 1600: "1.6 KB", 64 << 10: "64 KiB", 1 << 20: "1 MiB", 16 << 20: "16 MiB", 425984: "416 KiB"} {
		assert.Equal(t, want, sizeText(size))
	}
}
