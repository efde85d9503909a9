package dirty_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/gunicorn-go/dirty"
)

func ExampleMarshal() {
	type Request struct {
		Prompt string    `dirty:"prompt"`
		Image  []float64 `dirty:"image,omitempty"`
		Seed   int       `dirty:"seed,omitzero"`
	}
	data, err := dirty.Marshal(Request{Prompt: "hello", Image: []float64{0.5, 1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes: %s\n", len(data), dirty.Diagnose(data))
	// Output:
	// 59 bytes: {"prompt": "hello", "image": [0.5, 1.0]}
}

func ExampleUnmarshal() {
	data, err := dirty.Marshal(map[string]any{"label": "cat", "score": 0.93, "box": []int{1, 2, 30, 40}})
	if err != nil {
		log.Fatal(err)
	}

	var result struct {
		Label string  `dirty:"label"`
		Score float64 `dirty:"score"`
		Box   [4]int  `dirty:"box"`
	}
	if err := dirty.Unmarshal(data, &result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Label, result.Score, result.Box)

	var wrong struct {
		Box []string `dirty:"box"`
	}
	fmt.Println(dirty.Unmarshal(data, &wrong))
	// Output:
	// cat 0.93 [1 2 30 40]
	// dirty: type mismatch: cannot decode int64 at offset 18 (box[0]) into Go value of type string
}

func ExampleDict() {
	data, err := dirty.Marshal(dirty.Dict{{Key: "z", Value: 1}, {Key: "a", Value: dirty.Dict{{Key: "nested", Value: true}}}})
	if err != nil {
		log.Fatal(err)
	}
	var dict dirty.Dict
	if err := dirty.Unmarshal(data, &dict); err != nil {
		log.Fatal(err)
	}
	for _, e := range dict {
		fmt.Println(e.Key, e.Value)
	}
	// Output:
	// z 1
	// a [{nested true}]
}

func ExampleValidate() {
	fmt.Println(dirty.Validate([]byte{0x20, 0xff, 0xff, 0xff, 0xff}))
	// Output:
	// dirty: too large: list count at offset 0: found 4294967295, want 1048576
}

func ExampleDecoder() {
	data, err := dirty.Marshal([]any{1, 2.5, "three"})
	if err != nil {
		log.Fatal(err)
	}
	d := dirty.NewDecoder(data)
	n, err := d.ListHeader()
	for range n {
		var kind dirty.Kind
		if kind, err = d.Kind(); err == nil {
			fmt.Println(d.Offset(), kind)
			err = d.Skip()
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 5 int64
	// 14 float64
	// 23 string
}

// A request over a connection. Here a goroutine plays the arbiter. To reach a real
// one, dial the Unix socket that GUNICORN_DIRTY_SOCKET names.
func ExampleConn() {
	near, far := net.Pipe()
	go playArbiter(dirty.NewConn(far))

	conn := dirty.NewConn(near)
	defer conn.Close()
	request := dirty.NewRequest(7, "app:Model", "add", []any{1, 2}, map[string]any{"carry": true})
	if err := conn.WriteMessage(request); err != nil {
		log.Fatal(err)
	}
	answer, err := conn.ReadMessage()
	if err != nil {
		log.Fatal(err)
	}
	if answer.RequestID() != request.ID {
		log.Fatal("an answer to somebody else")
	}
	switch answer := answer.(type) {
	case *dirty.Response:
		fmt.Println("result:", answer.Result)
	case *dirty.ErrorReply:
		fmt.Println("failed:", answer.Err, errors.Is(answer.Err, dirty.ErrPeerTimeout))
	}
	// Output:
	// result: 3
}

// A stream is chunks, followed by an end or an error.
func ExampleConn_stream() {
	near, far := net.Pipe()
	go playArbiter(dirty.NewConn(far))

	conn := dirty.NewConn(near)
	defer conn.Close() // closing the connection is also how to stop a stream early
	if err := conn.WriteMessage(dirty.NewRequest(8, "app:Model", "tokens", nil, nil)); err != nil {
		log.Fatal(err)
	}
	for {
		m, err := conn.ReadMessage()
		if err != nil {
			log.Fatal(err)
		}
		switch m := m.(type) {
		case *dirty.Chunk:
			fmt.Println("chunk:", m.Data)
		case *dirty.End:
			fmt.Println("end")
			return
		case *dirty.ErrorReply:
			log.Fatal(m.Err)
		}
	}
	// Output:
	// chunk: Hello
	// chunk: world
	// end
}

// playArbiter answers requests for two actions.
func playArbiter(conn *dirty.Conn) {
	defer conn.Close()
	for {
		m, err := conn.ReadMessage()
		if err != nil {
			return
		}
		request, ok := m.(*dirty.Request)
		if !ok {
			return
		}
		var answers []dirty.Message
		switch request.Action {
		case "add":
			sum := request.Args[0].(int64) + request.Args[1].(int64)
			answers = append(answers, dirty.NewResponse(request.ID, sum))
		case "tokens":
			answers = append(answers, dirty.NewChunk(request.ID, "Hello"), dirty.NewChunk(request.ID, "world"), dirty.NewEnd(request.ID))
		}
		for _, answer := range answers {
			if conn.WriteMessage(answer) != nil {
				return
			}
		}
	}
}

// A proxy forwards frames without decoding their payloads.
func ExampleReader_ReadFrameInto() {
	forward := func(w io.Writer, r io.Reader) error {
		reader, writer := dirty.NewReader(r), dirty.NewWriter(w)
		var f dirty.Frame
		for {
			var err error
			if f, err = reader.ReadFrameInto(f.Payload[:0]); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			fmt.Println(f.Type, f.RequestID, f.Length)
			if err := writer.WriteFrame(f); err != nil {
				return err
			}
		}
	}
	r, w := io.Pipe()
	go func() {
		_ = dirty.WriteMessage(w, dirty.NewStatusRequest(1))
		_ = dirty.WriteMessage(w, dirty.NewStashRequest(2, dirty.StashGet, "sessions", "user:1", nil, ""))
		w.Close()
	}()
	if err := forward(io.Discard, r); err != nil {
		log.Fatal(err)
	}
	// Output:
	// status 1 0
	// stash 2 63
}

// A router looks at single fields of a request and decodes nothing else.
func ExampleView() {
	frame, err := dirty.AppendMessage(nil, dirty.NewRequest(1, "shop:Prices", "of", []any{"apple", 3}, nil))
	if err != nil {
		log.Fatal(err)
	}
	payload := dirty.View(frame[dirty.HeaderSize:])
	app, _ := payload.Get("app_path").Text()
	count, ok := payload.Get("args").Index(1).Int64()
	fmt.Println(string(app), count, ok)
	_, ok = payload.Get("kwargs").Get("currency").Text()
	fmt.Println(ok)
	// Output:
	// shop:Prices 3 true
	// false
}
