package dirtynats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestRoster checks what a front makes of what it hears, and of silence.
func TestRoster(t *testing.T) {
	type step struct {
		after   time.Duration
		hear    string
		do      string // "expire" or "reconnect"
		changed bool
		want    string
	}
	for name, steps := range map[string][]step{
		"comes and leaves": {
			{hear: `{"addr":"b","boot":"1"}`, changed: true, want: "b"},
			{hear: `{"addr":"a","boot":"1"}`, changed: true, want: "a b"},
			{hear: `{"addr":"a","boot":"1"}`, want: "a b"},
			{hear: `{"addr":"a","boot":"2"}`, changed: true, want: "a b"},
			{hear: `{"addr":"a","boot":"1","leaving":true}`, want: "a b"}, // the process before
			{hear: `{"addr":"a","boot":"2","leaving":true}`, changed: true, want: "b"},
			{hear: `{"addr":"x","leaving":true}`, want: "b"},
		},
		"one falls silent": {
			{hear: `{"addr":"a"}`, changed: true, want: "a"},
			{hear: `{"addr":"b"}`, changed: true, want: "a b"},
			{after: 20 * time.Second, hear: `{"addr":"b"}`, want: "a b"},
			{do: "expire", want: "a b"},
			{after: time.Second, do: "expire", changed: true, want: "b"},
		},
		"all fall silent": {
			{hear: `{"addr":"a"}`, changed: true, want: "a"},
			{hear: `{"addr":"b"}`, changed: true, want: "a b"},
			{after: time.Hour, do: "expire", want: "a b"},
		},
		"NATS was away": {
			{hear: `{"addr":"a"}`, changed: true, want: "a"},
			{hear: `{"addr":"b"}`, changed: true, want: "a b"},
			{after: time.Hour, do: "reconnect", want: "a b"},
			{hear: `{"addr":"a"}`, want: "a b"},
			{do: "expire", want: "a b"}, // b had no time yet
			{after: 21 * time.Second, hear: `{"addr":"a"}`, want: "a b"},
			{do: "expire", changed: true, want: "a"},
		},
		"nonsense": {
			{hear: ``}, {hear: `[]`}, {hear: `{}`}, {hear: `{"addr":""}`}, {hear: `{"addr":1}`},
			{hear: `{"addr":"` + strings.Repeat("a", maxAnnouncement) + `"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			r := newRoster(20*time.Second, now)
			for i, s := range steps {
				now = now.Add(s.after)
				changed := false
				switch s.do {
				case "expire":
					changed = r.expire(now)
				case "reconnect":
					r.reconnected(now)
				default:
					changed = r.hear([]byte(s.hear), now)
				}
				assert.Equal(t, s.changed, changed, "step %d", i)
				var addrs []string
				for _, m := range r.members() {
					addrs = append(addrs, m.Addr)
				}
				assert.Equal(t, s.want, strings.Join(addrs, " "), "step %d", i)
			}
		})
	}
}

func TestRosterLimit(t *testing.T) {
	now := time.Now()
	r := newRoster(time.Minute, now)
	for i := range MaxMembers + 10 {
		r.hear(fmt.Appendf(nil, `{"addr":"%d"}`, i), now)
	}
	assert.Len(t, r.members(), MaxMembers)
}
