package httpdirty_test

import (
	"log"
	"net/http"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/httpdirty"
)

// A small web server that opens two actions of a Python app:
//
//	curl -N localhost:8080/call/app:LLM/generate -H 'Content-Type: application/json' -d '["Once upon a time"]'
func ExampleHandler() {
	c, err := client.New(client.WithSocket("/run/app/dirty.sock"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	http.Handle("/call/", http.StripPrefix("/call", httpdirty.Handler(c, httpdirty.Allow("app:LLM", "generate", "embed"))))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
