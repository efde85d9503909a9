package dirty_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimitsValidate(t *testing.T) {
	for _, f := range []struct {
		name string
		set  func(l *dirty.Limits, n int)
		max  int
	}{
		{"MaxPayload", func(l *dirty.Limits, n int) { l.MaxPayload = n }, dirty.MaxPayloadSize},
		{"MaxDepth", func(l *dirty.Limits, n int) { l.MaxDepth = n }, 100_000},
		{"MaxElements", func(l *dirty.Limits, n int) { l.MaxElements = n }, dirty.MaxElements},
		{"MaxMemory", func(l *dirty.Limits, n int) { l.MaxMemory = n }, min(16<<30, math.MaxInt/2+1)},
	} {
		for n, ok := range map[int]bool{0: true, 1: true, f.max: true, f.max + 1: false, -1: false, math.MinInt: false, math.MaxInt: false} {
			t.Run(fmt.Sprint(f.name, n), func(t *testing.T) {
				var l dirty.Limits
				f.set(&l, n)
				err := l.Validate()
				_, encodeErr := dirty.EncodeOptions{Limits: l}.Marshal(nil)
				_, messageErr := dirty.EncodeOptions{Limits: l}.AppendMessage(nil, dirty.NewEnd(1))
				frame, _ := dirty.AppendMessage(nil, dirty.NewEnd(1))
				_, _, decodeErr := dirty.DecodeOptions{Limits: l}.DecodeMessage(frame)
				_, readErr := dirty.NewReader(bytes.NewReader(frame), dirty.WithLimits(l)).ReadMessage()
				_, frameErr := dirty.NewReader(bytes.NewReader(frame), dirty.WithLimits(l)).ReadFrame()
				var out bytes.Buffer
				writeErr := dirty.NewWriter(&out, dirty.WithLimits(l)).WriteMessage(dirty.NewEnd(1))
				writeFrameErr := dirty.NewWriter(&out, dirty.WithLimits(l)).WriteFrame(dirty.Frame{Header: dirty.Header{Type: 1}})
				all := []error{err, encodeErr, messageErr, decodeErr, readErr, frameErr, writeErr, writeFrameErr, dirty.DecodeOptions{Limits: l}.Validate([]byte{0})}
				for i, err := range all {
					if ok {
						assert.NoError(t, err, i)
					} else {
						assert.ErrorContains(t, err, "Limits."+f.name, i)
						assert.ErrorContains(t, err, fmt.Sprint(n), i)
						assert.Zero(t, out.Len(), "nothing is written")
					}
				}
			})
		}
	}
}

// TestLimitsReadable: what is in force can be read, defaults filled in.
func TestLimitsReadable(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	reads := dirty.Limits{MaxPayload: 64 << 20, MaxDepth: 1000, MaxElements: 1 << 20, MaxMemory: 512 << 20}
	writes := reads
	writes.MaxDepth = 900
	for _, tt := range []struct{ given, read, write dirty.Limits }{
		{dirty.Limits{}, reads, writes},
		{dirty.Limits{1, 2, 3, 4}, dirty.Limits{1, 2, 3, 4}, dirty.Limits{1, 2, 3, 4}},
		{dirty.Limits{MaxDepth: 5}, dirty.Limits{64 << 20, 5, 1 << 20, 512 << 20}, dirty.Limits{64 << 20, 5, 1 << 20, 512 << 20}},
	} {
		c := dirty.NewConn(a, dirty.WithLimits(tt.given))
		assert.Equal(t, tt.read, dirty.NewReader(nil, dirty.WithLimits(tt.given)).Limits())
		assert.Equal(t, tt.write, dirty.NewWriter(nil, dirty.WithLimits(tt.given)).Limits())
		assert.Equal(t, tt.read, c.Limits())
	}
	require.NoError(t, reads.Validate())
}
