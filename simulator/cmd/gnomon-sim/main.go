// gnomon-sim runs experiments against a real cloud: light nodes by the thousand
// that must all converge, and crashes that must lose nothing; and it is a station
// area of meters for an agent to read. With no address
// given it starts a cloud of its own from the gnomon binary beside it and
// removes that one's data when done. Figures go to stdout, the rest to stderr.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // the experiment ran and the promise did not hold, or it could not run
	exitUsage       = 2
	exitInterrupted = 130
)

// errNotHeld means that the report says it all.
var errNotHeld = errors.New("the promise did not hold")

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := convergeCommand(stdout, stderr)
	root.AddCommand(crashCommand(stdout, stderr), faultsCommand(stdout, stderr), stationCommand(stdout, stderr))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	status, wasEnclosed := statusOf(err)
	switch {
	case err == nil:
		return exitOK
	case wasEnclosed:
		return status
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "gnomon-sim: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "gnomon-sim: %v\n", err)
		return exitUsage
	case !errors.Is(err, errNotHeld):
		fmt.Fprintf(stderr, "gnomon-sim: %v\n", err)
	}
	return exitFailed
}

// asUsage marks cobra's own complaints.
func asUsage(_ *cobra.Command, err error) error { return usageError{err} }

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// textReport is a report that people can read.
type textReport interface{ WriteText(io.Writer) }

// write writes a report in the format asked for.
func write(w io.Writer, format string, r textReport) error {
	if format == "table" {
		r.WriteText(w)
		return nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func checkFormat(format string) error {
	if format != "table" && format != "json" {
		return usageError{fmt.Errorf("-o is %q, it must be table or json", format)}
	}
	return nil
}
