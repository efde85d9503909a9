package main

import (
	"context"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// errInterrupted ends a screen at which Ctrl-C was typed: on a terminal that a screen
// has, it is a key and no signal.
var errInterrupted = &statusError{status: exitInterrupt, kind: "canceled", text: "interrupted"}

// hasScreen reports whether there is a terminal to draw on and to read keys from.
// Formats other than text are for programs, and get lines.
func (c *cli) hasScreen() bool {
	return c.format == formatText && isTerminal(c.stdin) && isTerminal(c.stdout) && os.Getenv("TERM") != "dumb"
}

// runScreen gives the terminal to a model until that quits or ctx ends, and restores
// the terminal.
func (c *cli) runScreen(ctx context.Context, m tea.Model) error {
	profile := colorprofile.ASCII
	if c.colorful(c.stdout) {
		profile = colorprofile.ANSI
	}
	interrupted := false
	p := tea.NewProgram(m, tea.WithInput(c.stdin), tea.WithOutput(c.stdout.w), tea.WithColorProfile(profile),
		tea.WithoutSignalHandler(), // signals end ctx
		tea.WithFilter(func(_ tea.Model, msg tea.Msg) tea.Msg {
			if _, is := msg.(tea.InterruptMsg); is {
				interrupted = true
				return tea.QuitMsg{}
			}
			return msg
		}))
	// It always quits. Bubble Tea closes the terminal under its reader if it is
	// interrupted or its context ends.
	defer context.AfterFunc(ctx, p.Quit)()
	_, err := p.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case interrupted:
		return errInterrupted
	}
	return err
}

// drawScreen returns a view of lines with a last one at its bottom, cut to the screen.
func drawScreen(title string, lines []string, last string, width, height int) tea.View {
	room := max(0, height-1)
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines[:room], last)[:max(0, min(height, room+1))]
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], width, "…")
	}
	view := tea.NewView(strings.Join(lines, "\n"))
	view.AltScreen = true
	view.WindowTitle = title
	return view
}

// secondMsg has a screen drawn again, because times on it have changed.
type secondMsg struct{}

func nextSecond() tea.Cmd {
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return secondMsg{} })
}

// scroll is which lines of a list are seen. The zero value is at its top.
type scroll struct{ first int }

// key moves the lines that are seen by a key, and reports whether the key was meant
// for that. page is how many lines are seen.
func (s *scroll) key(name string, page int) bool {
	switch name {
	case "up", "k":
		s.first--
	case "down", "j":
		s.first++
	case "pgup", "b":
		s.first -= page
	case "pgdown", "space", "f":
		s.first += page
	case "home", "g":
		s.first = 0
	case "end", "G":
		s.first = 1 << 30
	default:
		return false
	}
	return true
}

// cut returns the lines that are seen. It moves the first one into the list.
func (s *scroll) cut(lines []string, page int) []string {
	s.first = max(0, min(s.first, len(lines)-page))
	return lines[s.first:min(len(lines), s.first+max(page, 0))]
}
