package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1: "1", -3: "-3", 100_002: "100,002", 1_234_567.8: "1,234,568", 999.6: "1,000",
		123.4: "123", 12.34: "12.3", 1.234: "1.23", 0.1234: "0.12", 0.01234: "0.012", 0.001234: "0.0012",
	} {
		require.Equal(t, want, Number(x), "%v", x)
	}
}

func TestTime(t *testing.T) {
	for ns, want := range map[float64]string{
		3.71: "3.71 ns", 412: "412 ns", 999.6: "1.00 µs", 36_500: "36.5 µs", 2_100_000: "2.10 ms", 3e9: "3 s",
	} {
		require.Equal(t, want, Time(ns), "%v", ns)
	}
}

func TestShort(t *testing.T) {
	for x, want := range map[float64]string{0.5: "0.50", 9_876: "9,876", 12_345: "12.3k", 31_600_000: "31.6M", 2e9: "2G"} {
		require.Equal(t, want, Short(x), "%v", x)
	}
}

func TestGoals(t *testing.T) {
	goal := func(value, want float64, atLeast bool) Goal {
		return Goal{What: "x", Value: value, Want: want, AtLeast: atLeast, Spread: rounds.Spread{Low: value / 2, Median: value, High: value * 2}}
	}
	because := func(g Goal, why string) Goal {
		g.Why = why
		return g
	}
	table := Goals("Goals", []Goal{
		goal(1, 2, false), goal(3, 2, false), goal(1, 2, true), goal(2, 2, true),
		because(goal(3, 2, false), "This."), because(goal(3, 2, false), "That."), because(goal(3, 2, false), "This."), because(goal(1, 2, false), "Not said."),
	})
	require.Equal(t, "3 of 8 met.", table.Note)
	require.Equal(t, []string{"This.", "That."}, table.Remarks)
	for i, want := range []string{"**no**, see 1", "**no**, see 2", "**no**, see 1", "yes"} {
		require.Equal(t, want, table.Rows[4+i].Cells[2])
	}
	require.Equal(t, []string{"<= 2", "1 (0.50 to 2)", "yes"}, table.Rows[0].Cells)
	require.Equal(t, []string{"<= 2", "3 (1.50 to 6)", "**no**"}, table.Rows[1].Cells)
	require.Equal(t, []string{">= 2", "1 (0.50 to 2)", "**no**"}, table.Rows[2].Cells)
	require.Equal(t, []string{">= 2", "2 (1 to 4)", "yes"}, table.Rows[3].Cells)
}

func TestDocument(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	require.NoError(t, Document{
		Intro:   "Hello.",
		Missing: []string{"python: there is none"},
		Sections: []Section{{
			Title:  "One",
			Text:   "Text.",
			Tables: []Table{{Title: "a table", Note: "Note.", Columns: []string{"x", "y"}, Rows: []Row{{"r", []string{"1"}}}, Remarks: []string{"First.", "Second."}}},
			Charts: []Bars{bars()},
			Folded: []Fold{{"More", []Table{{Columns: []string{"z"}}}}},
		}},
	}.Write(folder))
	got, err := os.ReadFile(filepath.Join(folder, "BENCHMARKS.md"))
	require.NoError(t, err)
	require.Equal(t, `# Benchmarks

Hello.

> **Not run: python: there is none**

## One

Text.

**A table**

Note.

| x | y |
| --- | ---: |
| r | 1 |

1. First.
2. Second.

![A chart](bench-a-chart.svg)

<details>
<summary>More</summary>

| z |
| --- |

</details>

`, string(got))
	require.FileExists(t, filepath.Join(folder, "bench-a-chart.svg"))
}

// TestSVG: a chart of any size is XML, and its text is text.
func TestSVG(t *testing.T) {
	for name, b := range map[string]Bars{
		"small":      bars(),
		"empty":      {Title: "A chart"},
		"long names": {Title: "A chart", Groups: []string{"a", "b", "c"}, Series: []Series{{"a name that is long", []float64{1, 2, 3}}}},
		"nothing":    {Title: "A chart", Groups: []string{"a"}, Series: []Series{{"x", []float64{math.NaN()}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var svg strings.Builder
			require.NoError(t, b.SVG(&svg))
			require.Contains(t, svg.String(), ">A chart</text>")
			for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
				_, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
			}
		})
	}
}

func TestSVGFigures(t *testing.T) {
	var svg strings.Builder
	require.NoError(t, bars().SVG(&svg))
	for _, text := range []string{"dirty", "other", "1", "→ 40", "a", "b", None} {
		require.Contains(t, svg.String(), ">"+text+"</text>")
	}
}

func bars() Bars {
	return Bars{
		Title: "A chart", YLabel: "Time", Groups: []string{"a", "b"},
		Series: []Series{{"dirty", []float64{1, 1}}, {"other", []float64{40, math.NaN()}}},
	}
}
