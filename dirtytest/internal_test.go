package dirtytest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
)

// TestEveryAnswer: for each type of message that the library knows it is said
// whether it ends an answer. A type that is new must be put into isFinal, and into
// the list here.
func TestEveryAnswer(t *testing.T) {
	want := map[dirty.MessageType]bool{
		dirty.TypeChunk: false, dirty.TypeResponse: true, dirty.TypeError: true, dirty.TypeEnd: true,
		dirty.TypeRequest: true, dirty.TypeStash: true, dirty.TypeStatus: true, dirty.TypeManage: true,
	}
	for i := range 256 {
		typ := dirty.MessageType(i)
		if _, err := dirty.ParseMessageType(typ.String()); err != nil {
			continue
		}
		require.Contains(t, want, typ)
		frame, err := dirty.Header{Type: typ}.AppendBinary(nil)
		require.NoError(t, err)
		assert.Equal(t, want[typ], isFinal(frame), "%v", typ)
	}
}

// TestEveryManageOp: each operation on the workers that the library knows is done,
// and another one is an error.
func TestEveryManageOp(t *testing.T) {
	s := NewServer(t, server.NewMux())
	for i := range 256 {
		op := dirty.ManageOp(i)
		result, err := s.manage(t.Context(), op, 1)
		if strings.HasPrefix(op.String(), "ManageOp(") {
			require.ErrorContains(t, err, "no such operation")
			continue
		}
		require.NoError(t, err, "%v", op)
		r := result.(dirty.ManageResult)
		assert.Equal(t, op.String(), r.Operation)
		assert.True(t, (r.Spawned != nil) != (r.Removed != nil), "%v", op)
	}
}

// TestWorkersAreBounded: a client that wants workers without end gets as many as
// there can be, and then the reason that gunicorn gives.
func TestWorkersAreBounded(t *testing.T) {
	s := NewServer(t, server.NewMux())
	for _, want := range []int{maxWorkers - 1, 0} {
		result, err := s.manage(t.Context(), dirty.ManageAdd, math.MaxInt)
		require.NoError(t, err)
		r := result.(dirty.ManageResult)
		assert.Equal(t, want, *r.Spawned)
		assert.Equal(t, want == 0, r.Reason != "")
		assert.Equal(t, maxWorkers, r.TotalWorkers)
	}
	assert.Len(t, s.Workers(), maxWorkers)
}

// TestRecorderIsBounded: in a test without an end the recorder keeps the latest
// requests, and says that it has dropped older ones.
func TestRecorderIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload []byte
		add     int
		dropped int
	}{
		{"few", nil, 10, 0},
		{"as many as are kept", nil, maxRecorded, 0},
		{"more", nil, maxRecorded + 7, 7},
		{"large", make([]byte, 60<<20), 4, 0},
		{"too large", make([]byte, 60<<20), 9, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecorder()
			for i := range tt.add {
				r.add(Request{Conn: i, Frame: dirty.Frame{Payload: tt.payload}})
			}
			requests, dropped, _ := r.all()
			assert.Equal(t, tt.dropped, dropped)
			require.Len(t, requests, tt.add-tt.dropped)
			assert.Equal(t, tt.dropped, requests[0].Conn)
			assert.Equal(t, tt.add-1, requests[len(requests)-1].Conn)
			_, _, err := r.wait(t.Context(), tt.add)
			require.NoError(t, err, "dropped requests have come, too")

			tb := &recordingTB{TB: t}
			s := &Server{tb: tb, recorder: r, life: context.Background()}
			assert.Len(t, s.Requests(), tt.add-tt.dropped)
			assert.Len(t, s.WaitRequests(1), tt.add-tt.dropped)
			if tt.dropped == 0 {
				assert.Empty(t, tb.failures)
			} else {
				assert.Len(t, tb.failures, 2)
				assert.Contains(t, tb.failures[0], fmt.Sprintf("the %d oldest requests were dropped", tt.dropped))
			}
			s.ForgetRequests()
			tb.failures = nil
			assert.Empty(t, s.Requests())
			assert.Empty(t, tb.failures)
		})
	}
}

// recordingTB records failures in place of failing.
type recordingTB struct {
	testing.TB
	failures []string
}

func (tb *recordingTB) Errorf(format string, args ...any) {
	tb.failures = append(tb.failures, fmt.Sprintf(format, args...))
}
