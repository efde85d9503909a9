package dirty

import "reflect"

// Numbers and strings that go into an any are boxed: each is an object of its
// own, and that is most of the work of decoding them. Those of a list are
// boxed as arrays here. reflect makes an any of an element of an array that
// is in an any itself without a copy, because neither can change any more.

// The sizes of the arrays: an element that is kept keeps so many alive.
const (
	boxMost = 256
	boxMany = 64
	boxFew  = 8
)

// boxRun is working memory for the values of a run.
type boxRun struct {
	ints   [boxMost]int64
	floats [boxMost]float64
	texts  [boxMany]string
}

// box stores the values in the list, which is as long.
func box[T any](list []any, values []T) {
	for len(values) > 0 {
		var array reflect.Value
		switch n := len(values); {
		case n >= boxMost:
			array = reflect.ValueOf(*(*[boxMost]T)(values))
		case n >= boxMany:
			array = reflect.ValueOf(*(*[boxMany]T)(values))
		case n >= boxFew:
			array = reflect.ValueOf(*(*[boxFew]T)(values))
		default:
			for i, v := range values {
				list[i] = v
			}
			return
		}
		n := array.Len()
		for i := range n {
			list[i] = array.Index(i).Interface()
		}
		list, values = list[n:], values[n:]
	}
}

// ints decodes the integers that are next, as many as the list and the
// working memory have room for, and returns their number.
func (d *decoder) ints(list []any) int {
	n := integers(&d.cursor, d.run.ints[:min(len(list), boxMost)])
	box(list[:n], d.run.ints[:n])
	return n
}

// floats is ints for floats.
func (d *decoder) floats(list []any) int {
	n := d.float64s(d.run.floats[:min(len(list), boxMost)])
	box(list[:n], d.run.floats[:n])
	return n
}

// strings is ints for short strings. Others are boxed alone: an array of long
// ones would keep them all, and an empty one needs no memory.
func (d *decoder) strings(list []any) int {
	n := 0
	for n < min(len(list), boxMany) && d.kind() == KindString && d.prefix()-1 < sharedText {
		d.run.texts[n] = d.string()
		n++
	}
	if n == 0 {
		list[0] = d.string()
		return 1
	}
	box(list[:n], d.run.texts[:n])
	clear(d.run.texts[:n])
	return n
}
