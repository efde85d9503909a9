package codecs

import (
	"fmt"
	"math"

	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// The names of values that goals are about.
const (
	request = "a request"
	model   = "b model"
	rows    = "c rows"
	mib     = "d 1 MiB"
	mib16   = "d 16 MiB"
	levels  = "e levels"
	floats  = "f floats"
	strs    = "g strings"
	shapes2 = "h 2 shapes"
	shapes4 = "i 4 shapes"
	shapesN = "j all shapes"
	reorder = "k other order"
	orders  = "l document"
)

// Summary returns the goals in short, for one setting of the collector.
func (r Results) Summary(gc int) []report.Goal {
	var goals list
	for _, m := range []struct {
		op   Operation
		peer string
		mean float64
	}{
		{DecodeAny, "cbor", 0.60},
		{DecodeAny, "msgp", 0.82},
		{DecodeTyped, "cbor", 0.30},
		{DecodeTyped, "msgp", 1.0},
		{EncodeAny, "cbor", 0.60},
		{EncodeAny, "msgp", 0.66},
		{EncodeTyped, "cbor", 0.40},
		{EncodeTyped, "msgp", 1.0},
	} {
		goals.add(r.meanGoal(m.op, gc, m.peer, m.mean))
		if !m.op.ofTypes() {
			goals.add(r.worstGoal(m.op, gc, m.peer, 1.0))
		}
	}
	goals.add(r.ratioGoal(EncodeAny, shapes2, gc, ours, "msgp", 1.0))
	goals.add(r.ratioGoal(EncodeAny, shapes4, gc, ours, "msgp", 1.0))
	goals.add(r.ratioGoal(DecodeTyped, floats, gc, ours, "msgp", 0.45))
	goals.add(r.ratioGoal(EncodeTyped, floats, gc, ours, "msgp", 0.35))
	if gc == UsualGC { // the collector does not change allocations
		goals.add(r.extraAllocsGoal())
		goals.add(r.mostAllocsGoal(EncodeAny, 0))
		goals.add(r.mostAllocsGoal(EncodeTyped, 0))
	}
	return goals
}

// list is a list of goals.
type list []report.Goal

// add adds a goal if it was measured.
func (l *list) add(g report.Goal, measured bool) {
	if measured {
		*l = append(*l, g)
	}
}

// Goals returns the goals value by value.
func (r Results) Goals() []report.Goal {
	var goals list
	for _, w := range []struct {
		op    Operation
		value string
		codec string
		peers map[string][2]float64 // the usual collector, GOGC=1000
	}{
		{EncodeAny, request, ours, both(0.75, 0.75)},
		{EncodeAny, model, ours, both(0.50, 0.40)},
		{EncodeAny, rows, ours, both(0.60, 0.60)},
		{EncodeAny, mib, ours, to(limit, 1.05)},
		{EncodeAny, mib16, ours, to(limit, 1.05)},
		{EncodeAny, levels, ours, both(0.95, 0.27)},
		{EncodeAny, floats, ours, both(0.33, 0.26)},
		{EncodeAny, floats, ours, to(limit, 7)},
		{EncodeAny, strs, ours, both(0.68, 0.65)},
		{EncodeAny, strs, ours, to(limit, 10)},
		{DecodeAny, request, ours, four(0.85, 0.42, 0.70, 0.40)},
		{DecodeAny, model, ours, four(0.62, 0.38, 0.45, 0.10)},
		{DecodeAny, rows, ours, map[string][2]float64{"msgp": {0.95, 0.80}, "cbor": {0.52, 0.40}, "msgpack": {0.80, 0.60}, "json": {0.45}}},
		{DecodeAny, mib, ours, to(clone, 1.1)},
		{DecodeAny, mib16, ours, to(clone, 1.1)},
		{DecodeAny, levels, ours, four(0.45, 0.30, 0.30, 0.28)},
		{DecodeAny, floats, ours, map[string][2]float64{"msgp": {0.60, 0.48}, "cbor": {0.43, 0.30}, "msgpack": {0.40, 0.27}, "json": {0.07}}},
		{DecodeAny, strs, ours, four(0.55, 0.52, 0.47, 0.20)},
		{DecodeAny, rows, oursDict, both(0.50, 0.26)},
		{DecodeAny, rows, oursValid, map[string][2]float64{"msgp": {0.10}}},
		{EncodeTyped, request, ours, to("cbor", 0.42)},
		{EncodeTyped, model, ours, to("cbor", 0.20)},
		{EncodeTyped, rows, ours, to("cbor", 0.40)},
		{EncodeTyped, floats, ours, to("cbor", 0.13)},
		{EncodeTyped, floats, ours, to(limit, 3.3)},
		{EncodeTyped, strs, ours, to("cbor", 0.72)},
		{DecodeTyped, request, ours, both(1.15, 0.40)},
		{DecodeTyped, model, ours, both(0.85, 0.20)},
		{DecodeTyped, rows, ours, both(0.95, 0.28)},
		{DecodeTyped, floats, ours, both(0.45, 0.09)},
		{DecodeTyped, strs, ours, both(0.75, 0.50)},
		{DecodeReused, request, ours, to("cbor", 0.25)},
		{DecodeReused, model, ours, to("cbor", 0.12)},
		{DecodeReused, rows, ours, to("cbor", 0.24)},
		{DecodeReused, floats, ours, to("cbor", 0.035)},
		{DecodeReused, floats, ours, to(limit, 3.3)},
		{DecodeReused, strs, ours, to("cbor", 0.42)},
	} {
		for i, gc := range []int{UsualGC, RareGC} {
			for _, peer := range []string{"msgp", "cbor", "msgpack", "json", limit, clone} {
				if want := w.peers[peer][i]; want > 0 {
					goals.add(r.ratioGoal(w.op, w.value, gc, w.codec, peer, want))
				}
			}
		}
	}
	for _, v := range []string{mib, mib16} {
		goals.add(r.timeGoal(DecodeAny, v, oursAlias, 1000))
	}
	for _, w := range []struct {
		op    Operation
		value string
		codec string
		want  float64
	}{
		{DecodeAny, request, ours, 6},
		{DecodeAny, model, ours, 20},
		{DecodeAny, rows, ours, 2100},
		{DecodeAny, mib, ours, 4},
		{DecodeAny, mib16, ours, 4},
		{DecodeAny, levels, ours, 3},
		{DecodeAny, floats, ours, 200},
		{DecodeAny, strs, ours, 400},
		{DecodeAny, rows, oursDict, 7},
		{DecodeAny, rows, oursValid, 0},
		{DecodeReused, request, ours, 0},
		{DecodeReused, floats, ours, 0},
	} {
		goals.add(r.allocsGoal(w.op, w.value, w.codec, w.want))
	}
	return goals
}

// both returns goals beside msgp and cbor; four adds msgpack and json.
func both(msgp, cbor float64) map[string][2]float64 {
	return map[string][2]float64{"msgp": {msgp}, "cbor": {cbor}}
}

func four(msgp, cbor, msgpack, json float64) map[string][2]float64 {
	return map[string][2]float64{"msgp": {msgp}, "cbor": {cbor}, "msgpack": {msgpack}, "json": {json}}
}

func to(peer string, want float64) map[string][2]float64 {
	return map[string][2]float64{peer: {want}}
}

func atMost(what string, gc int, s rounds.Spread, want float64, why string) report.Goal {
	if gc != UsualGC {
		what += fmt.Sprintf(", GOGC=%d", gc)
	}
	return report.Goal{What: what, Value: s.Median, Want: want, Spread: s, Why: why}
}

// whyMissed says why an operation takes longer than was wanted, compared with a
// peer.
func whyMissed(op Operation, peer string) string {
	switch {
	case peer == limit && op.ofTypes():
		return "Each number has a tag in front of it, which a copy does not look at."
	case peer == limit || peer == clone:
		return "Both fill fresh memory. How long that takes depends on the collector and on the kernel, and changes from round to round."
	case op == EncodeAny:
		return "Our dicts have sorted keys, and our text is checked. The memory of keys makes up for that where dicts are alike. It cannot where all are different, as in j, nor where the dicts are few, as in a. PERFORMANCE.md has the parts of the work."
	case op == DecodeAny:
		return "Most of the time goes into maps and into numbers and strings that an any needs as objects of their own. All codecs need them, so our faster reading counts for little. " +
			"The goals value by value come from a prototype that made these objects with `unsafe`, which this module does not use."
	case peer == "msgp":
		return "Typed msgp is generated code. Ours reaches fields by reflection, and checks the whole payload before it builds anything. PERFORMANCE.md says what was tried, and what it would take."
	}
	return "The goals come from a prototype that reached fields with `unsafe`, which this module does not use."
}

// whyAllocated says why an operation allocates more often than was wanted.
func whyAllocated(op Operation) string {
	if op.ofTypes() {
		return "The strings of a value get new memory each time, since the program may keep them."
	}
	return "An any that is not in a list of its kind is an object of its own. The goals come from a prototype that made many of them at once with `unsafe`, which this module does not use."
}

func (r Results) meanGoal(op Operation, gc int, peer string, want float64) (report.Goal, bool) {
	means := r.means(op, gc, peer, r.meanValues(op))
	if means == nil {
		return report.Goal{}, false
	}
	return atMost(fmt.Sprintf("%s, geometric mean / %s", op, peer), gc, rounds.SpreadOf(means), want, whyMissed(op, peer)), true
}

func (r Results) worstGoal(op Operation, gc int, peer string, want float64) (report.Goal, bool) {
	var worst rounds.Spread
	var which string
	for _, v := range r.meanValues(op) {
		if ratios := r.ratios(op, v, gc, ours, peer); ratios != nil {
			if s := rounds.SpreadOf(ratios); s.Median > worst.Median {
				worst, which = s, v
			}
		}
	}
	return atMost(fmt.Sprintf("%s, the worst value (%s) / %s", op, which, peer), gc, worst, want, whyMissed(op, peer)), which != ""
}

func (r Results) ratioGoal(op Operation, value string, gc int, codec, peer string, want float64) (report.Goal, bool) {
	ratios := r.ratios(op, value, gc, codec, peer)
	if ratios == nil {
		return report.Goal{}, false
	}
	return atMost(fmt.Sprintf("%s / %s", what(op, value, codec), peer), gc, rounds.SpreadOf(ratios), want, whyMissed(op, peer)), true
}

func (r Results) timeGoal(op Operation, value, codec string, want float64) (report.Goal, bool) {
	run := r.runs[key{op, value, UsualGC}][codec]
	if run.Samples == nil {
		return report.Goal{}, false
	}
	return atMost(what(op, value, codec)+", ns", UsualGC, run.Time(), want, ""), true
}

func (r Results) allocsGoal(op Operation, value, codec string, want float64) (report.Goal, bool) {
	run := r.runs[key{op, value, UsualGC}][codec]
	if run.Samples == nil {
		return report.Goal{}, false
	}
	return exact(op, what(op, value, codec)+", allocations", run.Allocs(), want), true
}

// extraAllocsGoal wants that decoding to any allocates no more often than msgp.
func (r Results) extraAllocsGoal() (report.Goal, bool) {
	most := math.Inf(-1)
	var which string
	for _, v := range r.Values {
		if !DecodeAny.Measures(v) {
			continue
		}
		run := r.runs[key{DecodeAny, v.Name, UsualGC}]
		if extra := math.Round(run[ours].Allocs()) - math.Round(run["msgp"].Allocs()); extra > most {
			most, which = extra, v.Name
		}
	}
	return exact(DecodeAny, fmt.Sprintf("%s, allocations beyond msgp's, the worst value (%s)", DecodeAny, which), most, 0), which != ""
}

func (r Results) mostAllocsGoal(op Operation, want float64) (report.Goal, bool) {
	most := math.Inf(-1)
	var which string
	for _, v := range r.Values {
		if !op.Measures(v) {
			continue
		}
		if allocs := r.runs[key{op, v.Name, UsualGC}][ours].Allocs(); allocs > most {
			most, which = allocs, v.Name
		}
	}
	return exact(op, fmt.Sprintf("%s, allocations, the worst value (%s)", op, which), most, want), which != ""
}

// exact returns a goal for a count of allocations. It is rounded, because the
// runtime adds a few of its own in a whole round.
func exact(op Operation, what string, allocs, want float64) report.Goal {
	allocs = math.Round(allocs)
	return report.Goal{
		What: what, Value: allocs, Want: want, Why: whyAllocated(op),
		Spread: rounds.Spread{Low: allocs, Median: allocs, High: allocs},
	}
}

func what(op Operation, value, codec string) string {
	if codec == ours {
		return fmt.Sprintf("%s: %s", value, op)
	}
	return fmt.Sprintf("%s: %s (%s)", value, op, codec)
}
