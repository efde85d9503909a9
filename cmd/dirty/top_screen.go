package main

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// topScreen is the screen of top, and of cluster top.
type topScreen struct {
	topFlags
	title     string
	hasTables bool // the key t shows them
	look      topLook

	ctx      context.Context
	cli      *cli
	colorful bool

	width, height int
	scroll        scroll
	looks         int       // that have ended
	asked         time.Time // of the look that is under way; zero if none is
	seen          topSeen   // nil: nothing yet
	failure       string    // why the last look has failed; "" if it has not
	failing       time.Time // since when looks fail
}

// lookedMsg is the end of a look, dueMsg the time for the next one after so many.
type (
	lookedMsg struct {
		seen topSeen
		err  error
	}
	dueMsg int
)

// Init begins the first look.
func (s *topScreen) Init() tea.Cmd { return tea.Batch(s.lookNow(), nextSecond()) }

// lookNow begins a look, unless one is under way.
func (s *topScreen) lookNow() tea.Cmd {
	if !s.asked.IsZero() {
		return nil
	}
	s.asked = time.Now()
	withTables := s.tables
	return func() tea.Msg {
		seen, err := s.look(s.ctx, withTables)
		return lookedMsg{seen, err}
	}
}

// Update takes a message.
func (s *topScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case secondMsg:
		return s, nextSecond()
	case dueMsg:
		if int(msg) == s.looks {
			return s, s.lookNow()
		}
	case lookedMsg:
		return s, s.looked(msg)
	case tea.KeyPressMsg:
		return s, s.key(msg.String())
	}
	return s, nil
}

func (s *topScreen) looked(msg lookedMsg) tea.Cmd {
	s.looks++
	s.asked = time.Time{}
	if msg.err == nil {
		s.seen, s.failure = msg.seen, ""
	} else {
		if s.failure == "" {
			s.failing = time.Now()
		}
		s.failure = s.cli.explain(s.ctx, msg.err).text
	}
	if s.looks == s.count {
		return tea.Quit
	}
	n := s.looks
	return tea.Tick(s.interval, func(time.Time) tea.Msg { return dueMsg(n) })
}

func (s *topScreen) key(name string) tea.Cmd {
	switch name {
	case "q":
		return tea.Quit
	case "ctrl+c":
		return tea.Interrupt
	case "ctrl+z":
		return tea.Suspend
	case "r":
		return s.lookNow()
	case "t":
		if s.hasTables {
			s.tables = !s.tables
			return s.lookNow()
		}
	case "s":
		s.topFlags.sort = s.nextColumn()
	default:
		s.scroll.key(name, s.page())
	}
	return nil
}

// page returns how many lines there are between the first two and the last one.
func (s *topScreen) page() int { return max(s.height-3, 1) }

// View draws the screen.
func (s *topScreen) View() tea.View {
	return drawScreen(s.title, s.lines(), s.paint(s.keys(), styleFaint.Render), s.width, s.height)
}

// keys is the last line.
func (s *topScreen) keys() string {
	if s.hasTables {
		return "q quit  s sort  r look now  t tables  arrows scroll"
	}
	return "q quit  s sort  r look now  arrows scroll"
}

func (s *topScreen) lines() []string {
	lines := []string{s.health(), s.progress()}
	if s.seen != nil {
		s.seen.sort(s.topFlags.sort)
		var rows []string
		for i, table := range s.seen.tables(tableShape{s.width, true, s.colorful}) {
			if i > 0 {
				rows = append(rows, "")
			}
			rows = append(rows, strings.Split(table, "\n")...)
		}
		lines = append(lines, s.scroll.cut(rows, s.page())...)
	}
	return lines
}

// health is the first line: how the arbiter or the front is.
func (s *topScreen) health() string {
	switch {
	case s.failure != "":
		return s.paint(printable(s.failure), styleBad.Render)
	case s.seen == nil:
		return "asking"
	}
	return s.seen.headline()
}

// progress is the second line: how old what is shown is.
func (s *topScreen) progress() string {
	line := "sorted by " + s.topFlags.sort
	if s.seen != nil {
		line = "seen " + ago(s.seen.time()) + ", " + line
	}
	if s.failure != "" {
		line = "no answer since " + ago(s.failing) + ", " + line
	}
	if !s.asked.IsZero() && time.Since(s.asked) >= time.Second {
		line = "asked " + ago(s.asked) + ", " + line
	}
	return line
}

func (s *topScreen) paint(text string, render func(...string) string) string {
	if !s.colorful {
		return text
	}
	return render(text)
}

// nextColumn returns the column after the one by which the screen is sorted.
func (s *topScreen) nextColumn() string {
	i := slices.Index(s.columns, s.topFlags.sort)
	return s.columns[(i+1)%len(s.columns)]
}
