package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/gunicorn-go/dirty/proxy"
)

const (
	// maxScreenCalls is how many calls that have ended the screen remembers.
	maxScreenCalls = 10_000

	// screenPause is the time between two looks at what has passed.
	screenPause = 200 * time.Millisecond

	monitorKeys = "q quit  enter open  / filter  p pause  arrows scroll"
	filterKeys  = "  enter keep  esc no filter"
	openKeys    = "esc back  p pause  arrows scroll"
)

// screenLog holds calls on their way from the traffic to the screen. Neither waits
// for the other: the screen takes a copy now and then, however slow its terminal is.
type screenLog struct {
	mu    sync.Mutex
	calls *callLog
	ended bool // nothing more will come
}

func newScreenLog() *screenLog {
	return &screenLog{calls: newCallLog(maxScreenCalls, true, nil)}
}

func (l *screenLog) event(e proxy.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.event(e)
}

// end says that nothing more will come.
func (l *screenLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.tracker.closeAll()
	l.ended = true
}

// screenCall is a call as it was when the screen looked.
type screenCall struct {
	id uint64
	watchedCall
}

// look returns the calls whose lines have all the words of a filter, those in progress
// last; and a line about all calls.
func (l *screenLog) look(filter string) (calls []screenCall, summary string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	words := strings.Fields(strings.ToLower(filter))
	open := l.calls.inProgress()
	for _, list := range [][]*loggedCall{l.calls.ended, open} {
		for _, call := range list {
			if matches(call, words) {
				calls = append(calls, screenCall{call.id, *call.watchedCall})
			}
		}
	}
	summary = fmt.Sprintf("%s, %d in progress", count(int(l.calls.endedEver), "call"), len(open))
	if len(words) > 0 {
		summary += fmt.Sprintf(", %d match %q", len(calls), printable(filter))
	}
	if n := l.calls.missed + uint64(l.calls.tracker.forgotten); n > 0 {
		summary += fmt.Sprintf(", %d events missed", n)
	}
	if l.ended {
		summary += ", end of the recording"
	}
	return calls, summary
}

// matches reports whether the line of a call has all words.
func matches(call *loggedCall, words []string) bool {
	if len(words) == 0 {
		return true
	}
	line := strings.ToLower(call.line(func(word string) string { return word }))
	for _, word := range words {
		if !strings.Contains(line, word) {
			return false
		}
	}
	return true
}

// details returns a call with its frames and their values, in lines that fit a width.
func (l *screenLog) details(id uint64, width int, paint func(string) string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	call := l.calls.byID[id]
	if call == nil {
		return []string{"this call is forgotten: too many came after it"}
	}
	text := call.line(paint) + "\n"
	for i, f := range call.frames {
		if i == len(call.frames)-1 && call.skipped > 0 {
			text += fmt.Sprintf("\n%s left out\n", count(call.skipped, "frame"))
		}
		text += fmt.Sprintf("\n%c %v id=%d size=%d", f.dir, f.header.Type, f.header.RequestID, f.header.Length)
		if !call.start.IsZero() {
			text += fmt.Sprintf(" after %v", f.since.Round(time.Microsecond))
		}
		text += "\n" + f.text() + "\n"
	}
	return strings.Split(ansi.Hardwrap(strings.TrimRight(text, "\n"), max(width, 1), true), "\n")
}

// monitorScreen is the screen of monitor.
type monitorScreen struct {
	log   *screenLog
	said  func() string // the last line that was meant for standard error
	paint func(string) string

	width, height int
	calls         []screenCall // of the last look
	summary       string
	paused        bool
	chosen        uint64 // the call under the cursor
	follow        bool   // the cursor stays at the last call
	list          scroll
	filter        textinput.Model
	typing        bool // a filter is being typed
	opened        uint64
	details       []string // of the call that is opened
	inDetails     scroll
}

// lookMsg is the time for the next look.
type lookMsg struct{}

func nextLook() tea.Cmd { return tea.Tick(screenPause, func(time.Time) tea.Msg { return lookMsg{} }) }

// newMonitorScreen returns a screen. paint gives words that judge their colours.
func newMonitorScreen(log *screenLog, said func() string, paint func(string) string) *monitorScreen {
	filter := textinput.New()
	filter.Prompt = "/"
	filter.SetVirtualCursor(true)
	return &monitorScreen{log: log, said: said, paint: paint, follow: true, filter: filter}
}

// Init begins to look.
func (s *monitorScreen) Init() tea.Cmd {
	s.look()
	return nextLook()
}

// look takes what has passed, unless the screen is paused.
func (s *monitorScreen) look() {
	if s.paused {
		return
	}
	s.calls, s.summary = s.log.look(s.filter.Value())
	if s.opened != 0 {
		s.details = s.log.details(s.opened, s.width, s.paint)
	}
}

// Update takes a message.
func (s *monitorScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
		s.filter.SetWidth(max(s.width-len(filterKeys)-4, 8))
		if s.opened != 0 {
			s.details = s.log.details(s.opened, s.width, s.paint)
		}
	case lookMsg:
		s.look()
		return s, nextLook()
	case tea.KeyPressMsg:
		switch name := msg.String(); {
		case name == "ctrl+c":
			return s, tea.Interrupt
		case name == "ctrl+z":
			return s, tea.Suspend
		case s.typing:
			return s, s.typeFilter(msg)
		case name == "p":
			s.paused = !s.paused
			s.look()
		case s.opened != 0:
			s.keyInDetails(name)
		default:
			return s, s.key(name)
		}
	}
	return s, nil
}

// typeFilter takes a key while a filter is typed.
func (s *monitorScreen) typeFilter(msg tea.KeyPressMsg) (cmd tea.Cmd) {
	switch msg.String() {
	case "esc":
		s.filter.SetValue("")
		fallthrough
	case "enter":
		s.typing = false
		s.filter.Blur()
	default:
		s.filter, cmd = s.filter.Update(msg)
	}
	s.calls, s.summary = s.log.look(s.filter.Value())
	return cmd
}

func (s *monitorScreen) keyInDetails(name string) {
	switch name {
	case "esc", "q", "enter", "backspace":
		s.opened = 0
	default:
		s.inDetails.key(name, s.page())
	}
}

func (s *monitorScreen) key(name string) tea.Cmd {
	switch name {
	case "q":
		return tea.Quit
	case "/":
		s.typing = true
		return s.filter.Focus()
	case "enter":
		if s.opened = s.chosen; s.opened != 0 {
			s.inDetails = scroll{}
			s.details = s.log.details(s.opened, s.width, s.paint)
		}
	default:
		s.move(name)
	}
	return nil
}

// move moves the cursor by a key. At the end of the list it stays at the last call.
func (s *monitorScreen) move(name string) {
	at := scroll{s.cursor()}
	if !at.key(name, s.page()) || len(s.calls) == 0 {
		return
	}
	at.first = max(0, min(at.first, len(s.calls)-1))
	s.chosen, s.follow = s.calls[at.first].id, at.first == len(s.calls)-1
}

// cursor returns the place of the call that is chosen. A call that has left the list
// leaves the cursor at the next one.
func (s *monitorScreen) cursor() int {
	if s.follow || s.chosen == 0 {
		return len(s.calls) - 1
	}
	for i, call := range s.calls {
		if call.id == s.chosen {
			return i
		}
	}
	return 0
}

// page returns how many lines there are between the first one and the last one.
func (s *monitorScreen) page() int { return max(s.height-2, 1) }

// View draws the screen.
func (s *monitorScreen) View() tea.View {
	summary := s.summary
	if s.paused {
		summary = "paused, " + summary
	}
	if said := s.said(); said != "" {
		summary += ", " + said
	}
	lines := []string{summary}
	last := monitorKeys
	switch {
	case s.opened != 0:
		lines = append(lines, s.inDetails.cut(s.details, s.page())...)
		last = openKeys
	default:
		lines = append(lines, s.listLines()...)
		if s.typing {
			last = s.filter.View() + filterKeys
		}
	}
	return drawScreen("dirty monitor", lines, last, s.width, s.height)
}

// listLines returns the lines of the calls around the cursor.
func (s *monitorScreen) listLines() []string {
	cursor := s.cursor()
	if cursor >= 0 {
		s.chosen = s.calls[cursor].id
	}
	page := s.page()
	s.list.first = max(min(s.list.first, cursor), cursor-page+1)
	s.list.first = max(0, min(s.list.first, len(s.calls)-page))
	var lines []string
	for i := s.list.first; i < min(len(s.calls), s.list.first+page); i++ {
		mark := "  "
		if i == cursor {
			mark = "> "
		}
		lines = append(lines, mark+s.calls[i].line(s.paint))
	}
	return lines
}
