//go:build unix

package interop

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/interop/notation"
)

// codecServer answers judge/go_codec.py, which describes the protocol, with the
// codec of this library.
type codecServer struct {
	path string

	mu    sync.Mutex
	asked map[string]int // by what is to be done
}

// newCodecServer listens until the test ends.
func newCodecServer(t *testing.T) *codecServer {
	t.Helper()
	s := &codecServer{path: filepath.Join(shortFolder(t), "codec.sock"), asked: map[string]int{}}
	listener, err := net.Listen("unix", s.path)
	require.NoError(t, err)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			connections.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); err != nil {
					t.Errorf("the Go side of the codec: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		connections.Wait() // the processes that asked have ended
	})
	return s
}

func (s *codecServer) count(do string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[do]
}

// codecQuestion has the fields that go_codec.py sends. It depends on Do which are set.
type codecQuestion struct {
	Do     string                     `json:"do"`
	Hex    string                     `json:"hex"`
	Value  json.RawMessage            `json:"value"`
	Type   int                        `json:"type"` // of a header
	Name   string                     `json:"name"` // of a message's type
	ID     string                     `json:"id"`
	Length uint32                     `json:"length"`
	Fields map[string]json.RawMessage `json:"fields"`
}

func (s *codecServer) serve(conn net.Conn) error {
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil // the process has ended, maybe by a signal
		}
		text := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, text); err != nil {
			return nil
		}
		var q codecQuestion
		if err := json.Unmarshal(text, &q); err != nil {
			return err
		}
		s.mu.Lock()
		s.asked[q.Do]++
		s.mu.Unlock()
		answer, err := q.answer()
		if err != nil {
			answer = map[string]any{"error": wordFor(err), "text": err.Error()}
		}
		if text, err = json.Marshal(answer); err != nil {
			return err
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
			return nil
		}
	}
}

// asGunicorn has options that allow as deep values as Python does, and keep the order
// of dicts.
var asGunicorn = struct {
	encode dirty.EncodeOptions
	decode dirty.DecodeOptions
}{
	dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: dirty.DefaultMaxDepth}},
	dirty.DecodeOptions{UseDict: true},
}

func (q *codecQuestion) answer() (map[string]any, error) {
	data, err := hex.DecodeString(q.Hex)
	if err != nil {
		return nil, err
	}
	switch q.Do {
	case "encode":
		return q.encode()
	case "decode":
		return decodeFirst(data)
	case "decode all":
		var value any
		if err := asGunicorn.decode.Unmarshal(data, &value); err != nil {
			return nil, err
		}
		return inNotation(value, map[string]any{})
	case "encode header":
		return q.encodeHeader()
	case "decode header":
		h, err := dirty.ParseHeader(data)
		if err != nil {
			return nil, err
		}
		return map[string]any{"type": int(h.Type), "id": strconv.FormatUint(h.RequestID, 10), "length": h.Length}, nil
	case "encode message":
		return q.encodeMessage()
	case "decode message":
		return decodeMessage(data)
	}
	return nil, fmt.Errorf("asked to %q", q.Do)
}

func inHex(data []byte, err error) (map[string]any, error) {
	return map[string]any{"hex": hex.EncodeToString(data)}, err
}

func inNotation(value any, answer map[string]any) (map[string]any, error) {
	plain, err := notation.ToJSON(value)
	answer["value"] = plain
	return answer, err
}

func (q *codecQuestion) encode() (map[string]any, error) {
	value, err := notation.Parse(q.Value)
	if err != nil {
		return nil, err
	}
	return inHex(asGunicorn.encode.Marshal(value))
}

func decodeFirst(data []byte) (map[string]any, error) {
	var value any
	rest, err := asGunicorn.decode.UnmarshalFirst(data, &value)
	if err != nil {
		return nil, err
	}
	return inNotation(value, map[string]any{"size": len(data) - len(rest)})
}

func (q *codecQuestion) encodeHeader() (map[string]any, error) {
	id, err := strconv.ParseUint(q.ID, 10, 64)
	if err != nil {
		return nil, err
	}
	return inHex(dirty.Header{Type: dirty.MessageType(q.Type), Length: q.Length, RequestID: id}.MarshalBinary())
}

func (q *codecQuestion) encodeMessage() (map[string]any, error) {
	id, err := strconv.ParseUint(q.ID, 10, 64)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	for name, text := range q.Fields {
		if fields[name], err = notation.Parse(text); err != nil {
			return nil, err
		}
	}
	m, err := notation.Message(q.Name, id, fields)
	if err != nil {
		return nil, err
	}
	return inHex(asGunicorn.encode.AppendMessage(nil, m))
}

// decodeMessage decodes a frame to a message. To get its payload in the form in which
// gunicorn returns it, it encodes the message again.
func decodeMessage(data []byte) (map[string]any, error) {
	m, _, err := asGunicorn.decode.DecodeMessage(data)
	if err != nil {
		return nil, err
	}
	frame, err := asGunicorn.encode.AppendMessage(nil, m)
	if err != nil {
		return nil, err
	}
	payload := any(dirty.Dict{})
	if len(frame) > dirty.HeaderSize {
		if err := asGunicorn.decode.Unmarshal(frame[dirty.HeaderSize:], &payload); err != nil {
			return nil, err
		}
	}
	return inNotation(payload, map[string]any{"name": m.Type().String(), "id": strconv.FormatUint(m.RequestID(), 10)})
}

// wordFor names the sentinel of an error for go_codec.py. ErrMalformed stands for three
// faults that gunicorn tells apart; here the broken rule tells them apart.
func wordFor(err error) string {
	for sentinel, name := range map[error]string{
		dirty.ErrBadMagic: "ErrBadMagic", dirty.ErrBadVersion: "ErrBadVersion", dirty.ErrUnknownType: "ErrUnknownType",
		dirty.ErrTooLarge: "ErrTooLarge", dirty.ErrTooDeep: "ErrTooDeep", dirty.ErrInvalidUTF8: "ErrInvalidUTF8",
		dirty.ErrTrailingData: "ErrTrailingData", dirty.ErrUnsupportedType: "ErrUnsupportedType", dirty.ErrOverflow: "ErrOverflow",
	} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	fault := (*dirty.ProtocolError)(nil)
	if !errors.As(err, &fault) {
		return "unknown"
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && strings.HasPrefix(fault.Rule, "header"):
		return "short header"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "short frame"
	case errors.Is(err, dirty.ErrMalformed) && strings.HasPrefix(fault.Rule, "bytes left"):
		return "truncated"
	case errors.Is(err, dirty.ErrMalformed) && strings.HasSuffix(fault.Rule, "dict key"):
		return "key"
	case errors.Is(err, dirty.ErrMalformed) && fault.Rule == "type code":
		return "kind"
	}
	return "unknown"
}
