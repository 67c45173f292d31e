// Command gnomon-edge is the agent of an edge node and its local command line.
//
// It promises that what it runs survives it: killing, restarting or upgrading it
// touches no workload. Data goes to standard output, everything else to standard
// error. The exit status is 0 for success, 1 for failure, 2 for wrong usage, 130
// when interrupted, and 74 when its own disk failed it. It never prompts, and listens on
// loopback and the containers' bridge alone, if --bus says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gnomon/edge/state"
	"gnomon/edge/upgrade/slot"
)

// version is set by the linker.
var version = "dev"

// The exit statuses.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitDisk        = slot.ExitIO
	exitInterrupted = 130
)

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends it at once, which is safe: that is what kill -9 does.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(code)
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var passed exitError
	if errors.As(err, &passed) {
		return passed.code
	}
	fmt.Fprintln(stderr, "gnomon-edge:", err)
	if lastWords != "" {
		_ = os.WriteFile(lastWords, []byte(err.Error()), 0o600) // stderr has it anyway
	}
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case onDisk(err):
		return exitDisk
	}
	return exitFailure
}

// onDisk tells whether the disk is what failed, its space, or the lock on it. A
// launcher doesn't blame that on this version.
func onDisk(err error) bool {
	for _, e := range []error{state.ErrLocked, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "gnomon-edge",
		Short:         "Brings an edge node to what its cloud desires, and keeps it there",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	root.AddCommand(runCommand(), statusCommand(), decodeCommand(), scanCommand(), versionCommand(),
		listCommand(), getCommand(), explainCommand(), planCommand(), topCommand(), logsCommand(), execCommand(),
		startCommand(), stopCommand(), restartCommand(), installCommand(), updateCommand(), uninstallCommand(),
		setCommand(), overrideCommand(), writeCommand(), readingsCommand(), readCommand())
	checkArguments(root)
	return root
}

// checkArguments makes wrong arguments of every command a mistake in usage.
func checkArguments(of *cobra.Command) {
	for _, c := range of.Commands() {
		checkArguments(c)
		check := c.Args
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w; usage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "gnomon-edge", version) },
	}
}
