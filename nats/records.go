package dirtynats

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// The defaults and bounds of a Bucket.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultMaxValue = 64 << 20

	maxChunks = 999 // of one value: nats-server takes 1000 messages in a batch

	// MaxValueSize bounds Bucket.MaxValue in bytes.
	MaxValueSize = maxChunks * chunkSize
)

const (
	// inlineSize is the largest value that is kept in its record. A larger one is kept
	// in chunks, so that a record can be read without it.
	inlineSize = 16 << 10
	// chunkSize is the size of a chunk, half of the largest message by default.
	chunkSize = 512 << 10
	// minPayload is the least that NATS must take as one message. The rest is for the
	// headers.
	minPayload = chunkSize + 128<<10
	// attemptTimeout is when a request without an answer is made again. The next one is
	// given twice the time.
	attemptTimeout = time.Second
	// noLeaderPause is the time between two attempts to write to a stream that has no
	// leader yet.
	noLeaderPause = 50 * time.Millisecond
	// maxParallel bounds the requests of one operation at one time.
	maxParallel = 8
)

// Bucket says where in NATS something is kept. A bucket is a stream of JetStream, of
// the kind that KV buckets are. It is made if there is none. Every program that uses
// one bucket must give the same Bucket.
type Bucket struct {
	// Name is the name of the bucket: letters, digits, "-" and "_". In NATS the stream
	// is called KV_NAME.
	Name string

	// Replicas is on how many servers each value is kept: 1, 3 or 5. 0 is 1. It counts
	// only when the bucket is made.
	Replicas int

	// Memory keeps everything in the memory of the NATS servers instead of files. It
	// counts only when the bucket is made.
	Memory bool

	// MaxBytes bounds the size of the bucket. When it is full, what would make it
	// larger is an error, and nothing is lost. 0 is no bound. It counts only when the
	// bucket is made.
	MaxBytes int64

	// MaxValue bounds one value in bytes: of a key of the stash, or the arguments, a
	// chunk or the result of a job. 0 is DefaultMaxValue.
	MaxValue int

	// Timeout bounds one operation. 0 is DefaultTimeout.
	Timeout time.Duration
}

// errConflict says that a record has changed since it was read.
var errConflict = errors.New("somebody else changed it at the same time")

// records keeps records under names in a bucket. A name is made of tokens with dots
// between them. The newest record of a name replaces the one before.
//
// These are the subjects of a record, after "$KV.BUCKET.":
//
//	NAME.v    the record: its headers, and its value if that is small
//	NAME.c.N  chunk N of a large value
//
// A large value is written as one atomic batch, in which the record comes last. So its
// chunks have the numbers before that of the record. A reader that does not find them
// there knows that the value was replaced, and reads again.
type records struct {
	js       jetstream.JetStream
	nc       *nats.Conn
	opened   atomic.Pointer[jetstream.Stream] // nil until the bucket is open
	api      string                           // the subjects of JetStream's API begin with it
	bucket   Bucket
	prefix   string
	maxValue int
	timeout  time.Duration
}

// record is what is kept under a name.
type record struct {
	name   string
	seq    uint64 // its number in the stream
	header nats.Header
	time   time.Time // when NATS has stored it
	inline []byte    // its value, if there are no chunks
	chunks int
}

// headerChunks says in how many chunks the value of a record is.
const headerChunks = "Dirty-Chunks"

// version returns the number by which put knows that a record is unchanged. That of no
// record is 0.
func (r *record) version() uint64 {
	if r == nil {
		return 0
	}
	return r.seq
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// newRecords returns the records of a bucket, which the first operation opens.
func newRecords(js jetstream.JetStream, bucket Bucket) (*records, error) {
	switch {
	case js == nil:
		return nil, errors.New("dirtynats: the JetStream is nil")
	case !bucketName.MatchString(bucket.Name):
		return nil, fmt.Errorf("dirtynats: the name of the bucket is %q, not 1 to 200 of A-Z, a-z, 0-9, - and _", bucket.Name)
	case bucket.Replicas < 0 || bucket.Replicas > 5:
		return nil, fmt.Errorf("dirtynats: Replicas is %d, not between 0 and 5", bucket.Replicas)
	case bucket.MaxBytes < 0:
		return nil, fmt.Errorf("dirtynats: MaxBytes is %d, less than 0", bucket.MaxBytes)
	case bucket.MaxValue < 0 || bucket.MaxValue > MaxValueSize:
		return nil, fmt.Errorf("dirtynats: MaxValue is %d, not between 0 and %d", bucket.MaxValue, MaxValueSize)
	case bucket.Timeout < 0:
		return nil, fmt.Errorf("dirtynats: Timeout is %v, less than 0", bucket.Timeout)
	}
	return &records{
		js: js, nc: js.Conn(), api: apiPrefix(js), bucket: bucket, prefix: "$KV." + bucket.Name + ".",
		maxValue: cmp.Or(bucket.MaxValue, DefaultMaxValue), timeout: cmp.Or(bucket.Timeout, DefaultTimeout),
	}, nil
}

// apiPrefix returns what the subjects of JetStream's API begin with.
func apiPrefix(js jetstream.JetStream) string {
	options := js.Options()
	switch {
	case options.Domain != "":
		return "$JS." + options.Domain + ".API."
	case options.APIPrefix != "":
		return strings.TrimSuffix(options.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

// open opens the bucket, if that was not done before. It makes the bucket if there is
// none.
func (r *records) open(ctx context.Context) error {
	return r.do(ctx, func(context.Context) error { return nil })
}

// stream returns the stream of the bucket, within an operation.
func (r *records) stream() jetstream.Stream { return *r.opened.Load() }

// openStream finds the stream, or makes it. Several operations may do so at one time.
func (r *records) openStream(ctx context.Context) (err error) {
	var stream jetstream.Stream
	for {
		err = repeat(ctx, func(ctx context.Context) error {
			stream, err = r.findOrMake(ctx)
			return err
		})
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another program was faster
			break
		}
	}
	switch {
	case err != nil:
		return err
	case r.nc.MaxPayload() < minPayload:
		return fmt.Errorf("max_payload of the NATS server is %d bytes, less than %d", r.nc.MaxPayload(), minPayload)
	}
	if err := checkStream(stream.CachedInfo().Config); err != nil {
		return err
	}
	r.opened.Store(&stream)
	return nil
}

// repeat runs f again when there is no answer. A request is lost while a stream has no
// leader, as when it was just made. f must only read, or do no harm the second time.
func repeat(ctx context.Context, f func(context.Context) error) error {
	for patience := attemptTimeout; ; patience *= 2 { // the answer may be large, and the network slow
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := f(attempt)
		lost := err != nil && attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if !lost {
			return err
		}
	}
}

func (r *records) findOrMake(ctx context.Context) (jetstream.Stream, error) {
	bucket := r.bucket
	name := "KV_" + bucket.Name
	stream, err := r.js.Stream(ctx, name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	storage := jetstream.FileStorage
	if bucket.Memory {
		storage = jetstream.MemoryStorage
	}
	return r.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Description: "made by dirtynats", Subjects: []string{r.prefix + ">"},
		Storage: storage, Replicas: max(bucket.Replicas, 1), MaxBytes: cmp.Or(bucket.MaxBytes, -1),
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true,
		AllowMsgTTL: true, AllowAtomicPublish: true,
	})
}

// checkStream returns an error if a stream lacks what records rely on.
func checkStream(config jetstream.StreamConfig) error {
	var wrong []string
	for setting, ok := range map[string]bool{
		"MaxMsgsPerSubject must be 1":               config.MaxMsgsPerSubject == 1,
		"AllowDirect must be off":                   !config.AllowDirect, // or a read may be older than a write before it
		"Discard must be new":                       config.Discard == jetstream.DiscardNew,
		"MaxAge must be 0":                          config.MaxAge == 0,
		"AllowMsgTTL needs nats-server 2.11":        config.AllowMsgTTL,
		"AllowAtomicPublish needs nats-server 2.12": config.AllowAtomicPublish,
	} {
		if !ok {
			wrong = append(wrong, setting)
		}
	}
	if wrong == nil {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("the stream is not as this package makes it: %s", strings.Join(wrong, "; "))
}

// do runs an operation within the time that it may take. The first one opens the bucket.
func (r *records) do(ctx context.Context, operation func(context.Context) error) error {
	err := bound(ctx, r.nc, r.timeout, func(ctx context.Context) error {
		if r.opened.Load() == nil {
			if err := r.openStream(ctx); err != nil {
				return err
			}
		}
		return operation(ctx)
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("dirtynats: bucket %s: %w", r.bucket.Name, err)
}

// token returns a token of a name that stands for any text.
func token(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// get returns a record without the chunks of its value, or nil if there is none.
func (r *records) get(ctx context.Context, name string) (*record, error) {
	msg, err := r.message(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return r.stream().GetLastMsgForSubject(ctx, r.prefix+name+".v")
	})
	if msg == nil || err != nil {
		return nil, err
	}
	return newRecord(name, msg.Sequence, msg.Header, msg.Data, msg.Time)
}

// message returns a message that get asks for, or nil if there is none.
func (r *records) message(ctx context.Context, get func(context.Context) (*jetstream.RawStreamMsg, error)) (msg *jetstream.RawStreamMsg, err error) {
	err = repeat(ctx, func(ctx context.Context) error {
		msg, err = get(ctx)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, err
}

func newRecord(name string, seq uint64, header nats.Header, data []byte, time time.Time) (*record, error) {
	rec := &record{name: name, seq: seq, header: header, inline: data, time: time}
	if text := header.Get(headerChunks); text != "" {
		var err error
		if rec.chunks, err = strconv.Atoi(text); err != nil || rec.chunks < 1 || rec.chunks > maxChunks || uint64(rec.chunks) >= seq {
			return nil, fmt.Errorf("a broken record: %s is %q", headerChunks, text)
		}
	}
	return rec, nil
}

// read returns a record with its whole value, or nil if there is none.
func (r *records) read(ctx context.Context, name string) (*record, []byte, error) {
	var last uint64
	for {
		rec, err := r.get(ctx, name)
		if rec == nil || err != nil {
			return nil, nil, err
		}
		value, err := r.value(ctx, rec)
		if !errors.Is(err, errConflict) {
			return rec, value, err
		}
		if rec.seq == last {
			return nil, nil, errors.New("a broken record: chunks of its value are missing")
		}
		last = rec.seq
	}
}

// value returns the value of a record, or errConflict if that has changed.
func (r *records) value(ctx context.Context, rec *record) ([]byte, error) {
	if rec.chunks == 0 {
		return rec.inline, nil
	}
	first := rec.seq - uint64(rec.chunks)
	parts := make([][]byte, rec.chunks)
	err := inParallel(ctx, rec.chunks, func(ctx context.Context, i int) error {
		msg, err := r.message(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return r.stream().GetMsg(ctx, first+uint64(i))
		})
		switch {
		case err != nil:
			return err
		case msg == nil:
			return errConflict
		}
		parts[i] = msg.Data
		return nil
	})
	return bytes.Join(parts, nil), err
}

// write is what put stores.
type write struct {
	header nats.Header // put adds to it
	value  []byte
	ttl    time.Duration // 0: for ever
}

// checkSize returns an error if what a caller wants to keep is over the limit.
func (r *records) checkSize(value []byte) error {
	if len(value) > r.maxValue {
		return fmt.Errorf("a value of %d bytes is over the limit of %d", len(value), r.maxValue)
	}
	return nil
}

// put stores a record if the one before is still old, which is nil for none. Else it
// returns errConflict. It returns the number of the record. Values of callers go through
// checkSize before.
func (r *records) put(ctx context.Context, name string, old *record, w write) (uint64, error) {
	for {
		seq, chunks, err := r.send(ctx, name, old, w)
		switch {
		case errors.Is(err, nats.ErrNoResponders): // nobody has got it
			select {
			case <-ctx.Done():
				return 0, err
			case <-time.After(noLeaderPause):
				continue
			}
		case err == nil && old != nil && old.chunks > 0:
			_, err = r.purge(ctx, name+".c.>", seq-uint64(chunks))
		}
		return seq, err
	}
}

// send sends a record, with its value in chunks if that is large.
func (r *records) send(ctx context.Context, name string, old *record, w write) (seq uint64, chunks int, err error) {
	msg := r.newMessage(name+".v", w)
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(old.version(), 10))
	if len(w.value) <= inlineSize {
		msg.Data = w.value
		seq, err = r.store(ctx, msg)
		return seq, 0, err
	}
	batch := nuid.Next()
	for part := range slices.Chunk(w.value, chunkSize) {
		chunk := r.newMessage(name+".c."+strconv.Itoa(chunks), write{ttl: w.ttl})
		chunk.Data = part
		chunks++
		addToBatch(chunk, batch, chunks)
		if err := r.nc.PublishMsg(chunk); err != nil {
			return 0, 0, err
		}
	}
	msg.Header.Set(headerChunks, strconv.Itoa(chunks))
	addToBatch(msg, batch, chunks+1)
	msg.Header.Set("Nats-Batch-Commit", "1")
	seq, err = r.store(ctx, msg)
	return seq, chunks, err
}

func (r *records) newMessage(subject string, w write) *nats.Msg {
	msg := nats.NewMsg(r.prefix + subject)
	for key, values := range w.header {
		msg.Header[key] = values
	}
	if w.ttl > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, w.ttl.String())
	}
	return msg
}

// addToBatch makes a message one of an atomic batch, in which the first one is 1.
func addToBatch(msg *nats.Msg, batch string, number int) {
	msg.Header.Set("Nats-Batch-Id", batch)
	msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(number))
}

// store sends a message to the stream, and returns its number there.
func (r *records) store(ctx context.Context, msg *nats.Msg) (uint64, error) {
	reply, err := r.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return 0, err
	}
	var ack jetstream.PubAck
	err = decode(reply, &ack)
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		switch refused.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, errCodeWrongLastSequence:
			return 0, errConflict
		}
	}
	return ack.Sequence, err
}

// errCodeWrongLastSequence is what a cluster answers if two change one record at once.
const errCodeWrongLastSequence = 10164

// purge removes all that matches a filter, and says how many messages these were. If
// before is not 0, it keeps those from that number on. Nothing is left in their place.
func (r *records) purge(ctx context.Context, filter string, before uint64) (removed uint64, err error) {
	request, err := json.Marshal(jetstream.StreamPurgeRequest{Subject: r.prefix + filter, Sequence: before})
	if err != nil {
		return 0, err
	}
	var answer struct {
		Purged uint64 `json:"purged"`
	}
	err = r.ask(ctx, "STREAM.PURGE", request, &answer)
	return answer.Purged, err
}

// list returns the records whose names match a filter, without the chunks of their
// values, in no order. It asks the leader of the stream alone, as get does: a consumer
// may be on a server that is behind.
func (r *records) list(ctx context.Context, filter string) ([]*record, error) {
	names, err := r.names(ctx, filter)
	if err != nil {
		return nil, err
	}
	found := make([]*record, len(names))
	err = inParallel(ctx, len(names), func(ctx context.Context, i int) (err error) {
		found[i], err = r.get(ctx, names[i])
		return err
	})
	removed := func(rec *record) bool { return rec == nil }
	return slices.DeleteFunc(found, removed), err
}

// names returns the names of the records that match a filter.
func (r *records) names(ctx context.Context, filter string) ([]string, error) {
	var names []string
	for {
		request, err := json.Marshal(map[string]any{"subjects_filter": r.prefix + filter + ".v", "offset": len(names)})
		if err != nil {
			return nil, err
		}
		var info jetstream.StreamInfo
		var page struct {
			Total int `json:"total"`
		}
		err = repeat(ctx, func(ctx context.Context) error { return r.ask(ctx, "STREAM.INFO", request, &info, &page) })
		if err != nil {
			return nil, err
		}
		for subject := range info.State.Subjects {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(subject, r.prefix), ".v"))
		}
		if len(info.State.Subjects) == 0 || len(names) >= page.Total {
			return names, nil
		}
	}
}

// ask sends a request about the stream to JetStream, and decodes the answer.
func (r *records) ask(ctx context.Context, operation string, request []byte, answers ...any) error {
	reply, err := r.nc.RequestWithContext(ctx, r.api+operation+".KV_"+r.bucket.Name, request)
	if err != nil {
		return err
	}
	return decode(reply, answers...)
}

// decode decodes an answer of JetStream. It returns the error that is in the answer.
func decode(reply *nats.Msg, answers ...any) error {
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	for _, answer := range append(answers, &failed) {
		if err := json.Unmarshal(reply.Data, answer); err != nil {
			return fmt.Errorf("the answer of NATS cannot be read: %w", err)
		}
	}
	if failed.Error == nil {
		return nil
	}
	return failed.Error
}

// inParallel calls f for 0 to n-1, some at a time. It returns the first error, after
// which it begins no more of them.
func inParallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, maxParallel) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := f(ctx, int(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
