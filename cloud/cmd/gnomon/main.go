// Command gnomon is the cloud's server and the operator's command line.
//
// Data goes to standard output, everything else to standard error. The exit
// status is 0 for success, 1 for failure or difference, 2 for wrong usage, 3
// for not found, 4 for not allowed, 5 for a conflict, 6 for a time limit, 130
// when interrupted. It never prompts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // maintenance windows name zones, whatever the machine knows

	"github.com/spf13/cobra"
)

// version is set when building.
var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

// run is main, for tests too.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var silent *silentError
	if !errors.As(err, &silent) {
		fmt.Fprintln(os.Stderr, "gnomon:", err)
	}
	return exitCode(ctx, err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "gnomon",
		Short:         "Versioned shadows of edge nodes, their applications and collection policies",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	o := &options{}
	o.register(root)
	root.AddCommand(cloudCommand(), getCommand(o), countCommand(o), describeCommand(o), applyCommand(o), diffCommand(o),
		watchCommand(o), deleteCommand(o), explainCommand(o), receiptsCommand(o), historyCommand(o), revertCommand(o), changesCommand(o), backupCommand(o), storeCommand(),
		readingsCommand(o), completenessCommand(o), kpisCommand(o), readCommand(o), versionCommand())
	for _, c := range root.Commands() {
		wrapUsage(c)
	}
	return root
}

// wrapUsage gives wrong arguments the exit status of wrong usage.
func wrapUsage(c *cobra.Command) {
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{fmt.Errorf("%w; usage: %s", err, c.UseLine())}
		}
		return nil
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "gnomon", version) },
	}
}
