package client

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tableHead begins /proc/net/unix.
const tableHead = "Num       RefCount Protocol Flags    Type St Inode Path\n"

// TestReadTable: rows of one process's sockets, 7 and 8, among those of others.
// What would have to be guessed is refused.
func TestReadTable(t *testing.T) {
	row := func(flags, kind, inode, path string) string {
		return "0000000000000000: 00000002 00000000 " + flags + " " + kind + " 01 " + inode + path + "\n"
	}
	listens := func(inode, path string) string { return row("00010000", "0001", inode, " "+path) }
	for _, tt := range []struct {
		name  string
		table string
		want  map[string]socket
		err   string
	}{
		{"none", tableHead, map[string]socket{}, ""},
		{"others only", tableHead + listens("   70", "/run/x"), map[string]socket{}, ""},
		{"one that listens", tableHead + listens("    7", "/run/x"), map[string]socket{"7": {"7", true, "/run/x"}}, ""},
		{"one that is connected", tableHead + row("00000000", "0001", "    7", " /run/x"), map[string]socket{"7": {"7", false, "/run/x"}}, ""},
		{"no path", tableHead + row("00000000", "0001", "    7", ""), map[string]socket{"7": {"7", false, ""}}, ""},
		{"datagrams", tableHead + row("00010000", "0002", "    7", " /run/x"), map[string]socket{"7": {"7", false, "/run/x"}}, ""},
		{"spaces", tableHead + listens("    7", " /run/x 8  y "), map[string]socket{"7": {"7", true, " /run/x 8  y "}}, ""},
		{"two", tableHead + listens("7", "/a") + listens("8", "/b"), map[string]socket{"7": {"7", true, "/a"}, "8": {"8", true, "/b"}}, ""},
		{"shown again", tableHead + listens("7", "/a") + listens("9", "/b") + listens("7", "/a"), map[string]socket{"7": {"7", true, "/a"}}, ""},
		{"named twice", tableHead + listens("7", "/a") + listens("9", "@x") + listens("7", "/b"), nil, `twice, as "/a" and as "/b"`},
		{"a connected one named again", tableHead + "0: 2 0 00010000 0001 01 7 /b\n" + row("00000000", "0001", "    7", " /a"), nil, "twice"},
		{"a line break in its path", tableHead + listens("7", "/run/x\ny"), nil, "line break"},
		{"an empty line in its path", tableHead + listens("7", "/run/x\n"), nil, "line break"},
		{"a line break in another's", tableHead + listens("7", "/run/x") + listens("9", "/run/x\ny"), map[string]socket{"7": {"7", true, "/run/x"}}, ""},
		{"a control character", tableHead + listens("7", "/run/x\x1b[31m"), nil, `"/run/x\x1b[31m"`},
		{"a carriage return at the end", tableHead + listens("7", "/run/x\r"), nil, `"/run/x\r"`},
		{"a delete character", tableHead + listens("7", "/run/\x7f"), nil, `"/run/\x7f"`},
		{"no rows at all", "\n\n7\n0: 7 /x\n: : : : : : :\n", map[string]socket{}, ""},
		{"an endless row", tableHead + strings.Repeat("x", 1<<20), nil, "buffer full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readTable(context.Background(), strings.NewReader(tt.table), map[string]bool{"7": true, "8": true})
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				assert.NotErrorIs(t, err, ErrUnavailable, "waiting does not help")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

// TestReadTableEnds: however long a table somebody makes, the dial's end ends it.
func TestReadTableEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := readTable(ctx, endlessRows{}, nil)
	assert.ErrorIs(t, err, context.Canceled)
}

type endlessRows struct{}

func (endlessRows) Read(p []byte) (int, error) {
	return io.ReadFull(strings.NewReader(strings.Repeat("\n", len(p))), p)
}

// TestParseStat: the name of a process may hold what ends it.
func TestParseStat(t *testing.T) {
	line := func(name, state, threads string) string {
		return "7 (" + name + ") " + state + " 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 " + threads + " 0 12345\n"
	}
	for _, tt := range []struct {
		name string
		text string
		want stat
		dead bool
	}{
		{"runs", line("gunicorn", "R", "1"), stat{"R", 1, 1}, false},
		{"sleeps", line("gunicorn", "S", "3"), stat{"S", 1, 3}, false},
		{"is stopped", line("gunicorn", "T", "1"), stat{"T", 1, 1}, false},
		{"zombie", line("gunicorn", "Z", "1"), stat{"Z", 1, 1}, true},
		{"zombie without threads", line("gunicorn", "Z", "0"), stat{"Z", 1, 0}, true},
		{"dead", line("gunicorn", "X", "0"), stat{"X", 1, 0}, true},
		{"only the main thread has ended", line("gunicorn", "Z", "2"), stat{"Z", 1, 2}, false},
		{"a name that looks like a zombie", line(") Z 1 (", "S", "1"), stat{"S", 1, 1}, false},
		{"a name of spaces and line breaks", line("a b\n) R 9 ", "Z", "1"), stat{"Z", 1, 1}, true},
		{"an empty name", line("", "S", "1"), stat{"S", 1, 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat(tt.text)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.dead, got.isDead())
		})
	}
	for _, text := range []string{"", ")", "7 (x) Z", "7 (x) Z " + strings.Repeat("x ", 30), line("x", "Z", "x")} {
		_, err := parseStat(text)
		assert.Error(t, err, "%q", text)
	}
}
