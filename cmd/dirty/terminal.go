package main

import (
	"os"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The values of --color.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// addColorFlag adds --color to all commands.
func (c *cli) addColorFlag(root *cobra.Command) {
	words := []string{colorAuto, colorAlways, colorNever}
	c.color = colorAuto
	root.PersistentFlags().Var(&choice{words, &c.color, "WHEN"}, "color", joinWords(words)+"; auto is on a terminal, unless NO_COLOR is set")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := fileOf(stream)
	return ok && term.IsTerminal(int(file.Fd()))
}

func fileOf(stream any) (*os.File, bool) {
	if o, ok := stream.(*output); ok {
		stream = o.w
	}
	file, ok := stream.(*os.File)
	return file, ok
}

// widthOf returns how many columns a terminal has, or 0 for what is none, or does not
// know.
func widthOf(stream any) int {
	if !isTerminal(stream) {
		return 0
	}
	file, _ := fileOf(stream)
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width < 0 {
		return 0
	}
	return width
}

// colorful reports whether what goes to a stream has colours.
func (c *cli) colorful(stream any) bool {
	switch c.color {
	case colorAlways:
		return true
	case colorNever:
		return false
	}
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(stream) {
		return false
	}
	file, _ := fileOf(stream)
	lipgloss.EnableLegacyWindowsANSI(file) // does nothing on other systems
	return true
}

// The styles use only the 16 colours that every terminal has, and that its user chose.
var (
	styleGood  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleWarn  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	styleBad   = lipgloss.NewStyle().Foreground(lipgloss.Red)
	styleTitle = lipgloss.NewStyle().Bold(true)
	styleFaint = lipgloss.NewStyle().Faint(true)
)

// wordStyles are the styles of words that judge.
var wordStyles = map[string]lipgloss.Style{
	levelOK: styleGood, levelNote: styleWarn, levelBad: styleBad,
	stateAnswers: styleGood, stateRefuses: styleBad, stateMissing: styleBad, stateDenied: styleWarn, stateSilent: styleBad, stateOther: styleWarn,
	workerFree.String(): styleGood, workerBusy.String(): styleWarn, workerStuck.String(): styleBad, workerUnknown.String(): styleFaint,
	outcomeFailed: styleBad, noAnswer: styleWarn, inProgress: styleFaint,
}

// paint returns text in the colours of a style, if the stream has colours.
func (c *cli) paint(stream any, style lipgloss.Style, text string) string {
	if !c.colorful(stream) {
		return text
	}
	return style.Render(text)
}

// paintWord is paint in the style of a word that judges.
func (c *cli) paintWord(stream any, word string) string {
	style, ok := wordStyles[word]
	if !ok {
		return word
	}
	return c.paint(stream, style, word)
}
