// Command gnomon-bench measures the cloud's hot paths as ratios to what the
// machine can do: every figure and what it is divided by are taken in turns,
// round by round, in one run, so that a machine that changes its speed changes
// both. It prints a table and, with -o json, the same as JSON.
//
// It starts the programs beside it (gnomon, bench-peer) and mosquitto, and ends
// them; it never touches a server that it has not started.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gnomon/simulator/figures"
)

// settings of a run.
type settings struct {
	Rounds  int
	Slice   time.Duration // one server's turn within a round
	Clients int
	Things  int
	Only    string
	Format  string
}

// scenario is one group of figures.
type scenario struct {
	name string
	run  func(context.Context, settings) ([]Figure, error)
}

var scenarios = []scenario{
	{"mqtt", measureMQTT},
	{"rest", measureREST},
	{"scale", measureScale},
	{"redis", measureRedis},
	{"query", measureQuery},
	{"start", measureStart},
	{"coldboot", measureColdBoot},
	{"modbus", measureModbus},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := settings{Rounds: 5, Slice: 2 * time.Second, Clients: 1000, Things: 100_000}
	c := &cobra.Command{
		Use: "gnomon-bench", Short: "Measure the cloud's hot paths as ratios", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr()) },
	}
	f := c.Flags()
	f.IntVar(&s.Rounds, "rounds", s.Rounds, "how often each figure is taken")
	f.DurationVar(&s.Slice, "slice", s.Slice, "how long each time")
	f.IntVar(&s.Clients, "clients", s.Clients, "MQTT clients")
	f.IntVar(&s.Things, "things", s.Things, "things of the large store")
	f.StringVar(&s.Only, "only", "", "some of mqtt, rest, scale, redis, query, start, coldboot, modbus, joined by commas")
	f.StringVarP(&s.Format, "output", "o", "table", "table or json")
	if err := c.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gnomon-bench:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context, out, progress io.Writer) error {
	if s.Rounds < 1 || s.Slice < 100*time.Millisecond || s.Clients < 1 || s.Things < 1000 {
		return errors.New("--rounds at least 1, --slice 100ms, --clients 1, --things 1000")
	}
	before := figures.ReadCPUTime()
	var all []Figure
	for _, sc := range scenarios {
		if s.Only != "" && !slices.Contains(strings.Split(s.Only, ","), sc.name) {
			continue
		}
		fmt.Fprintf(progress, "bench: %s\n", sc.name)
		found, err := sc.run(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return fmt.Errorf("--only %q names no scenario", s.Only)
	}
	machine := figures.Describe(before)
	if s.Format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"figures": all, "machine": machine})
	}
	for _, f := range all {
		fmt.Fprintf(out, "%-62s %s\n", f.Name, f.Text())
	}
	fmt.Fprintf(out, "%-62s %d × %s, %.1f %% stolen by the host\n", "machine", machine.CPUs, strings.TrimSpace(machine.CPU), machine.StealPercent)
	return nil
}
