package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gnomon/edge/local"
)

// exitError is the exit status of another program, which is passed on.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func execCommand() *cobra.Command {
	var o options
	var tty, noTTY bool
	c := &cobra.Command{
		Use:   "exec NAME -- PROGRAM [ARG]...",
		Short: "Run a program beside an application: in its container, or as its user and in its cgroup",
		Long: `Run a program beside a running application: in its container, or in the one that it
is attached to; of a process of the host as its user, in its cgroup and directory.
It counts within the application's limits.

Where standard input and output are a terminal it gets one of its own. Its exit
status is passed on; 126 means that it could not be started.`,
		Example: "  gnomon-edge exec web -- ls -l /\n  gnomon-edge exec web -- /bin/sh",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if os.Geteuid() != 0 {
				return errors.New("entering a container needs root: run it as root")
			}
			if !c.Flags().Changed("tty") {
				tty = term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
			}
			var in local.Entry
			if err := s.Ask(c.Context(), http.MethodPost, "/v1/applications/"+args[0]+"/exec", nil, &in); err != nil {
				return err
			}
			return enter(in, args[1:], tty && !noTTY)
		},
	}
	c.Flags().StringVar(&o.data, "data", "/var/lib/gnomon", "the agent's directory; or GNOMON_DATA in the environment")
	o.output = "table"
	c.Flags().BoolVarP(&tty, "tty", "t", false, "give it a terminal (default: if there is one)")
	c.Flags().BoolVarP(&noTTY, "no-tty", "T", false, "give it none")
	return c
}

// enter has the shim start the program, and waits for it. What is typed to end it
// is for the program, not for this one.
func enter(in local.Entry, args []string, tty bool) error {
	how := "pipe"
	if tty {
		how = "tty"
	}
	caught := make(chan os.Signal, 8)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(caught)
	cmd := exec.Command(in.Shim, append([]string{"exec", in.Instance, how}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return exitError{ended.ExitCode()}
	}
	return err
}
