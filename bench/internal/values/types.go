package values

//go:generate go tool msgp -file types.go -o types_msgp.go -io=false -tests=false

// Request is a small call.
type Request struct {
	AppPath string `dirty:"app_path" json:"app_path" msgpack:"app_path" msg:"app_path" cbor:"app_path"`
	Action  string `dirty:"action" json:"action" msgpack:"action" msg:"action" cbor:"action"`
	Args    []int  `dirty:"args" json:"args" msgpack:"args" msg:"args" cbor:"args"`
	Kwargs  Kwargs `dirty:"kwargs" json:"kwargs" msgpack:"kwargs" msg:"kwargs" cbor:"kwargs"`
}

// Kwargs is the inner dict of a Request.
type Kwargs struct {
	User string `dirty:"user" json:"user" msgpack:"user" msg:"user" cbor:"user"`
	Deep bool   `dirty:"deep" json:"deep" msgpack:"deep" msg:"deep" cbor:"deep"`
}

// Model is what a model for pictures is asked.
type Model struct {
	Model       string    `dirty:"model" json:"model" msgpack:"model" msg:"model" cbor:"model"`
	Image       []float64 `dirty:"image" json:"image" msgpack:"image" msg:"image" cbor:"image"`
	Temperature float64   `dirty:"temperature" json:"temperature" msgpack:"temperature" msg:"temperature" cbor:"temperature"`
	TopK        int       `dirty:"top_k" json:"top_k" msgpack:"top_k" msg:"top_k" cbor:"top_k"`
	Stream      bool      `dirty:"stream" json:"stream" msgpack:"stream" msg:"stream" cbor:"stream"`
	Stop        []string  `dirty:"stop" json:"stop" msgpack:"stop" msg:"stop" cbor:"stop"`
	Prompt      string    `dirty:"prompt" json:"prompt" msgpack:"prompt" msg:"prompt" cbor:"prompt"`
	Seed        *int      `dirty:"seed" json:"seed" msgpack:"seed" msg:"seed" cbor:"seed"`
}

// Row is one of many small dicts.
type Row struct {
	ID    int     `dirty:"id" json:"id" msgpack:"id" msg:"id" cbor:"id"`
	Name  string  `dirty:"name" json:"name" msgpack:"name" msg:"name" cbor:"name"`
	Score float64 `dirty:"score" json:"score" msgpack:"score" msg:"score" cbor:"score"`
}

// The lists by name, because only named types get generated code.
type (
	// Rows are many small dicts.
	Rows []Row
	// Floats are many numbers.
	Floats []float64
	// Strings are many short strings.
	Strings []string
	// Bytes are one large value.
	Bytes []byte
)

// Node nests lists in a typed way.
//
//msgp:ignore Node
type Node []Node
