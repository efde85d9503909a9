package main

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// topKeys is the last line of the screen.
const topKeys = "q quit  s sort  r look now  t tables  arrows scroll"

// topScreen is the screen of top.
type topScreen struct {
	topFlags
	ctx      context.Context
	looker   *looker
	colorful bool

	width, height int
	scroll        scroll
	looks         int          // that have ended
	asked         time.Time    // of the look that is under way; zero if none is
	seen          *seenArbiter // nil: nothing yet
	failure       string       // why the last look has failed; "" if it has not
	failing       time.Time    // since when looks fail
}

// lookedMsg is the end of a look, dueMsg the time for the next one after so many.
type (
	lookedMsg struct {
		seen *seenArbiter
		err  error
	}
	dueMsg int
)

func newTopScreen(ctx context.Context, f topFlags, l *looker, colorful bool) *topScreen {
	return &topScreen{topFlags: f, ctx: ctx, looker: l, colorful: colorful}
}

// Init begins the first look.
func (s *topScreen) Init() tea.Cmd { return tea.Batch(s.look(), nextSecond()) }

// look begins a look, unless one is under way.
func (s *topScreen) look() tea.Cmd {
	if !s.asked.IsZero() {
		return nil
	}
	s.asked = time.Now()
	withTables := s.tables
	return func() tea.Msg {
		seen, err := s.looker.look(s.ctx, withTables)
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
			return s, s.look()
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
		s.failure = s.looker.cli.explain(s.ctx, msg.err).text
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
		return s.look()
	case "t":
		s.tables = !s.tables
		return s.look()
	case "s":
		s.topFlags.sort = nextColumn(s.topFlags.sort)
	default:
		s.scroll.key(name, s.page())
	}
	return nil
}

// page returns how many lines there are between the first two and the last one.
func (s *topScreen) page() int { return max(s.height-3, 1) }

// View draws the screen.
func (s *topScreen) View() tea.View {
	return drawScreen("dirty top", s.lines(), s.paint(topKeys, styleFaint.Render), s.width, s.height)
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

// health is the first line: how the arbiter is.
func (s *topScreen) health() string {
	switch {
	case s.failure != "":
		return s.paint(printable(s.failure), styleBad.Render)
	case s.seen == nil:
		return "asking the arbiter"
	}
	return s.seen.headline()
}

// progress is the second line: how old what is shown is.
func (s *topScreen) progress() string {
	line := "sorted by " + s.topFlags.sort
	if s.seen != nil {
		line = "seen " + ago(s.seen.at) + ", " + line
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

// nextColumn returns the column after another one.
func nextColumn(name string) string {
	for i, column := range topColumns {
		if column.name == name {
			return topColumns[(i+1)%len(topColumns)].name
		}
	}
	return name
}
