package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/CLI.md anew")

// TestCLIPage: docs/CLI.md says what the commands say of themselves. With -update it
// is written.
func TestCLIPage(t *testing.T) {
	const name = "../../docs/CLI.md"
	page := cliPage()
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(page), 0o644))
	}
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, page, string(text), "run: go test -C cmd/dirty -run TestCLIPage -update")
}

func cliPage() string {
	var page strings.Builder
	page.WriteString("# The command line\n\n" +
		"What each command says of itself with `--help`. This page is made from the commands; a test compares the two.\n")
	all := commands()
	for _, cmd := range all {
		if cmd.HasParent() && !cmd.HasSubCommands() {
			fmt.Fprintf(&page, "\n- [%s](#%s): %s", cmd.CommandPath(), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), lowerFirst(cmd.Short))
		}
	}
	page.WriteString("\n")
	for _, cmd := range all {
		writeCommand(&page, cmd)
	}
	return page.String()
}

func writeCommand(page *strings.Builder, cmd *cobra.Command) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	cmd.InitDefaultHelpFlag() // before the first look at the flags, as cobra does
	fmt.Fprintf(page, "\n## %s\n\n```\n%s\n```\n\n```\n%s\n```\n", cmd.CommandPath(), cmd.UseLine(), long)
	fmt.Fprintf(page, "\nFor example:\n\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	if flags := cmd.NonInheritedFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(page, "\n```\n%s```\n", flags)
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
