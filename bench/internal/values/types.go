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

// Model is a call of a model for pictures.
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

// ReorderedRow is a Row whose fields have another order.
type ReorderedRow struct {
	Score float64 `dirty:"score" json:"score" msgpack:"score" msg:"score" cbor:"score"`
	ID    int     `dirty:"id" json:"id" msgpack:"id" msg:"id" cbor:"id"`
	Name  string  `dirty:"name" json:"name" msgpack:"name" msg:"name" cbor:"name"`
}

// Order is an order of a shop: a document such as APIs have in JSON.
type Order struct {
	ID       int      `dirty:"id" json:"id" msgpack:"id" msg:"id" cbor:"id"`
	Created  string   `dirty:"created" json:"created" msgpack:"created" msg:"created" cbor:"created"`
	Paid     bool     `dirty:"paid" json:"paid" msgpack:"paid" msg:"paid" cbor:"paid"`
	Discount *float64 `dirty:"discount" json:"discount" msgpack:"discount" msg:"discount" cbor:"discount"`
	Customer Customer `dirty:"customer" json:"customer" msgpack:"customer" msg:"customer" cbor:"customer"`
	Tags     []string `dirty:"tags" json:"tags" msgpack:"tags" msg:"tags" cbor:"tags"`
	Note     string   `dirty:"note" json:"note" msgpack:"note" msg:"note" cbor:"note"`
	Items    []Item   `dirty:"items" json:"items" msgpack:"items" msg:"items" cbor:"items"`
}

// Customer is who made an Order.
type Customer struct {
	Name  string `dirty:"name" json:"name" msgpack:"name" msg:"name" cbor:"name"`
	Email string `dirty:"email" json:"email" msgpack:"email" msg:"email" cbor:"email"`
	Age   int    `dirty:"age" json:"age" msgpack:"age" msg:"age" cbor:"age"`
}

// Item is a line of an Order.
type Item struct {
	SKU        string            `dirty:"sku" json:"sku" msgpack:"sku" msg:"sku" cbor:"sku"`
	Name       string            `dirty:"name" json:"name" msgpack:"name" msg:"name" cbor:"name"`
	Count      int               `dirty:"count" json:"count" msgpack:"count" msg:"count" cbor:"count"`
	Price      float64           `dirty:"price" json:"price" msgpack:"price" msg:"price" cbor:"price"`
	Attributes map[string]string `dirty:"attributes" json:"attributes" msgpack:"attributes" msg:"attributes" cbor:"attributes"`
}

// The lists by name, because only named types get generated code.
type (
	// Rows are many small dicts.
	Rows []Row
	// ReorderedRows are Rows with their keys in another order.
	ReorderedRows []ReorderedRow
	// Orders are many documents.
	Orders []Order
	// Floats are many numbers.
	Floats []float64
	// Strings are many short strings.
	Strings []string
	// Bytes are one large value.
	Bytes []byte
)

// Node is a list of lists, to any depth.
//
//msgp:ignore Node
type Node []Node
