package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"gnomon/simulator/experiment"
	"gnomon/simulator/figures"
)

// convergeOptions are the flags of the root command.
type convergeOptions struct {
	experiment.Config
	startCloud bool
	cloudBin   string
	keep       bool
	output     string
}

func convergeCommand(stdout, stderr io.Writer) *cobra.Command {
	var o convergeOptions
	cmd := &cobra.Command{
		Use:   "gnomon-sim",
		Short: "Simulate edge nodes and measure how fast a desired change reaches them all",
		Long: `Registers light nodes that speak the agent's real protocol, writes one desired
change for each of their applications through REST, and measures the time until
the cloud has committed the matching report. Every shadow is read at the end.

Without --mqtt and --http it starts a cloud of its own, from the gnomon binary
beside this program, on free loopback ports with a temporary data directory.

Exit codes: 0 all converged, 1 not all did or it could not run, 2 usage,
130 interrupted.`,
		Example: `  gnomon-sim --nodes 1000
  gnomon-sim --nodes 5000 --rounds 3 --fault-rate 0.05 -o json
  gnomon-sim --nodes 200 --mqtt 10.0.0.5:1883 --http http://10.0.0.5:8080`,
		Version:       version,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = randomSeed()
			}
			return converge(cmd, o, stdout, stderr)
		},
	}
	cmd.SetFlagErrorFunc(asUsage)
	f := cmd.Flags()
	f.IntVar(&o.Nodes, "nodes", 100, "nodes to simulate")
	f.IntVar(&o.Apps, "apps", 1, "applications on each node")
	f.IntVar(&o.Rounds, "rounds", 1, "desired changes to each application, one after the other")
	f.StringVar(&o.MQTT, "mqtt", "", "host:port of a running cloud's MQTT")
	f.StringVar(&o.HTTP, "http", "", "URL of a running cloud's REST API")
	f.BoolVar(&o.startCloud, "start-cloud", false, "start a cloud of its own (the default without --mqtt and --http)")
	f.StringVar(&o.cloudBin, "cloud-bin", "", "gnomon binary to start (default: the one beside this program)")
	f.BoolVar(&o.keep, "keep", false, "keep the data and log of the cloud started here; a failure keeps them too")
	f.StringVar(&o.Prefix, "prefix", "sim", "what the nodes' names begin with")
	f.DurationVar(&o.Delay, "delay", 50*time.Millisecond, "mean time a node takes to apply a change; "+experiment.DelayDistribution)
	f.Float64Var(&o.FaultRate, "fault-rate", 0.01, "share of reports that meet a fault: cut just before, cut just after, apply fails once")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of faults and delays (default: random, printed)")
	f.IntVar(&o.ConnectRate, "connect-rate", 1000, "connections started per second")
	f.IntVar(&o.Writers, "writers", 16, "concurrent REST writers")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "limit for registering, and for each round")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

// randomSeed is short enough to be typed again.
func randomSeed() uint64 { return uint64(rand.Uint32()) }

func converge(cmd *cobra.Command, o convergeOptions, stdout, stderr io.Writer) (failure error) {
	if err := checkFormat(o.output); err != nil {
		return err
	}
	own := o.MQTT == "" && o.HTTP == ""
	switch {
	case !own && (o.startCloud || o.cloudBin != ""):
		return usageError{errors.New("--start-cloud and --cloud-bin start a cloud; --mqtt and --http name a running one: give one or the other")}
	case !own && (o.MQTT == "" || o.HTTP == ""):
		return usageError{errors.New("--mqtt and --http name one running cloud: give both, or neither to start one")}
	}
	var pid int
	if own {
		cloud, err := prepareCloud(o.cloudBin)
		if err != nil {
			return err
		}
		defer func() { cloud.release(o.keep || worthKeeping(failure), stderr) }()
		o.MQTT, o.HTTP = cloud.cfg.MQTT, "http://"+cloud.cfg.HTTP
		if err := o.Validate(); err != nil {
			return usageError{err}
		}
		fmt.Fprintf(stderr, "gnomon-sim: starting %s cloud --dev on %s and mqtt://%s\n", cloud.cfg.Binary, o.HTTP, o.MQTT)
		process, err := cloud.start(cmd.Context())
		if err != nil {
			return err
		}
		defer func() {
			if err := process.Stop(10 * time.Second); err != nil {
				fmt.Fprintf(stderr, "gnomon-sim: %v\n", err)
			}
		}()
		pid = process.PID()
	}
	return measure(cmd, o, pid, stdout, stderr)
}

// measure runs the experiment against the cloud at o's addresses.
func measure(cmd *cobra.Command, o convergeOptions, pid int, stdout, stderr io.Writer) error {
	o.Agent = version
	o.Log = slog.New(slog.NewTextHandler(stderr, nil))
	bars := newProgress(stderr)
	o.Progress = bars.show
	report, err := experiment.Run(cmd.Context(), o.Config)
	bars.close()
	if errors.Is(err, experiment.ErrConfig) {
		return usageError{err}
	}
	if pid > 0 {
		if u, usageErr := figures.ReadUsage(pid); usageErr == nil {
			report.Cloud = &u
		}
	}
	if writeErr := write(stdout, o.output, report); err == nil {
		err = writeErr
	}
	if err == nil && !report.OK() {
		err = errNotHeld
	}
	return err
}
