package server

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/gunicorn-go/dirty"
)

// Snapshotter is a [Store] that can be written out and read back, and that can
// move to another process. [Server.TakeOver] and [Server.StashFile] need it.
// [MemoryStore] is one, and so is a type that embeds a MemoryStore. A store that
// keeps its tables outside of the process, such as one in Redis, needs none of this.
//
// The methods may be called concurrently with all others.
type Snapshotter interface {
	Store

	// Snapshot writes all tables to w, as they are at one moment. The format is the
	// store's own.
	Snapshot(ctx context.Context, w io.Writer) error

	// Restore replaces all tables by those of a snapshot, which r gives to its end.
	// If that fails, no table has changed.
	Restore(ctx context.Context, r io.Reader) error

	// Hold makes the methods that change tables wait, until their context ends or
	// release is called. So a snapshot that is written meanwhile misses no change.
	// release is called once. If to is nil, the changes go on here. Else they, and
	// all later operations, are made on that store, for good. If Hold fails, nothing
	// waits. When the tables are elsewhere already, it returns an ErrMoved.
	Hold(ctx context.Context) (release func(to Store), err error)
}

// A snapshot of a MemoryStore begins with snapshotMagic. Then come records. A record
// is a length in 4 bytes, big-endian, and so many bytes. Their first one is the kind:
//
//	recordTable    then the name of a table, encoded: it begins that table
//	recordKey      then a key of that table, encoded, and its value
//
// Tables and keys come in the order in which they were made. A record of the length
// 0 is the last one. After it come 4 bytes with the CRC-32C of all before them.
const (
	snapshotMagic = "dirty stash 1\n"
	recordTable   = 'T'
	recordKey     = 'K'
)

// snapshotChecksum is the table of the checksum.
var snapshotChecksum = crc32.MakeTable(crc32.Castagnoli)

// The errors of a [Snapshotter], for [errors.Is].
const (
	// ErrSnapshot is what Restore returns for what is no whole snapshot. The reason
	// follows in the text.
	ErrSnapshot = sentinel("this is no snapshot of a stash")

	// ErrMoved is what Snapshot, Restore and Hold return when another process has
	// the tables.
	ErrMoved = sentinel("the stash has moved to another process")
)

// Snapshot writes all tables to w, as they are at one moment. It takes memory for
// the list of keys and values, about 50 bytes for each, but copies none of them.
// Operations wait only while that list is made. The format begins with a version and
// ends with a checksum.
//
// Snapshot returns the error of w. When ctx ends it returns the cause before the next
// key; it cannot end a Write that blocks.
func (m *MemoryStore) Snapshot(ctx context.Context, w io.Writer) error {
	out := snapshotWriter{ctx: ctx, w: bufio.NewWriterSize(w, 32<<10)}
	out.write([]byte(snapshotMagic))
	tables, err := m.list()
	if err != nil {
		return err
	}
	for _, t := range tables {
		out.record(recordTable, t.name, nil)
		for _, item := range t.items {
			out.record(recordKey, item.key, item.value)
		}
	}
	return out.finish()
}

// listedTable is a table of a MemoryStore at one moment.
type listedTable struct {
	name  any
	items []item[dirty.RawValue]
}

// list returns all tables. Keys and values in memory never change, so they need no
// copies.
func (m *MemoryStore) list() ([]listedTable, error) {
	if m.rlock() != nil {
		return nil, ErrMoved
	}
	defer m.mu.RUnlock()
	tables := make([]listedTable, 0, m.tables.len())
	for name, t := range m.tables.all() {
		listed := listedTable{name, make([]item[dirty.RawValue], 0, t.len())}
		for key, value := range t.all() {
			listed.items = append(listed.items, item[dirty.RawValue]{key, value})
		}
		tables = append(tables, listed)
	}
	return tables, nil
}

// snapshotWriter writes records. After an error it writes no more.
type snapshotWriter struct {
	ctx context.Context
	w   *bufio.Writer
	sum uint32 // of all that was written
	buf []byte // of a record without its value
	err error
}

func (s *snapshotWriter) write(b []byte) {
	if s.err != nil {
		return
	}
	s.sum = crc32.Update(s.sum, snapshotChecksum, b)
	_, s.err = s.w.Write(b)
}

// record writes a record.
func (s *snapshotWriter) record(kind byte, key any, value dirty.RawValue) {
	if s.err == nil && s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
	}
	if s.err != nil {
		return
	}
	s.buf, s.err = dirty.Append(append(s.buf[:0], 0, 0, 0, 0, kind), key)
	size := len(s.buf) - lengthSize + len(value)
	switch {
	case s.err != nil:
		return
	case size > maxRecord:
		s.err = fmt.Errorf("dirty: a key and its value have %d bytes, of which a snapshot takes at most %d", size, maxRecord)
		return
	}
	binary.BigEndian.PutUint32(s.buf, uint32(size))
	s.write(s.buf)
	s.write(value)
}

const (
	lengthSize = 4         // of a record's length, in bytes
	maxRecord  = 1<<31 - 1 // of a record, in bytes: the largest int of a 32-bit machine
)

// finish writes the end, and returns the first error.
func (s *snapshotWriter) finish() error {
	s.write(make([]byte, lengthSize))
	s.write(binary.BigEndian.AppendUint32(nil, s.sum))
	if s.err != nil {
		return s.err
	}
	return s.w.Flush()
}

// Restore replaces all tables by those of a snapshot. It reads r to its end. Until
// then the new tables take their memory beside the old ones, which serve on.
//
// What is no whole snapshot, or has anything after its end, is an [ErrSnapshot]. If r
// fails, or ctx ends before the next key, Restore returns that error. After an error
// no table has changed.
func (m *MemoryStore) Restore(ctx context.Context, r io.Reader) error {
	in := &snapshotReader{ctx: ctx, r: bufio.NewReaderSize(r, 32<<10)}
	var read MemoryStore // the tables as they come
	if err := in.readTables(&read); err != nil {
		return err
	}
	if m.lock(ctx) != nil {
		return cmp.Or(context.Cause(ctx), error(ErrMoved))
	}
	defer m.mu.Unlock()
	m.tables = read.tables
	return nil
}

// snapshotReader reads records.
type snapshotReader struct {
	ctx context.Context
	r   *bufio.Reader
	sum uint32 // of all that was read
}

// readTables reads a snapshot to its end.
func (s *snapshotReader) readTables(into *MemoryStore) error {
	magic := make([]byte, len(snapshotMagic))
	if err := s.read(magic); err != nil {
		return err
	}
	if string(magic) != snapshotMagic {
		return fmt.Errorf("%w: it begins with %q, not with %q", ErrSnapshot, magic, snapshotMagic)
	}
	var table *ordered[dirty.RawValue]
	for {
		record, err := s.next()
		if err != nil {
			return err
		}
		if len(record) == 0 {
			return s.readEnd()
		}
		kind, key, value := record[0], any(nil), record[1:]
		if value, err = dirty.UnmarshalFirst(value, &key); err != nil {
			return fmt.Errorf("%w: %s", ErrSnapshot, unprefixed(err))
		}
		id, err := mapKey(key)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s", ErrSnapshot, unprefixed(err))
		case kind == recordTable && len(value) == 0:
			table = into.ensure(id, key)
		case kind == recordKey && table != nil:
			table.put(id, key, value[:len(value):len(value)])
		default:
			return fmt.Errorf("%w: a record of kind %q is out of place", ErrSnapshot, kind)
		}
	}
}

// read fills b.
func (s *snapshotReader) read(b []byte) error {
	_, err := io.ReadFull(s.r, b)
	s.sum = crc32.Update(s.sum, snapshotChecksum, b)
	return explainCut(err)
}

// explainCut says what the end of the input means in the middle of a snapshot.
func explainCut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends too early", ErrSnapshot)
	}
	return err
}

// next returns the next record in memory of its own, which grows as bytes come.
func (s *snapshotReader) next() ([]byte, error) {
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	var length [lengthSize]byte
	if err := s.read(length[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(length[:]))
	if size > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes, allowed %d", ErrSnapshot, size, maxRecord)
	}
	record := make([]byte, min(size, firstRecordSize))
	for have := 0; ; {
		if err := s.read(record[have:]); err != nil || int64(len(record)) == size {
			return record, err
		}
		longer := make([]byte, min(size, 2*int64(len(record))))
		have, record = copy(longer, record), longer
	}
}

// firstRecordSize is how much memory is made for a record before any of it has come.
const firstRecordSize = 64 << 10

// readEnd reads the checksum, after which nothing may come.
func (s *snapshotReader) readEnd() error {
	sum := s.sum
	var want [4]byte
	if err := s.read(want[:]); err != nil {
		return err
	}
	if sum != binary.BigEndian.Uint32(want[:]) {
		return fmt.Errorf("%w: its checksum is %08x, not %x", ErrSnapshot, sum, want)
	}
	switch _, err := s.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: something comes after its end", ErrSnapshot)
	default:
		return err
	}
}
