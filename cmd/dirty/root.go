package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
)

// The groups of commands in the help.
const (
	groupLook  = "look"
	groupAct   = "act"
	groupWatch = "watch"
	groupHosts = "hosts"
	groupTry   = "try"
)

// rootCommand returns the whole tree of commands.
func (c *cli) rootCommand() *cobra.Command {
	root := c.group(&cobra.Command{
		Use:     "dirty",
		Short:   "Look at, call and watch gunicorn's dirty workers",
		Long:    helpMain,
		Example: "  dirty demo\n  dirty status\n  dirty exec app:Model classify @cat.png top_k=5",
		Version: readVersion().String(),
	})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s: %s", nameOf(cmd), strings.NewReplacer(numberMark, "", `\x00`, "").Replace(err.Error()))
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		copy(args, unmarkNumbers(args))
		if c.format == "" {
			c.format = cmd.Annotations[defaultFormat]
		}
		return nil
	}
	c.addColorFlag(root)
	root.AddGroup(
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupAct, Title: "Act:"},
		&cobra.Group{ID: groupWatch, Title: "Watch and measure:"},
		&cobra.Group{ID: groupHosts, Title: "Several hosts:"},
		&cobra.Group{ID: groupTry, Title: "Try and learn:"},
	)
	addTo(root, groupLook, c.statusCommand(), c.topCommand(), c.findCommand(), c.pingCommand(), c.doctorCommand())
	addTo(root, groupAct, c.execCommand(), c.streamCommand(), c.stashCommand(), c.workersCommand())
	addTo(root, groupWatch, c.proxyCommand(), c.monitorCommand(), c.replayCommand(), c.decodeCommand(), c.encodeCommand(), c.benchCommand())
	addTo(root, groupHosts, c.agentCommand(), c.frontCommand(), c.clusterCommand())
	addTo(root, groupTry, c.demoCommand(), c.serveCommand(), c.versionCommand(), c.completionCommand())
	root.SetHelpCommand(c.helpCommand(root))
	root.SetHelpCommandGroupID(groupTry)
	return root
}

func addTo(parent *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		parent.AddCommand(cmd)
	}
}

// group makes a command that only has commands below it. Without one of them, or
// with an unknown one, it is a wrong command line.
func (c *cli) group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		if c.format == formatJSON {
			return usagef("name a command")
		}
		cmd.SetOut(c.stderr)
		if err := cmd.Help(); err != nil {
			return err
		}
		return usagef("name a command")
	}
	return cmd
}

func unknownCommand(parent *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	if parent.HasParent() {
		text = nameOf(parent) + ": " + text
	}
	if parent.SuggestionsMinimumDistance == 0 {
		parent.SuggestionsMinimumDistance = 2
	}
	if similar := parent.SuggestionsFor(name); len(similar) > 0 {
		text += "; did you mean " + joinWords(similar) + "?"
	}
	return usagef("%s", text)
}

func (c *cli) helpCommand(root *cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command",
		Example: "  dirty help decode",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd := root
			for _, name := range args {
				parent := cmd
				cmd = nil
				for _, child := range parent.Commands() {
					if child.Name() == name {
						cmd = child
					}
				}
				if cmd == nil {
					return unknownCommand(parent, name)
				}
			}
			cmd.InitDefaultHelpFlag()
			cmd.InitDefaultVersionFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, start string) (names []string, _ cobra.ShellCompDirective) {
			for _, child := range root.Commands() {
				if child.IsAvailableCommand() {
					names = append(names, child.Name())
				}
			}
			return startingWith(start, names), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this command, of Go and of the protocol",
		Example: "  dirty version\n  dirty version -o json | jq -r .version",
		Args:    needArgs(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if c.format == formatJSON {
				return c.printJSONLine(readVersion())
			}
			fmt.Fprintln(c.stdout, readVersion())
			return nil
		},
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

// versions is what version prints, also in JSON.
type versions struct {
	Version  string `dirty:"version"`
	Go       string `dirty:"go"`
	OS       string `dirty:"os"`
	Arch     string `dirty:"arch"`
	Protocol int    `dirty:"protocol"`
}

func readVersion() versions {
	v := versions{"(unknown)", runtime.Version(), runtime.GOOS, runtime.GOARCH, dirty.Version}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	return v
}

func (v versions) String() string {
	return fmt.Sprintf("dirty %s, %s %s/%s, protocol version %d", v.Version, v.Go, v.OS, v.Arch, v.Protocol)
}

const helpCompletion = `Prints a script that makes a shell complete commands, flags, apps, tables and keys.
Apps, tables and keys come from the arbiter, if it answers at once.

  bash        source <(dirty completion bash), with the package bash-completion
  zsh         source <(dirty completion zsh), after compinit
  fish        dirty completion fish | source
  powershell  dirty completion powershell | Out-String | Invoke-Expression`

// checkBashCompletion goes before the script for bash, which would fail at each Tab.
const checkBashCompletion = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
    echo 'dirty: completion in bash needs the package bash-completion, loaded before this' >&2
    return 1
fi
`

func (c *cli) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	cmd := &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "Print a script that completes commands in a shell",
		Long:      helpCompletion,
		Example:   "  source <(dirty completion bash)",
		Args:      needArgs(1, 1, "one of "+joinWords(shells)),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				fmt.Fprint(c.stdout, checkBashCompletion)
				return root.GenBashCompletionV2(c.stdout, true)
			case "zsh":
				return root.GenZshCompletion(c.stdout)
			case "fish":
				return root.GenFishCompletion(c.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.stdout)
			}
			return usagef("completion: unknown shell %q: want one of %s", args[0], joinWords(shells))
		},
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}
