package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"gnomon/simulator/cloudproc"
	"gnomon/simulator/edgeproc"
	"gnomon/simulator/faults"
)

// faultsOptions are the flags of the faults command.
type faultsOptions struct {
	faults.Config
	cloudBin string
	only     string
	keep     bool
	output   string
}

// enclosed is the exit status of the run in namespaces of its own; what it had
// to say it has said.
type enclosed int

func (e enclosed) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func faultsCommand(stdout, stderr io.Writer) *cobra.Command {
	var o faultsOptions
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "Do to an edge node everything that happens to nodes, and check that it comes through",
		Long: `Starts a cloud and a node of its own, with an application in each mode that
nobody changes, and does one fault after the other to a further one, to the
agent, its shims, its disk and its clock. After each all must be as desired, or
the node must have said by a code what was in the way; nothing else may have been
touched and nothing may be left over.

It needs root and runs in network and mount namespaces of its own.

Exit codes: 0 all promises held, 1 one was broken or it could not run, 2 usage,
130 interrupted.`,
		Example: `  gnomon-sim faults
  gnomon-sim faults --only 'power cut' --seed 7`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = randomSeed()
			}
			return faultMatrix(cmd, o, stdout, stderr)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Short, "short", false, "one fault of each kind, chosen by the seed")
	f.StringVar(&o.only, "only", "", "faults whose name matches this regular expression")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of every random choice (default: random, printed)")
	f.StringVar(&o.cloudBin, "cloud-bin", "", "gnomon binary to start (default: the one beside this program)")
	f.StringVar(&o.Agent, "edge-bin", "", "gnomon-edge binary to start (default: the one beside this program)")
	f.StringVar(&o.Shim, "shim-bin", "", "gnomon-shim binary (default: the one beside this program)")
	f.StringVar(&o.Busybox, "busybox", "/bin/busybox", "statically linked busybox, which applications are made of")
	f.BoolVar(&o.keep, "keep", false, "keep data and logs; a failure keeps them too")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

func faultMatrix(cmd *cobra.Command, o faultsOptions, stdout, stderr io.Writer) (failure error) {
	err := checkFormat(o.output)
	if err == nil && o.only != "" {
		if o.Only, err = regexp.Compile(o.only); err != nil {
			err = usageError{fmt.Errorf("--only: %w", err)}
		} else if len(faults.Names(o.Config)) == 0 {
			err = usageError{fmt.Errorf("--only %q: no fault has such a name; there are some like %q", o.only, faults.Names(faults.Config{Short: true})[:3])}
		}
	}
	if err != nil {
		return err
	}
	done, status, err := edgeproc.Enclose()
	if done || err != nil {
		if err == nil && status != 0 {
			err = enclosed(status)
		}
		return err
	}
	for path, name := range map[*string]string{&o.Agent: "gnomon-edge", &o.Shim: "gnomon-shim"} {
		if *path != "" {
			continue
		}
		if *path, err = cloudproc.Beside(name); err != nil {
			return fmt.Errorf("%w; build it (make build), or name it", err)
		}
	}
	cloud, err := prepareCloud(o.cloudBin)
	if err != nil {
		return err
	}
	defer func() { cloud.release(o.keep || worthKeeping(failure), stderr) }()
	o.Cloud, o.Dir = cloud.cfg, cloud.dir()
	fmt.Fprintf(stderr, "gnomon-sim: the fault matrix of %s, seed %d\n", o.Agent, o.Seed)
	n := 0
	o.Done = func(r faults.Result) {
		n++
		fmt.Fprintf(stderr, "gnomon-sim: %3d  %s: %s, %s\n", n, r.Fault, r.Outcome, r.Took.Round(10*time.Millisecond))
	}
	report, err := faults.Run(cmd.Context(), o.Config)
	if writeErr := write(stdout, o.output, report); err == nil {
		err = writeErr
	}
	if err == nil && !report.OK() {
		err = errNotHeld
	}
	return err
}

// statusOf is the exit status of a run that was enclosed.
func statusOf(err error) (status int, was bool) {
	var e enclosed
	was = errors.As(err, &e)
	return int(e), was
}
