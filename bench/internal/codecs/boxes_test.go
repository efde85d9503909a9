package codecs

import (
	"reflect"
	"testing"
	"unsafe"
)

// BenchmarkBoxes compares three ways to make 256 values of type any of 256
// floats: an object for each; elements of an array by reflection, as the decoder
// does; and interfaces made by hand, which would need unsafe.
func BenchmarkBoxes(b *testing.B) {
	var floats [256]float64
	for i := range floats {
		floats[i] = float64(i) + 0.5
	}
	list := make([]any, len(floats))
	for _, way := range []struct {
		name string
		box  func()
	}{
		{"objects", func() {
			for i, f := range floats {
				list[i] = f
			}
		}},
		{"array", func() {
			array := reflect.ValueOf(floats)
			for i := range list {
				list[i] = array.Index(i).Interface()
			}
		}},
		{"unsafe", func() {
			type words struct{ typ, data unsafe.Pointer }
			var float any = 0.5
			typ := (*words)(unsafe.Pointer(&float)).typ
			array := new([256]float64)
			*array = floats
			for i := range list {
				w := words{typ, unsafe.Pointer(&array[i])}
				list[i] = *(*any)(unsafe.Pointer(&w))
			}
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.box()
			}
			for i, v := range list {
				if v != floats[i] {
					b.Fatal(v)
				}
			}
		})
	}
}
