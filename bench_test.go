package dirty_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/require"
)

// benchValue is a value in two forms: as an any and as a Go type.
type benchValue struct {
	name  string
	any   any
	typed any        // a pointer
	fresh func() any // a new destination of the same type
}

type benchRequest struct {
	AppPath string      `dirty:"app_path"`
	Action  string      `dirty:"action"`
	Args    []int       `dirty:"args"`
	Kwargs  benchKwargs `dirty:"kwargs"`
}

type benchKwargs struct {
	User string `dirty:"user"`
	Deep bool   `dirty:"deep"`
}

type benchModel struct {
	Model       string    `dirty:"model"`
	Image       []float64 `dirty:"image"`
	Temperature float64   `dirty:"temperature"`
	TopK        int       `dirty:"top_k"`
	Stream      bool      `dirty:"stream"`
	Stop        []string  `dirty:"stop"`
	Prompt      string    `dirty:"prompt"`
	Seed        *int      `dirty:"seed"`
}

type benchRow struct {
	ID    int     `dirty:"id"`
	Name  string  `dirty:"name"`
	Score float64 `dirty:"score"`
}

// benchNode is a Go type for lists inside lists.
type benchNode []benchNode

func benchValues() []benchValue {
	rng := rand.New(rand.NewPCG(1, 2))
	return []benchValue{
		newBenchValue("request", &benchRequest{"app:App", "run", []int{1, 2}, benchKwargs{"ada", true}}),
		newBenchValue("model", &benchModel{
			Model: "resnet50", Image: randomFloats(rng, 128), Temperature: 0.7, TopK: 40, Stream: true,
			Stop: []string{"\n", "END"}, Prompt: strings.Repeat("What is on this picture? ", 8),
		}),
		newBenchValue("rows", ptr(randomRows(rng, 1000))),
		newBenchValue("1MiB", ptr(randomBytes(rng, 1<<20))),
		newBenchValue("16MiB", ptr(randomBytes(rng, 16<<20))),
		newBenchValue("levels", ptr(benchLevels(500))),
		newBenchValue("floats", ptr(randomFloats(rng, 100_000))),
		newBenchValue("strings", ptr(randomStrings(rng, 100_000))),
	}
}

func newBenchValue[T any](name string, typed *T) benchValue {
	v := benchValue{name: name, typed: typed, fresh: func() any { return new(T) }}
	data, err := dirty.Marshal(typed)
	if err == nil {
		err = dirty.Unmarshal(data, &v.any)
	}
	if err != nil {
		panic(err)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func benchLevels(n int) benchNode {
	node := benchNode{}
	for range n - 1 {
		node = benchNode{node}
	}
	return node
}

// randomBytes returns bytes that are not zero. Memory that was never written to is a
// single page, which stays in the cache.
func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomFloats(rng *rand.Rand, n int) []float64 {
	floats := make([]float64, n)
	for i := range floats {
		floats[i] = rng.NormFloat64()
	}
	return floats
}

func randomRows(rng *rand.Rand, n int) []benchRow {
	rows := make([]benchRow, n)
	for i := range rows {
		rows[i] = benchRow{i, fmt.Sprintf("user-%d", rng.IntN(1e6)), rng.Float64()}
	}
	return rows
}

func randomStrings(rng *rand.Rand, n int) []string {
	strs := make([]string, n)
	for i := range strs {
		strs[i] = strings.Repeat("x", 4+rng.IntN(12))
	}
	return strs
}

func BenchmarkEncode(b *testing.B) {
	for _, v := range benchValues() {
		for form, value := range map[string]any{"any": v.any, "typed": v.typed} {
			b.Run(v.name+"/"+form, func(b *testing.B) {
				buf, err := dirty.Marshal(value)
				require.NoError(b, err)
				b.SetBytes(int64(len(buf)))
				b.ReportAllocs()
				for b.Loop() {
					buf, _ = dirty.Append(buf[:0], value)
				}
			})
		}
	}
}

// BenchmarkEncodeShapes encodes 1,000 maps, which have n different sets of keys in
// turn.
func BenchmarkEncodeShapes(b *testing.B) {
	for _, n := range []int{1, 2, 4, 6, 1000} {
		rows := make([]any, 1000)
		for i := range rows {
			k := strconv.Itoa(i % n)
			rows[i] = map[string]any{"id" + k: int64(i), "name" + k: "row", "score" + k: 0.5}
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			buf, err := dirty.Marshal(rows)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = dirty.Append(buf[:0], rows)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, v := range benchValues() {
		data, err := dirty.Marshal(v.any)
		require.NoError(b, err)
		decode := func(name string, opts dirty.DecodeOptions, fresh func() any) {
			b.Run(v.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if err := opts.Unmarshal(data, fresh()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		reused := v.fresh()
		decode("any", dirty.DecodeOptions{}, func() any { return new(any) })
		decode("dict", dirty.DecodeOptions{UseDict: true}, func() any { return new(any) })
		decode("typed", dirty.DecodeOptions{}, v.fresh)
		decode("reused", dirty.DecodeOptions{}, func() any { return reused })
		decode("alias", dirty.DecodeOptions{AliasBytes: true}, func() any { return new(any) })
		b.Run(v.name+"/valid", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := dirty.Validate(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConn measures a round trip of frames over a Unix socket, with a Conn and
// with a bare loop that writes and reads the same bytes.
func BenchmarkConn(b *testing.B) {
	for _, size := range []int{100, 1600, 64 << 10, 1 << 20, 16 << 20} {
		payload, err := dirty.Marshal(make([]byte, size-21))
		require.NoError(b, err)
		frame := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest, RequestID: 1}, Payload: payload}
		raw, err := frame.MarshalBinary()
		require.NoError(b, err)

		b.Run(fmt.Sprintf("frame/%d", size), func(b *testing.B) {
			near, far := unixPair(b)
			go func() {
				c, f := dirty.NewConn(far), dirty.Frame{}
				for {
					var err error
					if f, err = c.ReadFrameInto(f.Payload[:0]); err != nil || c.WriteFrame(f) != nil {
						return
					}
				}
			}()
			c, f := dirty.NewConn(near), dirty.Frame{}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, c.WriteFrame(frame))
				f, err = c.ReadFrameInto(f.Payload[:0])
				require.NoError(b, err)
			}
		})
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			near, far := unixPair(b)
			go func() {
				buf := make([]byte, len(raw))
				for readFull(far, buf) == nil {
					if _, err := far.Write(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, len(raw))
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := near.Write(raw)
				require.NoError(b, err)
				require.NoError(b, readFull(near, buf))
			}
		})
	}
}

// readFull does what io.ReadFull does, without calls of interface methods.
func readFull(c net.Conn, b []byte) error {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}

// BenchmarkView reads three fields of a model request: with a View, with Validate and
// then a View, with a struct of the three fields, and with the whole message.
func BenchmarkView(b *testing.B) {
	kwargs := benchValues()[1].any.(map[string]any)
	frame, err := dirty.AppendMessage(nil, dirty.NewRequest(1, "app:Model", "predict", nil, kwargs))
	require.NoError(b, err)
	f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: frame[dirty.HeaderSize:]}
	view := func() bool {
		v := dirty.View(f.Payload)
		app, _ := v.Get("app_path").Text()
		kwargs := v.Get("kwargs")
		model, _ := kwargs.Get("model").Text()
		topK, _ := kwargs.Get("top_k").Int64()
		return string(app) == "app:Model" && string(model) == "resnet50" && topK == 40
	}
	for _, way := range []struct {
		name string
		read func() bool
	}{
		{"View", view},
		{"Validate+View", func() bool { return dirty.Validate(f.Payload) == nil && view() }},
		{"struct", func() bool {
			var v struct {
				AppPath string `dirty:"app_path"`
				Kwargs  struct {
					Model string `dirty:"model"`
					TopK  int    `dirty:"top_k"`
				} `dirty:"kwargs"`
			}
			return f.UnmarshalPayload(&v) == nil && v.Kwargs.TopK == 40
		}},
		{"message", func() bool {
			m, err := f.Message()
			return err == nil && m.(*dirty.Request).AppPath == "app:Model"
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !way.read() {
					b.Fatal("wrong")
				}
			}
		})
	}
}
