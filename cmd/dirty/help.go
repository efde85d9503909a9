package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/gunicorn-go/dirty"
)

const helpMain = `dirty shows and makes frames of gunicorn's dirty-worker protocol, and
demonstrates its server and client.

Usage:

	dirty demo                            see a server and a client at work
	dirty serve [-s PATH]                 a server to try things with
	dirty decode [-o text|json] FILE|-    print frames, a line each
	dirty encode [-o raw|capture] FILE|-  make frames of such lines
	dirty version                         print the version
	dirty help [COMMAND]                  explain a command

A file named - is standard input.

Exit status:

	0  all went well
	1  reading or writing failed, or a step of the demo went wrong
	2  the command line is wrong
	5  the input is broken: a frame, a capture, or a line
`

const helpDecode = `Usage: dirty decode [-o text|json] FILE|-

Prints the frames of FILE, a line each, as they arrive. FILE is a capture
(recorded bytes of one or more connections, see docs/SPEC.md), or plain
frames one after the other. The frames of a capture come in the order in which
their last byte was recorded. FILE may be endless.

	-o text   (default) [#CONNECTION] DIRECTION TYPE id=ID size=BYTES PAYLOAD

	#1 > request id=1 size=97 {"app_path": "app:App", "action": "add", ...}
	#1 < response id=1 size=25 {"result": 3}

	-o json   a JSON object a line

	{"offset":17,"conn":1,"dir":">","type":"request","id":"1","length":97,"payload":{...}}

The direction is > (client to arbiter) or < (arbiter to client); in plain
frames it is told by the type. offset counts from the start of FILE to the
frame's header, or to its first byte. id is a string, as many readers of JSON
round large numbers. conn is for captures, payload for frames that have one.

Values in JSON:

	None, bool, string, list    null, true, "text", [1]
	int64                       1      always without a point or exponent
	float64                     1.0    always with one
	NaN and infinities          {"$float":"7ff8000000000000"}, the 64 bits
	bytes                       {"$bytes":"AP8="}, base64
	dict                        {"b":1,"a":2}, in wire order, repeated keys kept
	dict whose first key        {"$dict":[["$bytes",1]]}
	begins with $

Nothing is lost, but that every bool byte except 00 is shown as true.

A broken frame is shown as far as it can be read. In text a line follows that
begins with ! and tells the error and its offset in FILE (the offset within <>
counts from the payload's start). In JSON the object has
"error":{"message","offset"}, the payload's or header's bytes as "raw" in base64,
and "partial", what could be read of the payload. After a broken payload the next
frame is read; after a broken header, this direction of the connection is over.
The exit status is 5.
`

const helpEncode = `Usage: dirty encode [-o raw|capture] FILE|-

The inverse of "dirty decode": reads its lines, text or JSON, told apart line
by line, and writes the frames. What decode printed of sound frames becomes
the same bytes, but for bools that were neither 00 nor 01.

	-o raw      (default) frames one after the other, all connections and
	            directions together
	-o capture  a capture, with connections and directions kept; lines
	            without a connection go to number 1

Sizes, lengths and offsets in the input are ignored, so lines can be written
and edited by hand: type, id and payload are enough. A line of JSON with "raw"
in place of a payload gives these bytes as payload. The first line that cannot
be encoded ends the run with status 5; what came before it is written.
`

const helpServe = `Usage: dirty serve [-s PATH]

Serves the app demo:App, written in Go, on a Unix socket until it is interrupted,
for any client of gunicorn's dirty workers:

	echo(*args, **kwargs)          gives back its arguments
	add(a, b)                      their sum
	tokens(prompt, pause=0)        streams the words, with a pause of seconds
	fail(message)                  fails
	slow(seconds)                  takes its time, unless its client leaves

and a stash. It prints the path of the socket, by default one in a new folder for
temporary files, and a command to try with gunicorn's own client.
`

const helpDemo = `Usage: dirty demo

Starts a server in Go and calls it with the client: calls, a stream, the stash, the
status, an error and a cancelled call. Prints what it does and the frames on the
wire. The exit status is 0 only if each step gave what it should.
`

const helpVersion = `Usage: dirty version

Prints the version of this command, of Go and of the protocol.
`

const helpHelp = `Usage: dirty help [decode|encode|serve|demo|version]
`

func runHelp(args []string, stdout io.Writer) error {
	if len(args) > 1 {
		return usagef("help: one command at a time")
	}
	text := helpMain
	if len(args) == 1 {
		var ok bool
		text, ok = map[string]string{"decode": helpDecode, "encode": helpEncode, "serve": helpServe, "demo": helpDemo, "version": helpVersion, "help": helpHelp}[args[0]]
		if !ok {
			return usagef("help: unknown command %q", args[0])
		}
	}
	_, err := io.WriteString(stdout, text)
	return err
}

func runVersion(args []string, stdout io.Writer) error {
	if len(args) > 0 {
		return usagef("version takes no arguments")
	}
	version := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(stdout, "dirty %s, %s %s/%s, protocol version %d\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, dirty.Version)
	return err
}
