package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/simulator/station"
)

// stationOptions are the flags of the station command.
type stationOptions struct {
	station.Config
	listen, port string
	dead         []string
	speed        float64
	every        time.Duration
	policy       string
	output       string
}

func stationCommand(stdout, stderr io.Writer) *cobra.Command {
	var o stationOptions
	cmd := &cobra.Command{
		Use:   "station",
		Short: "Simulate a station area: meters behind a CCO, read with Q/GDW 10376.2",
		Long: `Simulates up to 1000 meters that speak DL/T 645-2007 or DL/T 698.45, on power line
nodes in a tree, and the CCO that a concentrator reads them through: over TCP
(--listen), or on a pseudoterminal (--port). One concentrator at a time is served.

Answers take a time for every hop and meter frame; some get lost; meters are dead
for a while; the limits of the standard are denied. What is random follows from the
seed, and is printed. With --speed the time in the area, which the values of meters
and their outages follow, runs faster; lines and time limits keep their pace.

--dead takes numbers of meters, with the time of the area in which they are dead:
"17" for ever, "3-9@10m-25m" for a while.

It runs until it is interrupted. A status is printed every --every on stderr, and
at the end on stdout. --policy prints a policy that fits the area, for gnomon apply,
and exits.

Exit codes: 0 interrupted, 1 it could not run, 2 usage.`,
		Example: `  gnomon-sim station --meters 300 --listen 127.0.0.1:26000 --loss 0.01 --dead 17,30-32@5m-20m
  gnomon-sim station --meters 50 --share698 0.4 --port /tmp/cco0 --baud 9600
  gnomon-sim station --meters 50 --listen 127.0.0.1:26000 --policy edge-1/area | gnomon apply -f -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = randomSeed()
			}
			return simulateStation(cmd.Context(), &o, stdout, stderr)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Meters, "meters", 100, "meters, 1 to 1000")
	f.StringVar(&o.listen, "listen", "", "host:port to serve concentrators at")
	f.StringVar(&o.port, "port", "", "path of the serial line to make, a pseudoterminal")
	f.Float64Var(&o.Share698, "share698", 0, "share of the meters that speak DL/T 698.45, 0 to 1")
	f.Float64Var(&o.ThreePhase, "three-phase", 0, "share of the meters with three phases, 0 to 1")
	f.Uint64Var(&o.First, "first", 202600000001, "address of the first meter; the others follow")
	f.Float64Var(&o.Loss, "loss", 0, "chance that a request or its answer gets lost on the power line, 0 to 0.9")
	f.StringSliceVar(&o.dead, "dead", nil, `meters that are dead: "17", "3-9", "3-9@10m-25m"`)
	f.DurationVar(&o.Drift, "drift", 0, "clocks of meters are wrong by this at the most")
	f.IntVar(&o.Branches, "branches", 6, "nodes that one node relays for")
	f.DurationVar(&o.HopDelay, "hop-delay", 60*time.Millisecond, "for a frame to pass from node to node")
	f.DurationVar(&o.MeterDelay, "meter-delay", 250*time.Millisecond, "for a meter to take one frame and answer")
	f.DurationVar(&o.GiveUp, "give-up", 90*time.Second, "until the CCO says that a meter can't be read")
	f.IntVar(&o.Baud, "baud", 0, "of the line to the concentrator, 0 = it takes no time")
	f.IntVar(&o.Limits.Meters, "parallel", 20, "meters read at once; more are denied with 109")
	f.IntVar(&o.Limits.MeterFrames, "frames", 13, "meter frames in one request; more are denied with 110")
	f.IntVar(&o.Limits.Payload, "payload", 1000, "bytes of them")
	f.BoolVar(&o.VendorCodes, "vendor-codes", false, "deny with codes 13 to 15 in place of 109 to 111, as some firmware does")
	f.DurationVar(&o.Ask, "ask", 0, "how often the CCO asks what to read while it may route; 0 = never")
	f.Float64Var(&o.speed, "speed", 1, "how many times faster the time in the area runs, 1 to 10000")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of what is random (default: random, printed)")
	f.DurationVar(&o.every, "every", 10*time.Second, "between two statuses; 0 = none")
	f.StringVar(&o.policy, "policy", "", "NODE/NAME: print a policy for this area and exit")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

func simulateStation(ctx context.Context, o *stationOptions, stdout, stderr io.Writer) error {
	if err := checkFormat(o.output); err != nil {
		return err
	}
	if (o.listen == "") == (o.port == "") {
		return usageError{errors.New("give --listen for TCP or --port for a serial line")}
	}
	if !(o.speed >= 1 && o.speed <= 10000) {
		return usageError{fmt.Errorf("--speed is %v, it must be from 1 to 10000", o.speed)}
	}
	for _, text := range o.dead {
		outage, err := parseOutage(text)
		if err != nil {
			return usageError{err}
		}
		o.Dead = append(o.Dead, outage)
	}
	began := time.Now()
	o.Now = func() time.Time { return began.Add(time.Duration(float64(time.Since(began)) * o.speed)) }
	area, err := station.New(o.Config)
	if err != nil {
		return usageError{err}
	}
	defer area.Close()
	if o.policy != "" {
		return printPolicy(stdout, o, area)
	}
	return serveStation(ctx, o, area, stdout, stderr)
}

func serveStation(ctx context.Context, o *stationOptions, area *station.Station, stdout, stderr io.Writer) error {
	served := make(chan error, 1)
	where := o.port
	if o.listen != "" {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return err
		}
		where = l.Addr().String()
		go func() { served <- area.Listen(ctx, l) }()
	} else {
		go func() { served <- area.ServePTY(ctx, o.port) }()
	}
	fmt.Fprintf(stderr, "gnomon-sim: %d meters behind a CCO on %s, seed %d\n", o.Meters, where, o.Seed)
	var tick <-chan time.Time
	if o.every > 0 {
		ticker := time.NewTicker(o.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			area.Status().WriteText(stderr)
		case err := <-served:
			if err != nil {
				return err
			}
			return write(stdout, o.output, area.Status())
		}
	}
}

// parseOutage reads "17", "3-9" or "3-9@10m-25m".
func parseOutage(text string) (o station.Outage, err error) {
	bad := fmt.Errorf(`--dead %q: must be like "17", "3-9" or "3-9@10m-25m"`, text)
	meters, when, timed := strings.Cut(text, "@")
	first, last, isRange := strings.Cut(meters, "-")
	if !isRange {
		last = first
	}
	if o.First, err = strconv.Atoi(first); err != nil {
		return o, bad
	}
	if o.Last, err = strconv.Atoi(last); err != nil {
		return o, bad
	}
	if !timed {
		return o, nil
	}
	from, to, ends := strings.Cut(when, "-")
	if o.From, err = time.ParseDuration(from); err != nil {
		return o, bad
	}
	if ends {
		if o.To, err = time.ParseDuration(to); err != nil {
			return o, bad
		}
	}
	return o, nil
}

// printPolicy prints a manifest for gnomon apply.
func printPolicy(w io.Writer, o *stationOptions, area *station.Station) error {
	node, name, ok := strings.Cut(o.policy, "/")
	if !ok || node == "" || name == "" {
		return usageError{fmt.Errorf("--policy is %q, it must be NODE/NAME", o.policy)}
	}
	source := fmt.Sprintf("{kind: q376-tcp, address: %q}", o.listen)
	if o.port != "" {
		source = fmt.Sprintf("{kind: q376, port: %q}", o.port)
	}
	fmt.Fprintf(w, "kind: policy\nnode: %s\nname: %s\ndesired:\n  source: %s\n  period: 15m\n  meters:\n", node, name, source)
	for _, m := range area.Meters() {
		fmt.Fprintf(w, "    - {id: m%d, address: %q, model: %s}\n", m.Number, m.Digits(), m.Model())
	}
	return nil
}
