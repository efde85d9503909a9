package cluster

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKeptForCallOnItsWay checks that a slot stays kept for a call that a front has sent
// when the front says, on another connection, that no call waits any more. If it has sent
// none, the slot is kept for the next one at once.
func TestKeptForCallOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, running := range []int{0, 1} {
			s := newSlots()
			s.set(1, map[string]int{"app:A": 1})
			first, second, third := s.enter("first"), s.enter("second"), s.enter("third")
			held, _, _ := s.take(third, "app:A")
			require.NotNil(t, held)
			s.wait(first, "app:A", 1, 0)
			s.wait(second, "app:A", 1, 0)
			s.wait(third, "app:A", 1, 1)
			held.give()
			require.Equal(t, 1, first.kept)
			s.wait(first, "app:A", 0, running)
			assert.Equal(t, running, first.kept)
			assert.Equal(t, 1-running, second.kept)
			taken, reason, _ := s.take(first, "app:A")
			if running == 0 {
				assert.Equal(t, reasonBusy, reason)
				continue
			}
			require.NotNil(t, taken, reason)
			taken.give()
			assert.Equal(t, count{slots: 1, kept: 1}, s.all)
			assert.Equal(t, 1, second.kept)
		}
	})
}

// TestTurnOfApps checks that a front whose calls are of one app gets its share of workers
// that other fronts want for another app.
func TestTurnOfApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		s.set(1, map[string]int{"app:A": 1, "app:B": 1})
		apps := map[*frontSlots]string{s.enter("first"): "app:A", s.enter("second"): "app:B", s.enter("third"): "app:B"}
		got := map[*frontSlots]int{}
		var held *slot
		for f, app := range apps {
			if taken, _, _ := s.take(f, app); taken != nil {
				held = taken
			}
			s.wait(f, app, 1, f.yours)
		}
		for range 30 {
			held.give()
			held = nil
			for f, app := range apps {
				if held == nil && f.kept > 0 {
					held, _, _ = s.take(f, app)
					got[f]++
				}
			}
			require.NotNil(t, held, "the slot is kept for nobody")
		}
		for f := range apps {
			assert.Equal(t, 10, got[f], apps[f])
		}
	})
}
