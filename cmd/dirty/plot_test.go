package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
)

// TestCourse: a pause in the middle shows as a peak in the middle, in its height.
func TestCourse(t *testing.T) {
	c := newCourse(6 * time.Second)
	for i := range 600 {
		took := int64(1000)
		if i >= 300 && i < 330 {
			took = 40_000
		}
		c.record(time.Duration(i)*10*time.Millisecond, took)
	}
	lines := strings.Split(c.draw(0, false), "\n")
	assert.Len(t, lines, plotHeight+2)
	assert.Regexp(t, `^ 40.\dms ┤ {34}╭─+╮$`, lines[0])
	assert.Regexp(t, `^ +0s ┼─{32}╯ +╰─{20,}$`, lines[plotHeight])
	assert.Equal(t, "over 6s: lower curve p50, upper curve p99", lines[plotHeight+1])

	colored := c.draw(0, true)
	assert.Equal(t, strings.Join(lines[:plotHeight+1], "\n"), ansi.Strip(colored[:strings.LastIndex(colored, "\n")]))
	assert.Contains(t, colored, "green p50, red p99")
}

// TestCourseWidths: it fits any terminal that has room for the numbers.
func TestCourseWidths(t *testing.T) {
	c := newCourse(time.Second)
	assert.Empty(t, c.draw(80, false), "there were no calls")
	c.record(-time.Second, 1) // a clock may go back
	assert.NotEmpty(t, c.draw(80, false), "one part is enough")
	c.record(time.Hour, maxLatency.Microseconds())
	for width := 1; width < 300; width++ {
		lines := strings.Split(c.draw(width, false), "\n")
		for _, line := range lines[:plotHeight+1] {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), max(width, plotMargin+2), "width %d", width)
		}
	}
}

func TestShortTime(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0s", 7: "7µs", 99.9: "99µs", 1234: "1.23ms", 40_192: "40.2ms", 123_456: "123ms", 1_234_567: "1.23s", 3.6e9: "1h0m0s",
	} {
		assert.Equal(t, want, shortTime(n))
	}
}
