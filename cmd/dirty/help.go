package main

// helpMain explains what holds for all commands.
const helpMain = `dirty looks at the dirty workers of a gunicorn, calls their actions, reads their
stash, and watches and measures what passes.

The arbiter is found by --socket or --pid-file, else by GUNICORN_DIRTY_SOCKET,
else it is the only one of this user that "dirty find" sees.

What is asked for goes to standard output, all else to standard error. The format
of the output does not depend on a terminal, but its colours and its width do. -o
changes the format, that of errors too. What is no data, as the output of demo,
completion and help, stays as it is with -o json, and only errors change.

Exit status:

  0    all went well
  1    reading or writing failed
  2    the command line is wrong
  3    the action raised an error, or its worker died
  4    no arbiter answers
  5    the input is broken: a frame, a capture, a line, or an answer
  6    the time was up
  7    the answer is no: a key is missing, an app is not ready, doctor found something
  8    no worker has the app
  130  interrupted`

const helpDecode = `Prints the frames of FILE, a line each, as they arrive. FILE is a capture
(recorded bytes of one or more connections, see docs/SPEC.md), or plain
frames one after the other. The frames of a capture come in the order in which
their last byte was recorded. FILE may be endless.

	-o text   (default) [#CONNECTION] DIRECTION TYPE id=ID size=BYTES PAYLOAD

	#1 > request id=1 size=97 {"app_path": "app:App", "action": "add", ...}
	#1 < response id=1 size=25 {"result": 3}

	-o json   a JSON object a line

	{"offset":17,"conn":1,"dir":">","type":"request","id":"1","length":97,"payload":{...}}

The direction is > (client to arbiter) or < (arbiter to client). In plain
frames the type tells it. offset counts from the start of FILE to the first byte
of the frame. id is a string, because many readers of JSON round large numbers.
Captures have conn, and frames that are not empty have payload.

Values in JSON:

	None, bool, string, list    null, true, "text", [1]
	int64                       1      always without a point or exponent
	float64                     1.0    always with one
	NaN and infinities          {"$float":"7ff8000000000000"}, the 64 bits
	bytes                       {"$bytes":"AP8="}, base64
	dict                        {"b":1,"a":2}, in wire order, repeated keys kept
	dict whose first key        {"$dict":[["$bytes",1]]}
	begins with $

In text, bytes are h'00ff' and the floats without digits NaN, NaN(7ff0000000000001),
Infinity and -Infinity. In both, characters that a terminal would act on or not
show are escaped as \u202e: control and format characters, all spaces but the
usual one, line separators. Nothing is lost, but every bool byte except 00 is
shown as true.

A broken frame is shown as far as it can be read. In text a line follows that
begins with ! and has the error and its offset in FILE (the offset within <>
counts from the payload's start). In JSON the object has
"error":{"message","offset"}, the bytes of the payload or the header as "raw" in
base64, and as "partial" what could be read of the payload. After a broken payload
the next frame is read. After a broken header, this direction of the connection is
over. The exit status is 5.

The frames of a capture that are not whole yet are held in memory, at most 256 MiB
of them; --memory sets another bound, 1 to 2047. Beyond it, frames are given up
until half of the memory is free, first those of connections that have sent
nothing for longest. A frame that is given up is shown as broken, the rest of it
is skipped, and its connection goes on. decode ends with status 5 if it has to
remember too many connections: about a million that are in the middle of a header,
or four million with a broken header. The process takes up to three times the
memory of its frames. Plain frames are held one at a time, 64 MiB at most.`

const helpEncode = `The inverse of "dirty decode": reads the lines that it prints, in text or JSON,
and writes the frames. Each line can be in either form. What decode printed of
sound frames becomes the same bytes, but for bools that were neither 00 nor 01.

	-o raw      (default) frames one after the other, all connections and
	            directions together
	-o capture  a capture, with connections and directions kept; lines
	            without a connection go to number 1

Sizes, lengths and offsets in the input are ignored, so lines can be written
and edited by hand: type, id and payload are enough. A line of JSON with "raw"
in place of a payload gives these bytes as payload, sound or not. The first line
that cannot be encoded ends the run with status 5; what came before it is written.

FILE may be endless. A line is read piece by piece, and refused as soon as its
payload has more than 64 MiB, a name or a number more than 1024 bytes,
or the line 512 MiB. So encode takes about 300 MiB at most.`

const helpServe = `Serves the app demo:App, written in Go, on a Unix socket until it is interrupted,
for any client of gunicorn's dirty workers:

	echo(*args, **kwargs)          gives back its arguments
	add(a, b)                      their sum
	tokens(prompt, pause=0)        streams the words, with a pause of seconds
	fail(message)                  fails
	slow(seconds)                  takes so long, unless its client leaves

and a stash. A wait is at most an hour long. It prints the path of the socket, and
a command to try with gunicorn's own client; with -o json an object with the app and
the socket. By default the socket is in a new folder for temporary files.`

const helpDemo = `Starts a server in Go and uses it with the client: calls, a stream, the stash, the
status, an error and a cancelled call. Prints each step and the frames on the
wire. The exit status is 0 only if each step has the result that it should have.`
