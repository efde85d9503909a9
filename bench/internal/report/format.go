package report

import (
	"fmt"
	"math"
	"strconv"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// None is the cell of a codec that cannot do it.
const None = "-"

// Time writes nanoseconds for people, with three digits.
func Time(ns float64) string {
	for _, unit := range []string{"ns", "µs", "ms"} {
		if ns < 999.5 {
			return Number(ns) + " " + unit
		}
		ns /= 1000
	}
	return Number(ns) + " s"
}

// Ratio writes a median and its quartiles.
func Ratio(s rounds.Spread) string {
	if s.Low == s.High {
		return Number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", Number(s.Median), Number(s.Low), Number(s.High))
}

// Count writes how often something happens in one operation.
func Count(n float64) string { return Number(math.Round(n)) }

// Number writes a figure with three digits, or with all that are before the point.
func Number(x float64) string {
	a := math.Abs(x)
	switch {
	case a == math.Trunc(a) && a < 1e9:
		return group(strconv.FormatFloat(x, 'f', 0, 64))
	case a >= 99.95:
		return group(strconv.FormatFloat(x, 'f', 0, 64))
	case a >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a >= 0.0995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case a >= 0.00995:
		return strconv.FormatFloat(x, 'f', 3, 64)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// Short writes a figure as Number does, with a letter for thousands and more.
func Short(x float64) string {
	if x < 9_999.5 {
		return Number(x)
	}
	for _, unit := range []string{"k", "M"} {
		if x /= 1000; x < 999.5 {
			return Number(x) + unit
		}
	}
	return Number(x/1000) + "G"
}

// group puts commas between the thousands.
func group(digits string) string {
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
