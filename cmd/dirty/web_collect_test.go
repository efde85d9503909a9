package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/proxy"
)

func webEventOf(conn uint32, dir capture.Direction, typ dirty.MessageType, id uint64, payload []byte) proxy.Event {
	return proxy.Event{
		Kind: proxy.Frame, Time: time.Now(), Conn: conn, Direction: dir, Payload: payload,
		Header: dirty.Header{Type: typ, RequestID: id, Length: uint32(len(payload))},
	}
}

func webRequest(conn uint32, id uint64, app, action string) proxy.Event {
	e := webEventOf(conn, capture.ToArbiter, dirty.TypeRequest, id, []byte{byte(dirty.KindNone)})
	e.App, e.Action = app, action
	return e
}

func webResponse(conn uint32, id uint64) proxy.Event {
	return webEventOf(conn, capture.FromArbiter, dirty.TypeResponse, id, []byte{byte(dirty.KindNone)})
}

func webChunk(conn uint32, id uint64, payload []byte) proxy.Event {
	return webEventOf(conn, capture.FromArbiter, dirty.TypeChunk, id, payload)
}

func synctestSleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestWebSeconds: the figures of a second come once it is over, to each viewer once.
func TestWebSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWebCollector(false)
		start := time.Now().Unix()
		call := func(conn uint32, id uint64, action string, took time.Duration) {
			c.tap(webRequest(conn, id, "a:A", action))
			time.Sleep(took)
			c.tap(webResponse(conn, id))
		}
		call(1, 1, "one", 100*time.Millisecond)
		call(1, 2, "two", 300*time.Millisecond)
		u, cursor := c.update(webCursor{})
		assert.EqualValues(t, 2, u.Calls)
		assert.Empty(t, u.Seconds)
		require.Len(t, u.Ended, 2)
		assert.Equal(t, "a:A.one", u.Ended[0].Name)
		assert.EqualValues(t, 300_000, u.Ended[1].Took)

		time.Sleep(time.Second)
		call(1, 3, "one", 0)
		u, cursor = c.update(cursor)
		require.Len(t, u.Ended, 1)
		assert.EqualValues(t, 3, u.Ended[0].ID)
		require.Len(t, u.Seconds, 1)
		assert.Equal(t, start, u.Seconds[0].Second)
		points := u.Seconds[0].Points
		require.Len(t, points, 3)
		assert.Equal(t, []int{0, 1, 2}, []int{points[0].Action, points[1].Action, points[2].Action})
		assert.Equal(t, []int{2, 1, 1}, []int{points[0].Calls, points[1].Calls, points[2].Calls})
		assert.InEpsilon(t, 300_000, points[2].P50, 0.01)
		u, cursor = c.update(cursor)
		assert.Empty(t, u.Seconds)
		assert.Empty(t, u.Ended)

		time.Sleep(2 * maxWebSeconds * time.Second)
		u, _ = c.update(cursor)
		assert.Empty(t, u.Seconds, "they are forgotten")
		assert.Equal(t, time.Now().Unix()-1, u.Until)
		u, _ = c.update(webCursor{})
		assert.Len(t, u.Ended, 3)
	})
}

// TestWebOutcomes: how calls end, and what is forgotten when events were missed.
func TestWebOutcomes(t *testing.T) {
	c := newWebCollector(false)
	failed, err := dirty.Marshal(map[string]any{"error": map[string]any{"error_type": "DirtyAppError"}})
	require.NoError(t, err)
	c.tap(webRequest(1, 1, "", "status"))
	c.tap(webEventOf(1, capture.FromArbiter, dirty.TypeError, 1, failed))
	c.tap(webRequest(1, 2, "a:A", "left"))
	c.tap(proxy.Event{Kind: proxy.Closed, Conn: 1, Time: time.Now()})
	c.tap(webRequest(2, 3, "a:A", "goes on"))
	c.tap(proxy.Event{Kind: proxy.Bytes, Conn: 3, Time: time.Now()})
	u, cursor := c.update(webCursor{})
	require.Len(t, u.Ended, 2)
	assert.Equal(t, []string{"error", "DirtyAppError"}, []string{u.Ended[0].Outcome, u.Ended[0].Class})
	assert.Equal(t, noAnswer, u.Ended[1].Outcome)
	assert.Equal(t, webActionView{Name: webAllActions, Calls: 2, Errors: 1, Unanswered: 1}, u.Actions[0])
	assert.EqualValues(t, 1, u.Broken)
	assert.Equal(t, 1, u.InProgress)
	require.Len(t, u.Open, 1)
	assert.Equal(t, "a:A.goes on", u.Open[0].Name)

	response := webResponse(2, 3)
	response.Missed = 7
	c.tap(response)
	u, _ = c.update(cursor)
	assert.EqualValues(t, 7, u.Missed)
	assert.Zero(t, u.InProgress, "its end may have been missed")
	assert.Empty(t, u.Ended)
	_, ok := c.details(3)
	assert.False(t, ok)
}

// TestWebDetails: the first frames of a long stream are kept, and the last one.
func TestWebDetails(t *testing.T) {
	for _, values := range []bool{false, true} {
		t.Run(fmt.Sprint("values ", values), func(t *testing.T) {
			c := newWebCollector(values)
			c.tap(webRequest(1, 1, "a:A", "stream"))
			long := dirty.AppendString(nil, strings.Repeat("x", 2*maxLoggedValue))
			for n := range 2 * maxLoggedFrames {
				payload := long
				if n > 0 {
					payload = dirty.AppendInt64(nil, int64(n))
				}
				c.tap(webChunk(1, 1, payload))
			}
			c.tap(webEventOf(1, capture.FromArbiter, dirty.TypeEnd, 1, nil))
			d, ok := c.details(1)
			require.True(t, ok)
			require.Len(t, d.Frames, maxLoggedFrames)
			assert.Equal(t, maxLoggedFrames+2, d.Skipped)
			assert.Equal(t, "ok", d.Call.Outcome)
			assert.Equal(t, "request", d.Frames[0].Type)
			assert.Equal(t, "end", d.Frames[maxLoggedFrames-1].Type)
			if !values {
				for _, f := range d.Frames {
					assert.Empty(t, f.Value)
				}
				return
			}
			assert.Equal(t, "null", d.Frames[0].Value)
			assert.Equal(t, `"`+strings.Repeat("x", maxLoggedValue-prefixSize)+"…", d.Frames[1].Value)
			assert.Equal(t, maxLoggedValue, d.Frames[1].Shown)
			assert.Equal(t, "1", d.Frames[2].Value)
		})
	}
}

// TestWebValues: payloads that are broken, or of which only the beginning is kept, are
// shown as far as they go.
func TestWebValues(t *testing.T) {
	payload, err := dirty.Marshal(dirty.Dict{{Key: "a", Value: 1}, {Key: "text", Value: "one <two>"}, {Key: "raw", Value: []byte{1, 2, 3}}})
	require.NoError(t, err)
	assert.Equal(t, `{"a": 1, "text": "one <two>", "raw": h'010203'}`, valueText(payload))
	assert.Equal(t, `{"a": 1, "text": "one <two>", "raw": h'0102…`, cutValueText(payload[:len(payload)-1]))
	text := bytes.Index(payload, []byte("<two>"))
	assert.Equal(t, `{"a": 1, "text": "one <…`, cutValueText(payload[:text+1]))
	assert.Regexp(t, `^null<dirty: .*>$`, valueText([]byte{0, 7}))
	for n := range payload { // wherever it is cut, and whatever is wrong with it
		assert.True(t, strings.HasSuffix(cutValueText(payload[:n]), "…"))
		assert.True(t, strings.HasSuffix(valueText(payload[:n]), ">"))
		for _, b := range []byte{0x00, 0x10, 0xff} {
			broken := bytes.Clone(payload)
			broken[n] = b
			_ = valueText(broken)
			_ = cutValueText(broken)
		}
	}
}

// TestWebMemory: what is remembered has bounds, whatever passes.
func TestWebMemory(t *testing.T) {
	c := newWebCollector(true)
	value := make([]byte, maxLoggedValue)
	conns := uint32(2 * maxWebCalls)
	for conn := range conns { // calls that end, of as many actions
		c.tap(webRequest(conn, 1, "a:A", fmt.Sprint(strings.Repeat("é", maxLoggedName), conn%1000, "-", conn)))
		for range 3 {
			c.tap(webChunk(conn, 1, value))
		}
		c.tap(webResponse(conn, 1))
	}
	for conn := range conns { // calls that do not
		c.tap(webRequest(conn, 2, "a:A", fmt.Sprint(conn)))
		c.tap(webChunk(conn, 2, value))
	}
	check := func(open int) {
		t.Helper()
		assert.Len(t, c.calls.ended, maxWebCalls)
		assert.Len(t, c.calls.open, open)
		assert.Len(t, c.calls.byID, maxWebCalls+open)
		assert.LessOrEqual(t, len(c.actions), maxWebActions+2)
		assert.LessOrEqual(t, c.calls.held, maxLoggedValues)
		held := 0
		for _, call := range c.calls.byID {
			own := 0
			for _, f := range call.frames {
				own += len(f.value)
			}
			if held += own; own != call.held {
				assert.Equal(t, own, call.held)
			}
		}
		assert.Equal(t, held, c.calls.held)
	}
	check(int(conns))
	u, _ := c.update(webCursor{})
	assert.Len(t, u.Open, maxWebOpen)
	assert.Equal(t, int(conns), u.InProgress)
	for conn := range conns {
		c.tap(proxy.Event{Kind: proxy.Closed, Conn: conn, Time: time.Now()})
	}
	check(0)
	u, _ = c.update(webCursor{})
	assert.EqualValues(t, 2*conns, u.Calls)
	sum := uint64(0)
	for _, a := range u.Actions[1:] {
		sum += a.Calls
	}
	assert.Equal(t, u.Calls, sum)
	assert.Equal(t, webOtherActions, u.Actions[len(u.Actions)-1].Name)
	for _, call := range u.Ended {
		assert.LessOrEqual(t, len(call.Name), maxLoggedName+len("…"))
	}
}
