package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gnomon/simulator/crash"
	"gnomon/simulator/experiment"
)

// crashOptions are the flags of the crash command.
type crashOptions struct {
	crash.Config
	cloudBin string
	keep     bool
	output   string
}

func crashCommand(stdout, stderr io.Writer) *cobra.Command {
	var o crashOptions
	cmd := &cobra.Command{
		Use:   "crash",
		Short: "Kill a cloud again and again under load and check that nothing acknowledged is lost",
		Long: `Starts a cloud of its own, lets updaters write to shared and own shadows, half
over MQTT and half over REST, kills the process with SIGKILL at random moments,
starts it again on the same data, and checks that every acknowledged write is
there and that no version was given twice.

Exit codes: 0 all promises held, 1 one was broken or it could not run, 2 usage,
130 interrupted.`,
		Example:       `  gnomon-sim crash --kills 50 --updaters 200`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = randomSeed()
			}
			return crashes(cmd, o, stdout, stderr)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Kills, "kills", 50, "how often the cloud is killed")
	f.IntVar(&o.Updaters, "updaters", 200, "concurrent updaters, half over MQTT and half over REST")
	f.DurationVar(&o.Uptime, "uptime", time.Second, "longest time under load before a kill")
	f.DurationVar(&o.Pause, "pause", 0, "mean pause of an updater between two writes")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of every random choice (default: random, printed)")
	f.StringVar(&o.cloudBin, "cloud-bin", "", "gnomon binary to start (default: the one beside this program)")
	f.BoolVar(&o.keep, "keep", false, "keep the cloud's data and log; a failure keeps them too")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

func crashes(cmd *cobra.Command, o crashOptions, stdout, stderr io.Writer) (failure error) {
	if err := checkFormat(o.output); err != nil {
		return err
	}
	cloud, err := prepareCloud(o.cloudBin)
	if err != nil {
		return err
	}
	defer func() { cloud.release(o.keep || worthKeeping(failure), stderr) }()
	o.Cloud = cloud.cfg
	fmt.Fprintf(stderr, "gnomon-sim: killing %s cloud --dev %d times, seed %d\n", cloud.cfg.Binary, o.Kills, o.Seed)
	bars := newProgress(stderr)
	o.Kill = func(n int) { bars.show(experiment.Progress{Stage: "kills", Done: n, Total: o.Kills}) }
	report, err := crash.Run(cmd.Context(), o.Config)
	bars.close()
	if errors.Is(err, crash.ErrConfig) {
		return usageError{err}
	}
	if writeErr := write(stdout, o.output, report); err == nil {
		err = writeErr
	}
	if err == nil && !report.OK() {
		err = errNotHeld
	}
	return err
}
