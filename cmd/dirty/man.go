//go:build man

// This is the generator of the man pages, which is no part of the command:
//
//	go run -C cmd/dirty -tags man . FOLDER
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run -C cmd/dirty -tags man . FOLDER")
		os.Exit(exitUsage)
	}
	if err := writeManPages(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitIO)
	}
}

// writeManPages writes a page for each command into a folder, which it makes.
func writeManPages(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	c := &cli{stdout: &output{w: io.Discard}, stderr: io.Discard}
	return writeManPage(folder, c.rootCommand())
}

func writeManPage(folder string, cmd *cobra.Command) error {
	if !cmd.IsAvailableCommand() {
		return nil
	}
	for _, child := range cmd.Commands() {
		if err := writeManPage(folder, child); err != nil {
			return err
		}
	}
	keepLines(cmd)
	var page bytes.Buffer
	err := doc.GenMan(cmd, &doc.GenManHeader{Date: &time.Time{}, Source: "dirty", Manual: "dirty"}, &page)
	if err != nil {
		return err
	}
	// A page has no date, so that it changes only with its command.
	text := strings.Replace(page.String(), `"`+time.Time{}.Format("Jan 2006")+`"`, `""`, 1)
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
	return os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)
}

// keepLines marks the texts of a command as what they are: lines as they are to be
// shown, and plain words. The library takes them for Markdown.
func keepLines(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long = "```\n" + cmd.Long + "\n```"
	cmd.InitDefaultHelpFlag()
	escape := strings.NewReplacer("`", "", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		f.Usage = escape.Replace(f.Usage)
	})
}
