package codecs

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// TestGoals: each goal finds what it is about. If all codecs take as long, no
// goal is left out and every ratio is 1.
func TestGoals(t *testing.T) {
	r := allEqual()
	for what, test := range map[string]struct {
		goals []report.Goal
		want  int
	}{
		"summary":         {r.Summary(UsualGC), 19},
		"summary, rarely": {r.Summary(RareGC), 16},
		"each value":      {r.Goals(), 87},
	} {
		require.Len(t, test.goals, test.want, what)
		for _, g := range test.goals {
			require.True(t, g.Why != "" || strings.HasSuffix(g.What, ", ns"), g.What)
			switch g.Value {
			case 1, 100, 3, 0: // a ratio, nanoseconds, allocations, allocations beyond
			default:
				require.Fail(t, what, "%+v", g)
			}
		}
	}
}

// TestNothingMeasured: what was not measured has no goals.
func TestNothingMeasured(t *testing.T) {
	require.Empty(t, Results{}.Summary(UsualGC))
	require.Empty(t, Results{}.Goals())
}

func TestShort(t *testing.T) {
	short := allEqual().Short()
	require.Len(t, short.Rows, len(Operations))
	for _, row := range short.Rows {
		require.Equal(t, slices.Repeat([]string{"1"}, len(Others())), row.Cells, row.Name)
	}
}

func TestCharts(t *testing.T) {
	for _, c := range allEqual().Charts() {
		require.Len(t, c.Series, 1+len(Others()))
		for _, s := range c.Series {
			require.Len(t, s.Values, len(c.Groups))
			for _, v := range s.Values {
				require.InDelta(t, 1, v, 1e-9, "%s of %s", s.Name, c.Title)
			}
		}
	}
}

func TestTables(t *testing.T) {
	r := allEqual()
	for _, op := range Operations {
		for _, table := range r.Tables(op) {
			for _, row := range table.Rows {
				require.Len(t, row.Cells, len(table.Columns)-1, table.Title)
			}
		}
	}
}

var valueNames = []string{request, model, rows, mib, mib16, levels, floats, strs, shapes2, shapes4, shapesN, reorder, orders}

// allEqual returns a run in which everything takes 100 ns and 3 allocations.
func allEqual() Results {
	r := Results{runs: map[key]map[string]rounds.Result{}}
	for _, name := range valueNames {
		v := values.Value{
			Name: name, Blob: name == mib || name == mib16,
			HasAny: name != reorder, HasTyped: !slices.Contains([]string{shapes2, shapes4, shapesN}, name),
		}
		r.Values = append(r.Values, v)
		for _, op := range Operations {
			if !op.Measures(v) {
				continue
			}
			for _, gc := range []int{UsualGC, RareGC} {
				run := map[string]rounds.Result{}
				for _, c := range competitors(op, v.Blob) {
					run[c.Name] = rounds.Result{Name: c.Name, Samples: []rounds.Sample{{Nanoseconds: 100, Allocs: 3}}}
				}
				r.runs[key{op, name, gc}] = run
			}
		}
	}
	return r
}

// TestNames: the goals use the names of the values.
func TestNames(t *testing.T) {
	var names []string
	for _, source := range values.All() {
		names = append(names, source.Name)
	}
	require.Equal(t, valueNames, names)
}
